/* What soloctl prints: one JSON document and nothing else, the fields scripts rely on, exit codes.
 */
#include <signal.h>
#include <time.h>

#include "common/base/file.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(command_line, .timeout = 120);

static json_t *find_item(const json_t *document, const char *key, const char *value)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(document, "items"), i, item)
    {
        const char *found = text_in(item, key);
        if (found != NULL && strcmp(found, value) == 0)
            return item;
    }
    return NULL;
}

Test(command_line, services_are_listed_with_the_documented_fields)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    testbed_soloctl(&bed, &result, "-o", "json", "get", "services", NULL);
    expect_exit(&result, 0);
    json_t *document = result_json(&result);
    cr_assert_eq(json_array_size(json_object_get(document, "items")), 0);
    json_decref(document);

    service_deploy_sleeper(&bed, "acme", "api");
    service_deploy_sleeper(&bed, "acme", "web");
    service_deploy_sleeper(&bed, "beta", "api");
    testbed_soloctl(&bed, &result, "-o", "json", "get", "services", NULL);
    expect_exit(&result, 0);
    document = result_json(&result);
    cr_assert_eq(json_array_size(json_object_get(document, "items")), 3);
    cr_assert_not_null(text_in(document, "kind"));
    json_t *item = find_item(document, "tenant", "beta");
    static const char *const fields[] = { "tenant",   "name",       "state",
                                          "reason",   "generation", "pid",
                                          "restarts", "started_at", "last_exit" };
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        cr_assert_not_null(json_object_get(item, fields[i]), "no %s", fields[i]);
    json_decref(document);

    testbed_soloctl(&bed, &result, "-t", "acme", "-o", "json", "get", "services", NULL);
    document = result_json(&result);
    cr_assert_eq(json_array_size(json_object_get(document, "items")), 2);
    json_decref(document);

    testbed_soloctl(&bed, &result, "-o", "name", "get", "services", NULL);
    expect_exit(&result, 0);
    cr_assert_str_eq(result_out(&result), "acme/api\nacme/web\nbeta/api\n");

    testbed_soloctl(&bed, &result, "get", "services", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "acme/");
    expect_contains(result_out(&result), "running");
    expect_lacks(result_out(&result), "\x1b[");

    testbed_soloctl(&bed, &result, "-o", "jsonl", "get", "services", NULL);
    expect_exit(&result, 0);
    size_t lines = 0;
    for (const char *c = result_out(&result); (c = strchr(c, '\n')) != NULL; c++)
        lines++;
    cr_assert_eq(lines, 3, "%s", result_out(&result));
}

Test(command_line, describe_shows_the_spec_and_why)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    json_t *spec = service_spec(&bed, "acme", "api", "sleeper", "with", "words", NULL);
    json_object_set_new(spec, "env", json_pack("{s:s}", "COLOUR", "blue"));
    uint64_t generation = service_deploy(&bed, spec);
    testbed_soloctl(&bed, &result, "describe", "acme/api", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "running");
    expect_contains(result_out(&result), "COLOUR");
    expect_contains(result_out(&result), "\nSpec hash     ");
    testbed_soloctl(&bed, &result, "-o", "json", "describe", "acme/api", NULL);
    expect_exit(&result, 0);
    json_t *document = result_json(&result);
    char *text = json_dumps(document, 0);
    expect_contains(text, "\"words\"");
    expect_contains(text, "\"blue\"");
    char number[32];
    snprintf(number, sizeof number, "%lu", (unsigned long)generation);
    expect_contains(text, number);
    free(text);
    json_decref(document);
}

Test(command_line, events_can_be_narrowed)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    uint64_t generation = service_deploy_sleeper(&bed, "beta", "api");
    testbed_soloctl(&bed, &result, "-o", "json", "events", NULL);
    expect_exit(&result, 0);
    json_t *document = result_json(&result);
    json_t *items = json_object_get(document, "items");
    cr_assert_geq(json_array_size(items), 4);
    static const char *const fields[] = { "id",      "time",         "type",   "tenant",
                                          "subject", "causation_id", "payload" };
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        cr_assert_not_null(json_object_get(json_array_get(items, 0), fields[i]), "no %s",
                           fields[i]);
    json_decref(document);

    testbed_soloctl(&bed, &result, "-o", "json", "events", "--type", "service_deployed", NULL);
    document = result_json(&result);
    cr_assert_eq(json_array_size(json_object_get(document, "items")), 2);
    json_decref(document);
    testbed_soloctl(&bed, &result, "-o", "json", "events", "--type", "service_deployed", "--tenant",
                    "beta", NULL);
    document = result_json(&result);
    items = json_object_get(document, "items");
    cr_assert_eq(json_array_size(items), 1);
    expect_number(json_array_get(items, 0), "id", generation);
    json_decref(document);
    testbed_soloctl(&bed, &result, "-o", "json", "events", "--service", "acme/api", NULL);
    document = result_json(&result);
    size_t i;
    json_t *event;
    json_array_foreach(json_object_get(document, "items"), i, event)
        expect_text(event, "subject", "service/acme/api");
    cr_assert_geq(i, 1);
    json_decref(document);
    char after[32];
    snprintf(after, sizeof after, "%lu", (unsigned long)generation);
    testbed_soloctl(&bed, &result, "-o", "json", "events", "--after", after, NULL);
    document = result_json(&result);
    json_array_foreach(json_object_get(document, "items"), i, event)
        cr_assert_gt(number_in(event, "id"), generation);
    json_decref(document);
    testbed_soloctl(&bed, &result, "-o", "json", "events", "-n", "1", NULL);
    document = result_json(&result);
    cr_assert_eq(json_array_size(json_object_get(document, "items")), 1);
    json_decref(document);
    testbed_soloctl(&bed, &result, "events", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "service_deployed");
}

Test(command_line, the_log_is_read_without_daemons_too)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    json_t *events = events_after(&bed, 0);
    size_t count = json_array_size(events);
    json_decref(events);
    testbed_kill_everything(&bed);
    testbed_recoveryd(&bed, &result, "log", "-o", "jsonl", NULL);
    expect_exit(&result, 0);
    size_t lines = 0, at = 0;
    for (const char *line = result_out(&result); *line != '\0'; line = strchr(line, '\n') + 1) {
        json_error_t error;
        json_t *event = json_loads(line, JSON_DISABLE_EOF_CHECK, &error);
        cr_assert_not_null(event, "line %zu is no JSON: %s", lines + 1, error.text);
        cr_assert_eq(number_in(event, "id"), ++at, "numbers are not gapless");
        json_decref(event);
        lines++;
        cr_assert_not_null(strchr(line, '\n'));
    }
    cr_assert_geq(lines, count);
    testbed_recoveryd(&bed, &result, "log", "--type", "service_deployed", "--tenant", "acme", "-o",
                      "text", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "service_deployed");
    expect_lacks(result_out(&result), "system_started");
    testbed_recoveryd(&bed, &result, "verify", "--full", NULL);
    expect_exit(&result, 0);
}

/* It sleeps until the folder is made, and does not look now and then. */
Test(command_line, wait_ready_sleeps_while_there_is_no_run_folder)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char soloctl[4200], output[4200], run[4200];
    testbed_open(&bed, 0);
    snprintf(soloctl, sizeof soloctl, "%s/soloctl", bed.bin);
    snprintf(output, sizeof output, "%s/waiting", bed.dir);
    snprintf(run, sizeof run, "%s/deeper/run/", bed.dir);
    snprintf(bed.run, sizeof bed.run, "%.250s/deeper/run", bed.dir);
    const char *const argv[] = {
        soloctl, "--run", run, "wait", "--ready", "--timeout", "110s", NULL
    };
    pid_t pid = command_start(
        &(struct command){ .argv = argv, .environment = testbed_environment(&bed) }, output);
    long before = -1, switches = 0;
    for (int i = 0; i < 20 && switches != before; i++) { /* until it has begun to wait */
        before = switches;
        sleep_ms(2500);
        switches = process_number(pid, "status", "voluntary_ctxt_switches");
        cr_assert_gt(switches, 0);
    }
    cr_assert_eq(switches, before);
    testbed_start(&bed);
    cr_assert_eq(command_wait(pid, 60000), 0);
}

/* As in the tour: pasted while Solo is being started here and has not made its folder yet. */
Test(command_line, wait_ready_finds_the_run_folder_that_is_made_here_meanwhile)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char soloctl[4200], output[300];
    testbed_open(&bed, 0);
    snprintf(soloctl, sizeof soloctl, "%s/soloctl", bed.bin);
    snprintf(output, sizeof output, "%s/waiting", bed.dir);
    const char *const argv[] = { soloctl, "wait", "--ready", "--timeout", "90s", NULL };
    pid_t pid = command_start(&(struct command){ .argv = argv,
                                                 .environment = testbed_environment(&bed),
                                                 .directory = bed.dir },
                              output);
    cr_assert_eq(command_wait(pid, 1000), -1, "there is no Solo yet");
    testbed_start(&bed);
    cr_assert_eq(command_wait(pid, 60000), 0);
}

Test(command_line, status_daemons_tenants_and_version)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_soloctl(&bed, &result, "status", "--check", NULL);
    cr_assert(result.exit_code == 9 || result.exit_code == 3, "exit code %d with nothing there",
              result.exit_code);
    testbed_soloctl(&bed, &result, "get", "services", NULL);
    expect_exit(&result, 9);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    testbed_soloctl(&bed, &result, "wait", "--ready", "--timeout", "60s", NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "status", "--check", NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "status", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "solation");
    testbed_soloctl(&bed, &result, "-o", "json", "daemon", "list", NULL);
    expect_exit(&result, 0);
    json_t *document = result_json(&result);
    static const char *const names[] = {
        "solod", "eventd", "tokend", "vaultd", "deployd", "tenantd"
    };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        json_t *item = find_item(document, "name", names[i]);
        cr_assert_not_null(item, "%s is not listed: %s", names[i], result_out(&result));
        cr_assert(process_is_alive((pid_t)number_in(item, "pid")), "%s", names[i]);
        cr_assert_not_null(text_in(item, "state"));
    }
    expect_text(find_item(document, "name", "tenantd"), "tenant", "acme");
    json_decref(document);
    testbed_soloctl(&bed, &result, "-o", "json", "get", "tenants", NULL);
    expect_exit(&result, 0);
    document = result_json(&result);
    cr_assert_eq(json_array_size(json_object_get(document, "items")), 1);
    json_decref(document);
    testbed_soloctl(&bed, &result, "version", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "tokend ");
    expect_contains(result_out(&result), "vaultd ");
    testbed_soloctl(&bed, &result, "explain", "parked", NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "token", "--help", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "token attenuate");
    expect_lacks(result_out(&result), "deploy ");
    testbed_soloctl(&bed, &result, "--help", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "deploy");
}

Test(command_line, a_text_is_no_document)
{
    static const char *const texts[][2] = { { "completion", "bash" },
                                            { "troubleshooting", NULL },
                                            { "methods", NULL },
                                            { "manual", NULL } };
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        AUTO(result_close) struct result result = { 0 };
        testbed_soloctl(&bed, &result, "-o", "json", texts[i][0], texts[i][1], NULL);
        expect_exit(&result, 64);
        cr_assert_str_eq(result_out(&result), "", "%s", texts[i][0]);
    }
}

Test(command_line, wait_answers_when_the_condition_is_met_or_time_is_up)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    testbed_soloctl(&bed, &result, "wait", "acme/api", "--for", "running", "--timeout", "60s",
                    NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "wait", "acme/api", "--for", "gone", "--timeout", "300ms", NULL);
    expect_exit(&result, 7);
    service_kill(&bed, "acme", "api");
    testbed_soloctl(&bed, &result, "wait", "acme/api", "--for", "gone", "--timeout", "60s", NULL);
    expect_exit(&result, 0);
}

Test(command_line, apply_takes_one_object_an_array_or_one_object_per_line)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    char sleeper[4096], input[20000];
    testbed_program(&bed, "sleeper", sleeper);
    static const char one[] = "{\"tenant\": \"%s\", \"name\": \"%s\", \"argv\": [\"%s\"]}";
    size_t size = (size_t)snprintf(input, sizeof input, one, "acme", "one", sleeper);
    testbed_soloctl_input(&bed, &result, input, "apply", "-f", "-", NULL);
    expect_exit(&result, 0);
    size = (size_t)snprintf(input, sizeof input, "[");
    size += (size_t)snprintf(input + size, sizeof input - size, one, "acme", "two", sleeper);
    size += (size_t)snprintf(input + size, sizeof input - size, ", ");
    size += (size_t)snprintf(input + size, sizeof input - size, one, "acme", "three", sleeper);
    snprintf(input + size, sizeof input - size, "]");
    testbed_soloctl_input(&bed, &result, input, "apply", "-f", "-", NULL);
    expect_exit(&result, 0);
    size = (size_t)snprintf(input, sizeof input, one, "beta", "four", sleeper);
    size += (size_t)snprintf(input + size, sizeof input - size, "\n");
    size += (size_t)snprintf(input + size, sizeof input - size, one, "beta", "five", sleeper);
    snprintf(input + size, sizeof input - size, "\n");
    testbed_soloctl_input(&bed, &result, input, "apply", "-f", "-", NULL);
    expect_exit(&result, 0);
    json_t *rows = service_rows(&bed);
    cr_assert_eq(json_array_size(rows), 5);
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) expect_text(row, "state", "running");
    json_decref(rows);
}

/* What the watcher has written, once `text` is in it. */
static void expect_in_file(const char *path, const char *text, struct buffer *content)
{
    for (int i = 0; i < 2400; i++) {
        buffer_clear(content);
        if (file_read(path, content) == STATUS_OK && buffer_append(content, "", 1) == STATUS_OK &&
            strstr((const char *)content->data, text) != NULL)
            return;
        nanosleep(&(struct timespec){ .tv_nsec = 25 * 1000 * 1000 }, NULL);
    }
    cr_assert_fail("%s is not in:\n%s", text, (const char *)content->data);
}

Test(command_line, a_watch_shows_what_comes_and_goes_also_when_it_was_behind)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(buffer_close) struct buffer seen = { .limit = 1024 * 1024 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "before");
    char soloctl[4200], output[512];
    snprintf(soloctl, sizeof soloctl, "%s/soloctl", bed.bin);
    snprintf(output, sizeof output, "%s/watched", bed.dir);
    const char *const argv[] = { soloctl, "--run",    bed.run, "-o", "jsonl",
                                 "get",   "services", "-w",    NULL };
    const struct command command = { .argv = argv, .environment = testbed_environment(&bed) };
    pid_t watcher = command_start(&command, output);
    expect_in_file(output, "\"before\"", &seen);
    service_deploy_sleeper(&bed, "acme", "later");
    expect_in_file(output, "\"later\"", &seen);

    /* Behind by many events, and one change among them. */
    cr_assert_eq(process_signal(watcher, SIGSTOP), 0);
    for (int i = 0; i < 60; i++) {
        if (i == 10)
            service_kill(&bed, "acme", "later");
        json_decref(
            testbed_ask(&bed, "eventd", "event.append", json_pack("{s:s}", "type", "app.note")));
    }
    cr_assert_eq(process_signal(watcher, SIGCONT), 0);
    expect_in_file(output, "\"gone\"", &seen);
    service_deploy_sleeper(&bed, "acme", "last");
    expect_in_file(output, "\"last\"", &seen);
    process_signal(watcher, SIGKILL);
    cr_assert_neq(command_wait(watcher, 60000), -1);
}

/* Each command that `describe` names for a service, typed into a shell as it stands. */
static size_t paste_steps(const struct testbed *bed, const char *name, const char *state)
{
    AUTO(result_close) struct result result = { 0 };
    char key[64], script[2048];
    size_t count = 0;
    snprintf(key, sizeof key, "acme/%s", name);
    service_await(bed, "acme", name, state, 10000);
    testbed_soloctl(bed, &result, "-o", "json", "describe", key, NULL);
    expect_exit(&result, 0);
    json_t *document = result_json(&result);
    const char *line = text_in(document, "next_step");
    cr_assert_not_null(line, "%s has no next step", state);
    for (; *line != '\0'; count++) {
        size_t size = strcspn(line, "\n");
        snprintf(script, sizeof script,
                 "PATH=%s:$PATH SOLO_RUN_DIR=%s; export PATH SOLO_RUN_DIR; %.*s", bed->bin,
                 bed->run, (int)size, line);
        const char *const argv[] = { "/bin/sh", "-c", script, NULL };
        command_run(&(struct command){ .argv = argv, .environment = testbed_environment(bed) },
                    &result);
        bool is_late = strstr(script, "soloctl wait ") != NULL &&
                       (result.exit_code == 6 || result.exit_code == 7);
        cr_assert(result.exit_code == 0 || is_late, "%s: %s\nexit code %d: %s", state, script,
                  result.exit_code, result_err(&result));
        line += size + (line[size] == '\n');
    }
    json_decref(document);
    return count;
}

Test(command_line, the_next_steps_can_be_pasted)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    json_t *spec = service_spec(&bed, "acme", "begins", "announcer", "sleep:1", NULL);
    json_object_set_new(spec, "ready", json_pack("{s:s, s:s}", "by", "notify", "timeout", "12s"));
    service_deploy(&bed, json_incref(spec));
    cr_assert_geq(paste_steps(&bed, "begins", "starting"), 2);
    cr_assert_geq(paste_steps(&bed, "begins", "failed"), 2); /* and forgets it */
    json_decref(spec);

    spec = service_spec(&bed, "acme", "loops", "exiter", "3", NULL);
    json_object_set_new(spec, "restart",
                        json_pack("{s:s, s:s, s:s, s:i}", "initial", "90s", "max", "90s", "window",
                                  "300s", "max_restarts", 2));
    json_object_set_new(spec, "limits", json_pack("{s:s}", "memory", "64MiB"));
    service_deploy(&bed, spec);
    cr_assert_geq(paste_steps(&bed, "loops", "backoff"), 2); /* and is restarted */
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(&bed, &result, "restart", "acme/loops", NULL);
    service_await(&bed, "acme", "loops", "backoff", 10000);
    testbed_soloctl(&bed, &result, "describe", "acme/loops", NULL);
    expect_contains(result_out(&result), "\nLimits        memory 64 MiB\n");
    expect_contains(result_out(&result),
                    "\nRestart       always, after 90s to 90s; parked after 2 ");
    expect_contains(result_out(&result), "\nNext step     soloctl logs acme/loops -n 50  #");

    spec = service_spec(&bed, "acme", "parks", "exiter", "3", NULL);
    json_object_set_new(spec, "restart", json_pack("{s:i}", "max_restarts", 0));
    service_deploy(&bed, spec);
    cr_assert_geq(paste_steps(&bed, "parks", "parked"), 2);

    spec = service_spec(&bed, "acme", "waits", "sleeper", NULL);
    json_object_set_new(spec, "secrets", json_pack("[s]", "password"));
    service_deploy(&bed, spec);
    cr_assert_geq(paste_steps(&bed, "waits", "waiting_for_secret"), 2);
}
