/* The command line of a supervisor. */
#include "tenantd/options.h"

#include <unistd.h>

#include "common/base/auto.h"
#include "tests/support/criterion.h"

#define STORE "00112233445566778899aabbccddeeff"

static enum status parse(const char *const *arguments)
{
    struct options options = { 0 };
    while (*arguments != NULL) {
        int taken = options_take(&options, arguments[0], arguments[1]);
        cr_assert_gt(taken, 0, "%s", arguments[0]);
        arguments += taken;
    }
    return options_check(&options);
}

#define PARSE(...) parse((const char *const[]){ __VA_ARGS__, NULL })

Test(options, a_complete_command_line_is_accepted)
{
    if (geteuid() == 0)
        cr_assert_eq(
            PARSE("--tenant", "acme", "--store-id", STORE, "--uid", "200001", "--gid", "200001"),
            STATUS_OK);
    else
        cr_assert_eq(PARSE("--tenant", "acme", "--store-id", STORE, "--without-cgroup",
                           "--without-namespaces"),
                     STATUS_OK);
}

Test(options, what_is_missing_or_wrong_is_refused)
{
    cr_assert_eq(PARSE("--store-id", STORE), STATUS_USAGE);
    cr_assert_eq(PARSE("--tenant", "Acme", "--store-id", STORE), STATUS_USAGE);
    cr_assert_eq(PARSE("--tenant", "acme", "--store-id", "1234"), STATUS_USAGE);
    cr_assert_eq(PARSE("--tenant", "acme", "--store-id", STORE, "--store-incarnation", "12"),
                 STATUS_USAGE);
    cr_assert_eq(PARSE("--tenant", "acme", "--store-id", STORE, "--uid", "5"), STATUS_USAGE);
    cr_assert_eq(PARSE("--tenant", "acme", "--store-id", STORE, "--uid", "x", "--gid", "5"),
                 STATUS_USAGE);
    cr_assert_eq(PARSE("--tenant", "acme", "--store-id", STORE, "--uid", "0", "--gid", "0"),
                 STATUS_USAGE);
    if (geteuid() == 0)
        cr_assert_eq(PARSE("--tenant", "acme", "--store-id", STORE), STATUS_USAGE);
    else
        cr_assert_eq(PARSE("--tenant", "acme", "--store-id", STORE, "--uid", "5", "--gid", "5"),
                     STATUS_USAGE);
}

Test(options, an_unknown_argument_is_not_taken)
{
    struct options options = { 0 };
    cr_assert_eq(options_take(&options, "--frobnicate", "x"), 0);
    cr_assert_eq(options_take(&options, "--tenant", NULL), 0);
}
