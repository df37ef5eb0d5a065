#include "tests/support/criterion.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/process_identity.h"

static uint64_t own_start_ticks(void)
{
    char text[1024] = "";
    FILE *file = fopen("/proc/self/stat", "re");
    cr_assert_not_null(file);
    cr_assert_not_null(fgets(text, sizeof text, file));
    fclose(file);
    unsigned long long ticks = 0;
    /* state is the third field; nineteen more lie between it and the start. */
    cr_assert_eq(
        sscanf(strrchr(text, ')') + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &ticks),
        1);
    return ticks;
}

Test(process_identity, a_process_is_known_by_pid_and_start)
{
    uint64_t ticks = own_start_ticks();
    cr_assert(process_lives((uint64_t)getpid(), ticks));
    cr_assert(process_lives((uint64_t)getpid(), 0));
    cr_assert_not(process_lives((uint64_t)getpid(), ticks + 1));
}

Test(process_identity, a_pid_that_nobody_has_does_not_live)
{
    cr_assert_not(process_lives(0, 0));
    cr_assert_not(process_lives(4294967295u, 0));
}

Test(process_identity, the_fields_of_a_stat_follow_its_name)
{
    static const char stat[] = "7 (a) S (b c) R 11 22 33\n";
    cr_expect_eq(*process_stat_field(stat, 3), 'R');
    cr_expect_eq(atoi(process_stat_field(stat, 4)), 11);
    cr_expect_eq(atoi(process_stat_field(stat, 6)), 33);
    cr_expect_null(process_stat_field(stat, 7));
    cr_expect_null(process_stat_field("7", 3));
}
