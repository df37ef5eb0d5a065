/* Many specs in one call: all or nothing while they are checked, one answer each when they are
 * deployed, and what runs as its spec says is left alone. */
#include <stdlib.h>
#include <sys/stat.h>

#include "tests/support/expect.h"
#include "tests/support/services.h"

TestSuite(apply, .timeout = 120);

enum { LINE_BYTES = 4600 };

static const char *spec_line(const struct testbed *bed, char line[LINE_BYTES], const char *name,
                             const char *program, const char *argument)
{
    snprintf(line, LINE_BYTES,
             "{\"tenant\": \"acme\", \"name\": \"%s\", \"argv\": [\"%s/%s\", \"%s\"]}\n", name,
             bed->programs, program, argument);
    return line;
}

static json_t *apply(const struct testbed *bed, struct result *result, const char *input)
{
    testbed_soloctl_input(bed, result, input, "-o", "json", "apply", "-f", "-", NULL);
    expect_exit(result, 0);
    return result_json(result);
}

static const char *result_of(const json_t *document, size_t i)
{
    return text_in(json_array_get(json_object_get(document, "items"), i), "result");
}

Test(apply, nothing_is_changed_when_one_program_is_missing)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char good[LINE_BYTES], bad[LINE_BYTES], input[3 * LINE_BYTES];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t before = log_settled_id(&bed);
    spec_line(&bed, good, "first", "sleeper", "x");
    spec_line(&bed, bad, "second", "no-such-program", "x");
    snprintf(input, sizeof input, "%s%s", good, bad);
    testbed_soloctl_input(&bed, &result, input, "apply", "-f", "-", NULL);
    expect_exit(&result, 6);
    cr_assert_not_null(strstr(result_err(&result), "line 2.acme/second.argv[0]: "), "%s",
                       result_err(&result));
    cr_assert_not_null(strstr(result_err(&result), "nothing was deployed: 1 of 2"), "%s",
                       result_err(&result));
    cr_assert_null(service_row_of(&bed, "acme", "first"));
    cr_assert_eq(log_settled_id(&bed), before, "something was appended");
    /* The same without the bad one. */
    json_t *document = apply(&bed, &result, good);
    cr_assert_str_eq(result_of(document, 0), "deployed");
    json_decref(document);
    cr_assert_gt(service_pid(&bed, "acme", "first"), 0);
}

Test(apply, every_refusal_of_a_file_is_told_with_its_place)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    testbed_soloctl_input(
        &bed, &result,
        "[{\"tenant\": \"acme\", \"name\": \"a\", \"argv\": [\"/nowhere/x\"]},"
        " {\"tenant\": \"acme\", \"name\": \"b\", \"code\": \"x\", \"interpreter\": \"nope\"},"
        " {\"tenant\": \"acme\", \"name\": \"c\", \"argv\": [\"/nowhere/y\"]}]",
        "apply", "-f", "-", NULL);
    expect_exit(&result, 6);
    static const char *const places[] = { "[0].acme/a.argv[0]: ", "[1].acme/b.interpreter: ",
                                          "[2].acme/c.argv[0]: ", "3 of 3 specs are refused" };
    for (size_t i = 0; i < COUNT_OF(places); i++)
        cr_assert_not_null(strstr(result_err(&result), places[i]), "no \"%s\" in %s", places[i],
                           result_err(&result));
}

Test(apply, what_runs_unchanged_is_left_alone)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char one[LINE_BYTES], two[LINE_BYTES], input[3 * LINE_BYTES];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    spec_line(&bed, one, "one", "sleeper", "x");
    spec_line(&bed, two, "two", "sleeper", "x");
    snprintf(input, sizeof input, "%s%s", one, two);
    json_decref(apply(&bed, &result, input));
    pid_t first = service_pid(&bed, "acme", "one"), second = service_pid(&bed, "acme", "two");
    uint64_t before = log_settled_id(&bed);
    json_t *document = apply(&bed, &result, input);
    cr_assert_str_eq(result_of(document, 0), "unchanged");
    cr_assert_str_eq(result_of(document, 1), "unchanged");
    json_decref(document);
    cr_assert_eq(service_pid(&bed, "acme", "one"), first);
    cr_assert_eq(service_pid(&bed, "acme", "two"), second);
    cr_assert_eq(log_settled_id(&bed), before, "something was appended");

    spec_line(&bed, two, "two", "sleeper", "y");
    snprintf(input, sizeof input, "%s%s", one, two);
    document = apply(&bed, &result, input);
    cr_assert_str_eq(result_of(document, 0), "unchanged");
    cr_assert_str_eq(result_of(document, 1), "deployed");
    json_decref(document);
    cr_assert_eq(service_pid(&bed, "acme", "one"), first);
    cr_assert_neq(service_pid(&bed, "acme", "two"), second);
}

Test(apply, what_was_given_up_is_tried_again_and_what_begins_is_awaited)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    json_t *spec = service_spec(&bed, "acme", "job", "exiter", "3", NULL);
    json_object_set_new(spec, "restart", json_pack("{s:i}", "max_restarts", 0));
    char *input = json_dumps(spec, 0);
    json_decref(spec);
    json_decref(apply(&bed, &result, input));
    service_await(&bed, "acme", "job", "parked", 10000);
    json_t *document = apply(&bed, &result, input);
    cr_assert_str_eq(result_of(document, 0), "deployed");
    json_decref(document);
    free(input);

    spec = service_spec(&bed, "acme", "slow", "announcer", "sleep:1500", "notify:READY=1", NULL);
    json_object_set_new(spec, "ready", json_pack("{s:s, s:s}", "by", "notify", "timeout", "60s"));
    input = json_dumps(spec, 0);
    json_decref(spec);
    json_decref(apply(&bed, &result, input));
    testbed_soloctl_input(&bed, &result, input, "-o", "json", "apply", "--wait", "-f", "-", NULL);
    expect_exit(&result, 0);
    document = result_json(&result);
    cr_assert_str_eq(result_of(document, 0), "unchanged");
    expect_text(json_array_get(json_object_get(document, "items"), 0), "state", "running");
    json_decref(document);
    free(input);
}

/* Each service has its answer, in the order of the file, and the worst one decides. */
Test(apply, the_exit_code_is_the_worst)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char good[LINE_BYTES], bad[LINE_BYTES], input[3 * LINE_BYTES];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    /* Executable by its mode, but no program: what only the attempt can show. */
    char path[400];
    snprintf(path, sizeof path, "%s/broken", bed.programs);
    FILE *file = fopen(path, "w");
    fputs("\177ELF but no more", file);
    fclose(file);
    cr_assert_eq(chmod(path, 0755), 0);
    spec_line(&bed, bad, "bad", "broken", "x");
    spec_line(&bed, good, "good", "sleeper", "x");
    snprintf(input, sizeof input, "%s%s", bad, good);
    testbed_soloctl_input(&bed, &result, input, "-o", "json", "apply", "-f", "-", NULL);
    expect_exit(&result, 6);
    expect_contains(result_err(&result), "1 of 2 specs failed, the others are deployed");
    json_t *document = result_json(&result);
    cr_assert_str_eq(result_of(document, 0), "failed");
    cr_assert_str_eq(result_of(document, 1), "deployed");
    json_decref(document);
}

/* service.validate by itself: the checks of a deploy, and nothing else. */
Test(apply, validating_changes_nothing)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t before = log_settled_id(&bed);
    json_t *spec = service_spec(&bed, "acme", "api", "sleeper", NULL);
    json_t *reply =
        testbed_ask(&bed, "deployd", "service.validate", json_pack("{s:O}", "spec", spec));
    cr_assert_str_eq(text_in(reply, "tenant"), "acme");
    cr_assert_not(json_is_true(json_object_get(reply, "unchanged")));
    json_decref(reply);
    cr_assert_null(service_row_of(&bed, "acme", "api"));
    testbed_soloctl_input(&bed, &result, "[]", "apply", "-f", "-", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "0 services");
    cr_assert_eq(log_settled_id(&bed), before);
    service_deploy(&bed, json_incref(spec));
    reply = testbed_ask(&bed, "deployd", "service.validate", json_pack("{s:o}", "spec", spec));
    cr_assert(json_is_true(json_object_get(reply, "unchanged")));
    json_decref(reply);
}
