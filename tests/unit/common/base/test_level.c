/* When something counts as nearly full. */
#include "common/base/level.h"

#include "tests/support/criterion.h"

Test(level, ninety_of_a_hundred_is_high_and_less_than_seventy_five_is_low)
{
    cr_assert(level_is_high(90, 100));
    cr_assert_not(level_is_high(89, 100));
    cr_assert(level_is_low(74, 100));
    cr_assert_not(level_is_low(75, 100));
}

Test(level, of_few_things_only_all_are_high)
{
    cr_assert_not(level_is_high(1, 2));
    cr_assert(level_is_high(2, 2));
    cr_assert(level_is_low(1, 2));
    cr_assert(level_is_high(1, 1));
    cr_assert_not(level_is_low(1, 1));
    cr_assert(level_is_low(0, 1));
}

Test(level, without_a_bound_and_at_the_largest_one)
{
    cr_assert_not(level_is_high(UINT64_MAX, 0));
    cr_assert(level_is_low(UINT64_MAX, 0));
    cr_assert(level_is_high(UINT64_MAX, UINT64_MAX));
    cr_assert(level_is_high(UINT64_MAX, 5));
    cr_assert_not(level_is_high(UINT64_MAX / 2, UINT64_MAX));
    cr_assert(level_is_low(UINT64_MAX / 2, UINT64_MAX));
}
