/* Words for results; the two forms are in report_text.c and report_json.c. */
#include "recoveryd/report.h"

#include <string.h>

#include "common/base/ensure.h"

static const char *const names[RESULTS] = {
    [RESULT_NONE] = "",           [RESULT_RECOVERED] = "recovered", [RESULT_STOPPED] = "stopped",
    [RESULT_SKIPPED] = "skipped", [RESULT_FAILED] = "failed",
};

const char *result_name(enum result result)
{
    ensure(result < RESULTS);
    return names[result];
}

enum result result_parse(const char *name)
{
    int result = RESULT_RECOVERED;
    while (result < RESULTS && strcmp(names[result], name) != 0)
        result++;
    return (enum result)result;
}
