#include "common/base/status.h"

#include <errno.h>
#include <string.h>

#include "tests/support/criterion.h"

Test(status, exit_codes_are_the_documented_ones)
{
    static const struct {
        enum status status;
        int exit_code;
    } table[] = {
        { STATUS_OK, 0 },
        { STATUS_CANCELLED, 1 },
        { STATUS_INVALID_ARGUMENT, 65 },
        { STATUS_NOT_FOUND, 4 },
        { STATUS_OUT_OF_RANGE, 4 },
        { STATUS_ALREADY_EXISTS, 6 },
        { STATUS_ABORTED, 6 },
        { STATUS_FAILED_PRECONDITION, 6 },
        { STATUS_PERMISSION_DENIED, 5 },
        { STATUS_UNAUTHENTICATED, 5 },
        { STATUS_RESOURCE_EXHAUSTED, 8 },
        { STATUS_UNAVAILABLE, 9 },
        { STATUS_DEADLINE_EXCEEDED, 7 },
        { STATUS_DATA_LOSS, 86 },
        { STATUS_UNKNOWN, 70 },
        { STATUS_INTERNAL, 70 },
        { STATUS_USAGE, 64 },
        { STATUS_LOCKED, 75 },
        { STATUS_IO, 87 },
    };
    cr_assert_eq(sizeof table / sizeof table[0], STATUS_COUNT);
    for (int i = 0; i < STATUS_COUNT; i++)
        cr_assert_eq(status_exit_code(table[i].status), table[i].exit_code, "%s",
                     status_name(table[i].status));
}

Test(status, names_are_distinct_and_read_back)
{
    for (int i = 0; i < STATUS_COUNT; i++) {
        enum status status = (enum status)i;
        cr_assert_eq(status_from_name(status_name(status)), status);
        cr_assert_gt(strlen(status_text(status)), 0);
    }
    cr_assert_eq(status_from_name("of_a_newer_daemon"), STATUS_UNKNOWN);
    cr_assert_eq(status_from_name(""), STATUS_UNKNOWN);
}

Test(status, errno_values_have_a_status)
{
    cr_assert_eq(status_from_errno(0), STATUS_OK);
    cr_assert_eq(status_from_errno(ENOENT), STATUS_NOT_FOUND);
    cr_assert_eq(status_from_errno(EACCES), STATUS_PERMISSION_DENIED);
    cr_assert_eq(status_from_errno(ENOSPC), STATUS_RESOURCE_EXHAUSTED);
    cr_assert_eq(status_from_errno(EMFILE), STATUS_RESOURCE_EXHAUSTED);
    cr_assert_eq(status_from_errno(ECONNREFUSED), STATUS_UNAVAILABLE);
    cr_assert_eq(status_from_errno(EIO), STATUS_IO);
    cr_assert_eq(status_from_errno(ENOTTY), STATUS_INTERNAL);
}

static enum status try_it(enum status status, int *reached)
{
    TRY(status);
    *reached = 1;
    return STATUS_ABORTED;
}

Test(status, try_returns_early_on_failure_only)
{
    int reached = 0;
    cr_assert_eq(try_it(STATUS_IO, &reached), STATUS_IO);
    cr_assert_eq(reached, 0);
    cr_assert_eq(try_it(STATUS_OK, &reached), STATUS_ABORTED);
    cr_assert_eq(reached, 1);
}
