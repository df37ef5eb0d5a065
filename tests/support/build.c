#include "tests/support/build.h"

#include <stdio.h>

bool build_has_faults(const struct testbed *bed)
{
    char program[4200];
    AUTO(result_close) struct result result = { 0 };
    snprintf(program, sizeof program, "%s/eventd", bed->bin);
    const char *const argv[] = { "/bin/grep", "-c", "SOLO_FAULT_BOUND", program, NULL };
    command_run(&(struct command){ .argv = argv, .environment = testbed_environment(bed) },
                &result);
    return result.exit_code == 0;
}
