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
