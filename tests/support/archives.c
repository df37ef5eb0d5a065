#include "tests/support/archives.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "tests/support/services.h"

enum { BATCH = 500 };

void notes_append(const struct testbed *bed, size_t count)
{
    for (size_t left = count; left > 0;) {
        size_t now = left < BATCH ? left : BATCH;
        json_t *events = json_array();
        for (size_t i = 0; i < now; i++)
            json_array_append_new(events, json_pack("{s:s, s:s, s:{s:i}}", "type", "app.note",
                                                    "subject", "notes", "payload", "n", (int)i));
        json_decref(
            testbed_ask(bed, "eventd", "event.append_batch", json_pack("{s:o}", "events", events)));
        left -= now;
    }
}

static json_t *parse(struct result *result)
{
    json_t *answer = json_loads(result_out(result), 0, NULL);
    if (answer == NULL)
        test_fail("exit code %d: %s %s", result->exit_code, result_out(result), result_err(result));
    return answer;
}

json_t *log_archive_keep(const struct testbed *bed, const char *keep)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(bed, &result, "archive", "--keep", keep, "-o", "json", NULL);
    if (result.exit_code != 0)
        test_fail("soloctl archive: exit code %d: %s", result.exit_code, result_err(&result));
    return parse(&result);
}

char *archive_only(const struct testbed *bed, char path[ARCHIVE_PATH_BYTES], const char *suffix)
{
    glob_t found;
    snprintf(path, ARCHIVE_PATH_BYTES, "%s/archive/events-*%s", bed->data, suffix);
    if (glob(path, 0, NULL, &found) != 0 || found.gl_pathc != 1)
        test_fail("%s: not one file", path);
    snprintf(path, ARCHIVE_PATH_BYTES, "%s", found.gl_pathv[0]);
    globfree(&found);
    return path;
}

size_t verify_findings(const struct testbed *bed, const char *code)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(bed, &result, "verify", "--full", "-o", "json", NULL);
    json_t *report = parse(&result), *finding;
    json_t *findings = json_object_get(report, "inconsistencies");
    size_t i, count = json_array_size(findings);
    json_array_foreach(findings, i, finding)
    {
        if (strcmp(text_in(finding, "code"), code) != 0)
            test_fail("%s instead of %s", text_in(finding, "code"), code);
    }
    json_decref(report);
    return count;
}
