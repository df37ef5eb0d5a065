#include "tests/support/files.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/ensure.h"

enum { ARGUMENTS_MAX = 8 };

void files_change(const struct testbed *bed, ...)
{
    AUTO(result_close) struct result result = { 0 };
    const char *argv[ARGUMENTS_MAX + 1] = { 0 };
    size_t count = 0;
    va_list arguments;
    va_start(arguments, bed);
    while ((argv[count] = va_arg(arguments, const char *)) != NULL)
        ensure(++count < ARGUMENTS_MAX);
    va_end(arguments);
    command_run(&(struct command){ .argv = argv, .environment = testbed_environment(bed) },
                &result);
    if (result.exit_code != 0)
        test_fail("%s %s: exit code %d: %s", argv[0], argv[1], result.exit_code,
                  result_err(&result));
}

void files_copy(const struct testbed *bed, const char *from, const char *to)
{
    char made[4096], aside[4096];
    snprintf(made, sizeof made, "%s.made", to);
    snprintf(aside, sizeof aside, "%s.aside", to);
    files_change(bed, "/bin/cp", "-a", from, made, NULL);
    bool was_there = rename(to, aside) == 0;
    if ((!was_there && errno != ENOENT) || rename(made, to) != 0)
        test_fail("cannot put %s in the place of %s: %s", made, to, strerror(errno));
    if (was_there)
        files_change(bed, "/bin/rm", "-rf", aside, NULL);
}
