/* SIGTERM to solod: everything ends in order, and the log says so last. */
#include <signal.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(shutdown, .timeout = 240);

enum { PATIENCE_MS = 60000 };

/* Deploys it and waits until it does what it is to do when it is asked to stop: before that it is
 * ended by the asking. */
static void deploy_that_hears(const struct testbed *bed, const char *name, json_t *spec)
{
    service_deploy(bed, spec);
    cr_assert(process_wait_handles(service_pid(bed, "acme", name), SIGTERM, PATIENCE_MS));
}

/* The log as recoveryd reads it with everything down. */
static json_t *events_on_disk(const struct testbed *bed)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(bed, &result, "log", "-o", "jsonl", NULL);
    expect_exit(&result, 0);
    json_t *events = json_array();
    for (const char *line = result_out(&result); line != NULL && *line != '\0';) {
        json_error_t error;
        json_t *event = json_loads(line, JSON_DISABLE_EOF_CHECK, &error);
        cr_assert_not_null(event, "%s", error.text);
        json_array_append_new(events, event);
        line = strchr(line, '\n');
        if (line != NULL)
            line++;
    }
    return events;
}

static const char *last_type(const json_t *events)
{
    return text_in(json_array_get(events, json_array_size(events) - 1), "type");
}

Test(shutdown, stops_services_gracefully_and_closes_the_log)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy(&bed, service_spec(&bed, "acme", "polite", "exiter", "0", "on-term", NULL));
    service_deploy_sleeper(&bed, "acme", "plain");
    service_deploy_sleeper(&bed, "beta", "plain");
    cr_assert_eq(testbed_stop(&bed), 0);
    char run_id[512];
    snprintf(run_id, sizeof run_id, "%s/internal/run_id", bed.run);
    cr_assert_neq(access(run_id, F_OK), 0, "deployd under systemd would take itself for this run");
    cr_assert(testbed_is_empty(&bed), "something outlives the shutdown");
    json_t *events = events_on_disk(&bed);
    cr_assert_eq(events_count(events, "system_shutdown_started", NULL, NULL), 1);
    cr_assert_str_eq(last_type(events), "system_shutdown_complete");
    json_t *stopped = event_last(events, "service_stopped", "acme", "polite");
    cr_assert_not_null(stopped);
    cr_assert_eq(events_count(events, "service_crashed", NULL, NULL), 0);
    cr_assert_eq(events_count(events, "service_killed", NULL, NULL), 0);
    json_decref(events);
}

Test(shutdown, what_comes_while_services_stop_is_told_to_come_later)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_SHUTDOWN_TIMEOUT_MS", "100000");
    testbed_start(&bed);
    char gate[300];
    snprintf(gate, sizeof gate, "%s/gate", bed.dir);
    cr_assert_eq(file_write(gate, span_of_text(""), 0644), STATUS_OK);
    json_t *spec = service_spec(&bed, "acme", "slow", "sleeper", NULL);
    json_object_set_new(spec, "argv",
                        json_pack("[s, s, s, s, s]", "/bin/sh", "-c",
                                  "trap 'while [ -e \"$1\" ]; do sleep 0.05; done; exit 0' TERM; "
                                  "while :; do sleep 0.05; done",
                                  "slow", gate));
    json_object_set_new(spec, "stop", json_pack("{s:s}", "timeout", "300s"));
    deploy_that_hears(&bed, "slow", spec);
    process_signal(bed.solod, SIGTERM);
    event_await(&bed, 0, "system_shutdown_started", NULL, NULL, PATIENCE_MS);
    struct problem problem = { 0 };
    cr_assert_eq(service_try_deploy(&bed, service_spec(&bed, "acme", "new", "sleeper", NULL), NULL,
                                    &problem),
                 STATUS_UNAVAILABLE);
    cr_assert_gt(problem.retry_after_ms, 0);
    cr_assert_eq(testbed_call(&bed, "solod", "daemon.restart",
                              json_pack("{s:s}", "daemon", "eventd"), NULL, &problem),
                 STATUS_UNAVAILABLE);
    cr_assert_gt(problem.retry_after_ms, 0);
    cr_assert_eq(testbed_call(&bed, "solod", "system.wait", NULL, NULL, &problem),
                 STATUS_UNAVAILABLE);
    cr_assert_gt(problem.retry_after_ms, 0);
    cr_assert_eq(unlink(gate), 0);
    cr_assert_eq(testbed_stop(&bed), 0);
}

/* In the plan, in the report and in the status: the same word, or words for it. */
static void expect_last_run(const struct testbed *bed, const char *word, const char *words,
                            bool is_up)
{
    static const char *const ways[] = { "--dry-run", "--all" };
    char line[128];
    snprintf(line, sizeof line, "Last run %s\n", words);
    for (size_t i = 0; i < (is_up ? 2 : 1); i++) {
        AUTO(result_close) struct result json = { 0 }, text = { 0 };
        testbed_recoveryd(bed, &json, ways[i], "-o", "json", NULL);
        expect_exit(&json, 0);
        json_error_t error;
        json_t *document = json_loads(result_out(&json), 0, &error);
        cr_assert_not_null(document, "%s", error.text);
        expect_text(document, "kind", i == 0 ? "recovery_plan" : "recovery_report");
        expect_text(document, "last_run", word);
        json_decref(document);
        testbed_recoveryd(bed, &text, ways[i], NULL);
        expect_contains(result_out(&text), line);
    }
    if (!is_up)
        return;
    AUTO(result_close) struct result status = { 0 };
    testbed_soloctl(bed, &status, "status", NULL);
    snprintf(line, sizeof line, "Last run   %s\n", words);
    expect_contains(result_out(&status), line);
}

Test(shutdown, how_the_last_run_ended_is_in_plan_report_and_status)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "plain");
    AUTO(result_close) struct result first = { 0 };
    testbed_recoveryd(&bed, &first, NULL);
    expect_lacks(result_out(&first), "Last run");
    testbed_kill_everything(&bed);
    expect_last_run(&bed, "crash", "crashed", false);
    testbed_start(&bed);
    expect_last_run(&bed, "crash", "crashed", true);
    cr_assert_eq(testbed_stop(&bed), 0);
    expect_last_run(&bed, "clean", "ended in order", false);
    testbed_start(&bed);
    expect_last_run(&bed, "clean", "ended in order", true);
}

Test(shutdown, without_services_and_without_events_when_these_are_switched_off)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_LOG_SHUTDOWN_EVENTS", "false");
    testbed_start(&bed);
    cr_assert_eq(testbed_stop(&bed), 0);
    json_t *events = events_on_disk(&bed);
    cr_assert_eq(events_count(events, "system_shutdown_started", NULL, NULL), 0);
    cr_assert_eq(events_count(events, "system_shutdown_complete", NULL, NULL), 0);
    cr_assert_eq(events_count(events, "system_started", NULL, NULL), 1);
    json_decref(events);
    /* The work is done all the same, and known. */
    expect_last_run(&bed, "clean", "ended in order", false);
    testbed_start(&bed);
    testbed_kill_everything(&bed);
    expect_last_run(&bed, "crash", "crashed", false);
}

Test(shutdown, what_does_not_end_in_time_is_killed_and_the_exit_code_says_so)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_SHUTDOWN_TIMEOUT_MS", "4000"); /* enough for the other one */
    testbed_start(&bed);
    json_t *spec = service_spec(&bed, "acme", "deaf", "stubborn", NULL);
    json_object_set_new(spec, "stop", json_pack("{s:s}", "timeout", "300s"));
    deploy_that_hears(&bed, "deaf", spec);
    service_deploy_sleeper(&bed, "acme", "plain");
    uint64_t begin = clock_boottime_ns();
    cr_assert_eq(testbed_stop(&bed), 1);
    cr_assert_lt((clock_boottime_ns() - begin) / 1000000, 60000);
    cr_assert(testbed_is_empty(&bed), "something outlives the shutdown");
    json_t *events = events_on_disk(&bed);
    cr_assert_str_eq(last_type(events), "system_shutdown_complete");
    json_decref(events);
    cr_assert_eq(testbed_log_count(&bed, "had to be killed: its time is over\" service=acme/deaf"),
                 1);
    /* Of a supervisor whose answer comes too late nobody knows what had ended. */
    if (testbed_log_count(&bed, "msg=\"all services ended\"") == 1 &&
        testbed_log_count(&bed, "a supervisor is killed") == 0)
        cr_assert_eq(
            testbed_log_count(&bed, "had to be killed: its time is over\" service=acme/plain"), 0);
    testbed_set(&bed, "SOLO_SHUTDOWN_TIMEOUT_MS", "200");
    testbed_start(&bed);
    service_await(&bed, "acme", "deaf", "running", PATIENCE_MS);
    cr_assert(process_wait_handles(service_pid(&bed, "acme", "deaf"), SIGTERM, PATIENCE_MS));
    service_kill(&bed, "acme", "plain");
    cr_assert_eq(testbed_stop(&bed), 1);
}

Test(shutdown, at_any_moment_of_the_start_ends_everything)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        service_deploy_sleeper(&bed, i % 2 == 0 ? "acme" : "beta", name);
    }
    testbed_kill_everything(&bed);
    static const int moments_ms[] = { 0, 2, 10, 30, 60, 100, 200, 400 };
    for (size_t i = 0; i < COUNT_OF(moments_ms); i++) {
        testbed_launch(&bed, NULL);
        sleep_ms(moments_ms[i]);
        int exit_code = testbed_stop(&bed);
        if (exit_code == 1)
            testbed_show_log(&bed);
        /* before the handlers are there, the signal ends it as it ends any program */
        cr_assert(exit_code == 0 || exit_code == 128 + SIGTERM, "exit code %d after %d ms",
                  exit_code, moments_ms[i]);
        cr_assert(testbed_is_empty(&bed), "left over after %d ms", moments_ms[i]);
    }
    testbed_start(&bed);
    json_t *rows = service_rows(&bed);
    size_t i, running = 0;
    json_t *row;
    json_array_foreach(rows, i, row) running += strcmp(text_in(row, "state"), "running") == 0;
    json_decref(rows);
    cr_assert_eq(running, 20);
}

Test(shutdown, requests_in_flight_are_answered_or_repeatable)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    char path[4096];
    testbed_socket(&bed, "eventd", path);
    struct caller caller;
    cr_assert_eq(caller_open(&caller, path), STATUS_OK);
    AUTO(buffer_close) struct buffer frame = { .limit = 1 << 20 };
    enum { COUNT = 200 };
    for (uint64_t i = 1; i <= COUNT; i++) {
        json_t *params = json_pack("{s:s, s:{s:i}}", "type", "app.flight", "payload", "n", (int)i);
        caller_pack(&frame, i, "event.append", params);
        json_decref(params);
    }
    cr_assert(caller_send(&caller, buffer_span(&frame)));
    process_signal(bed.solod, SIGTERM);
    size_t acknowledged = 0;
    for (json_t *answer; (answer = caller_receive(&caller, PATIENCE_MS, NULL)) != NULL;) {
        acknowledged += json_is_null(json_array_get(answer, 2));
        json_decref(answer);
    }
    caller_close(&caller);
    cr_assert_eq(testbed_stop(&bed), 0);
    json_t *events = events_on_disk(&bed);
    size_t stored = events_count(events, "app.flight", NULL, NULL);
    cr_assert_geq(stored, acknowledged, "%zu acknowledged, %zu stored", acknowledged, stored);
    cr_assert_str_eq(last_type(events), "system_shutdown_complete");
    printf("%zu of %d acknowledged, %zu stored\n", acknowledged, COUNT, stored);
    json_decref(events);
}

Test(shutdown, a_last_drain_ends_the_run_and_has_the_log_closed)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "plain");
    char run_id[512];
    snprintf(run_id, sizeof run_id, "%s/internal/run_id", bed.run);
    cr_assert_eq(access(run_id, F_OK), 0);
    AUTO(result_close) struct result drained = { 0 };
    testbed_soloctl(&bed, &drained, "drain", "--last", NULL);
    expect_exit(&drained, 0);
    cr_assert_neq(access(run_id, F_OK), 0, "the next deployd would take itself for this run");
    /* Whoever stops eventd now finds the log closed behind it. */
    AUTO(result_close) struct result restarted = { 0 };
    testbed_soloctl(&bed, &restarted, "daemon", "restart", "eventd", NULL);
    expect_exit(&restarted, 0);
    testbed_kill_everything(&bed);
    json_t *events = events_on_disk(&bed);
    cr_assert_eq(events_count(events, "system_shutdown_started", NULL, NULL), 1);
    cr_assert_eq(events_count(events, "system_shutdown_complete", NULL, NULL), 1);
    json_decref(events);
}

/* By somebody's mistake. Nobody can reach Solo any more, but it ends as ever. */
Test(shutdown, a_run_directory_that_was_moved_away_keeps_nobody_from_ending)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char moved[512];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "plain");
    pid_t service = service_pid(&bed, "acme", "plain");
    snprintf(moved, sizeof moved, "%s.moved", bed.run);
    cr_assert_eq(rename(bed.run, moved), 0);
    cr_expect_eq(testbed_stop(&bed), 0);
    cr_expect_not(process_is_alive(service));
    cr_assert_eq(rename(moved, bed.run), 0);
    json_t *events = events_on_disk(&bed);
    cr_expect_eq(events_count(events, "system_shutdown_started", NULL, NULL), 1);
    cr_expect_str_eq(last_type(events), "system_shutdown_complete");
    json_decref(events);
    cr_expect(testbed_is_empty(&bed), "something outlives the shutdown");
}

/* It hears nothing, so it can end nothing: it is killed, and its services with it. */
Test(shutdown, a_supervisor_that_hangs_is_killed_when_the_time_is_over)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_SHUTDOWN_TIMEOUT_MS", "4000"); /* enough for the other one */
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "plain");
    service_deploy_sleeper(&bed, "beta", "held");
    pid_t held = service_pid(&bed, "beta", "held");
    pid_t hanging = testbed_supervisor(&bed, "beta");
    char socket_path[4200];
    snprintf(socket_path, sizeof socket_path, "%s/internal/tenants/beta.sock", bed.run);
    cr_assert_eq(process_signal(hanging, SIGSTOP), 0);
    cr_assert_eq(unlink(socket_path), 0); /* as if its queue of connections were full */
    cr_assert_eq(testbed_stop(&bed), 1, "something had to be killed");
    cr_assert(process_wait_gone(hanging, PATIENCE_MS));
    cr_assert(process_wait_gone(held, PATIENCE_MS));
    cr_assert(testbed_is_empty(&bed), "something outlives the shutdown");
    json_t *events = events_on_disk(&bed);
    cr_assert_str_eq(last_type(events), "system_shutdown_complete");
    cr_assert_not_null(event_last(events, "service_stopped", "acme", "plain"));
    json_decref(events);
    testbed_start(&bed);
    service_await(&bed, "beta", "held", "running", 10000);
    service_await(&bed, "acme", "plain", "running", 10000);
}

static pid_t program_start(const struct testbed *bed, const char *name, const char *flag,
                           const char *value)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", bed->bin, name);
    const char *argv[] = { path, "--run", bed->run, "--data", bed->data, flag, value, NULL };
    return command_start(&(struct command){ .argv = argv, .environment = testbed_environment(bed) },
                         bed->log);
}

/* Nothing that was acknowledged is lost, and the next start knows that something had to be killed.
 */
Test(shutdown, behind_an_eventd_that_hangs_the_log_is_closed)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_SHUTDOWN_TIMEOUT_MS", "1000");
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "plain");
    json_t *before = events_on_disk(&bed);
    cr_assert_eq(process_signal(testbed_daemon(&bed, "eventd"), SIGSTOP), 0);
    cr_assert_eq(testbed_stop(&bed), 1, "something had to be killed");
    cr_assert(testbed_is_empty(&bed), "something outlives the shutdown");
    json_t *events = events_on_disk(&bed);
    cr_assert_gt(json_array_size(events), json_array_size(before));
    cr_assert_str_eq(last_type(events), "system_shutdown_complete");
    json_t *payload =
        json_object_get(event_last(events, "system_shutdown_complete", NULL, NULL), "payload");
    cr_assert(json_is_true(json_object_get(payload, "forced")));
    expect_contains(text_in(payload, "killed"), "eventd");
    json_decref(events);
    json_decref(before);
    expect_last_run(&bed, "forced", "ended in order, but something had to be killed", false);
    testbed_start(&bed);
    service_await(&bed, "acme", "plain", "running", 10000);
}

/* What systemd does around the daemons: each step changes nothing that is not due. */
Test(shutdown, without_deployd_services_end_in_order_and_the_log_is_closed)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    char told[400];
    snprintf(told, sizeof told, "%s/tenants/acme/polite/told", bed.data);
    json_t *spec = service_spec(&bed, "acme", "polite", "sleeper", NULL);
    json_object_set_new(spec, "argv",
                        json_pack("[s, s, s]", "/bin/sh", "-c",
                                  "trap 'echo >told; exit 0' TERM; while :; do sleep 0.05; done"));
    deploy_that_hears(&bed, "polite", spec);
    testbed_kill_solod(&bed);
    cr_assert_eq(command_wait(program_start(&bed, "eventd", "--close-log", ""), PATIENCE_MS), 0);
    json_t *events = events_on_disk(&bed);
    cr_assert_eq(events_count(events, "system_shutdown_complete", NULL, NULL), 0,
                 "the run is not over");
    json_decref(events);
    cr_assert_eq(command_wait(program_start(&bed, "solod", "--end-services", NULL), PATIENCE_MS),
                 0);
    cr_assert_eq(access(told, F_OK), 0, "a service was killed without being asked");
    cr_assert(testbed_is_empty(&bed), "something is left");
    for (int i = 0; i < 2; i++)
        cr_assert_eq(
            command_wait(program_start(&bed, "eventd", "--close-log", "a, b"), PATIENCE_MS), 0);
    events = events_on_disk(&bed);
    cr_assert_eq(events_count(events, "system_shutdown_complete", NULL, NULL), 1);
    cr_assert_str_eq(last_type(events), "system_shutdown_complete");
    json_decref(events);
    testbed_start(&bed);
    service_await(&bed, "acme", "polite", "running", 10000);
}

/* Its services are killed with it, which the exit code and the log do not keep to themselves. */
Test(shutdown, a_supervisor_that_dies_on_the_way_makes_the_end_a_forced_one)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_SHUTDOWN_TIMEOUT_MS", "100000");
    testbed_start(&bed);
    json_t *spec = service_spec(&bed, "acme", "deaf", "stubborn", NULL);
    json_object_set_new(spec, "stop", json_pack("{s:s}", "timeout", "300s"));
    deploy_that_hears(&bed, "deaf", spec);
    pid_t supervisor = testbed_supervisor(&bed, "acme");
    process_signal(bed.solod, SIGTERM);
    event_await(&bed, 0, "system_shutdown_started", NULL, NULL, 20000);
    cr_assert_eq(process_signal(supervisor, SIGKILL), 0);
    cr_assert_eq(testbed_stop(&bed), 1);
    json_t *events = events_on_disk(&bed);
    json_t *payload =
        json_object_get(event_last(events, "system_shutdown_complete", NULL, NULL), "payload");
    expect_contains(text_in(payload, "killed"), "acme/deaf");
    json_decref(events);
    cr_assert_eq(testbed_log_count(&bed, "its supervisor died\" service=acme/deaf"), 1);
}
