#ifndef SOLO_COMMON_BASE_LEVEL_H
#define SOLO_COMMON_BASE_LEVEL_H

#include <stdbool.h>
#include <stdint.h>

/* Whether something bounded is nearly full, 90 % and more, or has room again, less than 75 %. What
 * is neither stays what it was. `allowed` 0: there is no bound, it is never full. */
bool level_is_high(uint64_t used, uint64_t allowed);
bool level_is_low(uint64_t used, uint64_t allowed);

#endif
