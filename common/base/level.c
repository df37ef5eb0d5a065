/* By subtraction: no product that could overflow, and of two, two are high and one is low. */
#include "common/base/level.h"

bool level_is_high(uint64_t used, uint64_t allowed)
{
    return allowed != 0 && used >= allowed - allowed / 10;
}

bool level_is_low(uint64_t used, uint64_t allowed)
{
    return allowed == 0 || used < allowed - allowed / 4;
}
