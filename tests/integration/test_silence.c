/* A supervisor that lives and does not answer: nothing is said of its services that is not known.
 */
#include <signal.h>
#include <stdio.h>

#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(silence, .timeout = 120);

static void restart_deployd(struct testbed *bed)
{
    pid_t old = testbed_daemon(bed, "deployd");
    cr_assert_eq(process_signal(old, SIGKILL), 0);
    cr_assert(process_wait_gone(old, 60000));
    json_decref(testbed_ask(bed, "deployd", "system.status", json_object()));
}

/* A person is told which one, and where to find it. */
static void expect_alarm(const struct testbed *bed, const char *tenant, pid_t supervisor)
{
    AUTO(result_close) struct result result = { 0 };
    char text[128];
    testbed_soloctl(bed, &result, "status", "--check", NULL);
    expect_exit(&result, 3);
    snprintf(text, sizeof text, "the supervisor of tenant %s does not answer", tenant);
    expect_contains(result_out(&result), text);
    expect_lacks(result_out(&result), "not running");
    testbed_soloctl(bed, &result, "-o", "json", "daemon", "list", NULL);
    expect_exit(&result, 0);
    json_t *document = result_json(&result), *item;
    bool is_listed = false;
    size_t i;
    json_array_foreach(json_object_get(document, "items"), i, item)
    {
        const char *whose = text_in(item, "tenant");
        if (whose == NULL || strcmp(whose, tenant) != 0)
            continue;
        expect_text(item, "state", "silent");
        expect_number(item, "pid", supervisor);
        is_listed = true;
    }
    cr_assert(is_listed, "%s", result_out(&result));
    json_decref(document);
}

/* A kill that a supervisor has not carried out is the one thing that the log does not tell: what
 * runs on must not be taken for gone by a deployd that comes back. */
Test(silence, what_was_killed_behind_a_supervisor_that_hangs_is_not_said_to_be_gone)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    struct problem problem = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "beta", "killed");
    service_deploy_sleeper(&bed, "beta", "kept");
    pid_t pid = service_pid(&bed, "beta", "killed");
    pid_t hanging = testbed_supervisor(&bed, "beta");
    uint64_t before = log_settled_id(&bed);
    cr_assert_eq(process_signal(hanging, SIGSTOP), 0);
    char soloctl[4200];
    snprintf(soloctl, sizeof soloctl, "%s/soloctl", bed.bin);
    const char *const argv[] = { soloctl, "--run", bed.run, "kill", "beta/killed", NULL };
    pid_t killer = command_start(
        &(struct command){ .argv = argv, .environment = testbed_environment(&bed) }, bed.log);
    event_await(&bed, before, "service_killed", "beta", "killed", 5000);
    cr_assert_eq(command_wait(killer, 60000), 70, "it is told, though its supervisor hangs");
    cr_assert_gt(testbed_log_count(&bed, "the kill is recorded (event "), 0);

    for (int round = 0; round < 2; round++) { /* the second finds what the first has written */
        restart_deployd(&bed);
        json_t *row = service_row_of(&bed, "beta", "killed");
        cr_assert_not_null(row, "it still runs");
        expect_contains(text_in(row, "reason"), "its supervisor does not answer");
        expect_number(row, "pid", pid);
        json_decref(row);
        testbed_soloctl(&bed, &result, "wait", "beta/killed", "--for", "gone", "--timeout", "100ms",
                        NULL);
        expect_exit(&result, 7);
        testbed_recoveryd(&bed, &result, "--dry-run", "--all", NULL);
        expect_exit(&result, 0);
        expect_contains(result_out(&result), "beta/killed");
        expect_contains(result_out(&result), "1 to stop");
        testbed_recoveryd(&bed, &result, "verify", "--detailed-exitcode", NULL);
        expect_exit(&result, 2);
        expect_contains(result_out(&result), "beta/killed");
    }
    enum status status =
        testbed_call(&bed, "deployd", "service.kill",
                     json_pack("{s:s, s:s}", "tenant", "beta", "name", "killed"), NULL, &problem);
    expect_refused(status, STATUS_UNKNOWN, &problem, NULL);
    cr_assert(process_is_alive(pid));
    expect_alarm(&bed, "beta", hanging);

    cr_assert_eq(process_signal(hanging, SIGCONT), 0);
    cr_assert(process_wait_gone(pid, 60000), "it is ended when its supervisor answers");
    testbed_soloctl(&bed, &result, "wait", "beta/killed", "--for", "gone", "--timeout", "60s",
                    NULL);
    expect_exit(&result, 0);
    service_await(&bed, "beta", "kept", "running", 5000);
    testbed_soloctl(&bed, &result, "status", "--check", NULL);
    expect_exit(&result, 3);
    expect_contains(result_out(&result), "the last verification found something");
    testbed_recoveryd(&bed, &result, "verify", "--detailed-exitcode", NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "status", "--check", NULL);
    expect_exit(&result, 0);
}

/* The same deployd finds out by itself, and takes it back when it answers. */
Test(silence, a_supervisor_that_begins_to_hang_is_noticed)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    struct problem problem = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    service_deploy_sleeper(&bed, "beta", "api");
    service_deploy_sleeper(&bed, "beta", "killed");
    pid_t pid = service_pid(&bed, "beta", "api"), killed = service_pid(&bed, "beta", "killed");
    pid_t hanging = testbed_supervisor(&bed, "beta");
    cr_assert_eq(process_signal(hanging, SIGSTOP), 0);
    for (int i = 0; i < 1200 && result.exit_code != 3; i++) {
        sleep_ms(50);
        testbed_soloctl(&bed, &result, "status", "--check", NULL);
    }
    expect_alarm(&bed, "beta", hanging);
    service_deploy_sleeper(&bed, "acme", "other");
    enum status status = service_try_deploy(
        &bed, service_spec(&bed, "beta", "api", "sleeper", "again", NULL), NULL, &problem);
    expect_refused(status, STATUS_UNAVAILABLE, &problem, "tenant");
    status =
        testbed_call(&bed, "deployd", "service.kill",
                     json_pack("{s:s, s:s}", "tenant", "beta", "name", "killed"), NULL, &problem);
    expect_refused(status, STATUS_UNKNOWN, &problem, NULL);
    expect_contains(problem.message, "the kill is recorded");

    cr_assert_eq(process_signal(hanging, SIGCONT), 0);
    cr_assert(process_wait_gone(killed, 60000), "the kill is carried out when it answers");
    for (int i = 0; i < 600 && result.exit_code != 0; i++) { /* told to deployd after that */
        sleep_ms(50);
        testbed_soloctl(&bed, &result, "status", "--check", NULL);
    }
    expect_exit(&result, 0);
    cr_assert_eq(service_pid(&bed, "beta", "api"), pid);
    cr_assert_eq(testbed_supervisor(&bed, "beta"), hanging);
}

/* Down or not, what hangs is held: nothing would be replaced or started beside it. */
Test(silence, a_dry_run_without_daemons_takes_what_hangs_as_deployd_would)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    service_deploy_sleeper(&bed, "beta", "api");
    pid_t hanging = testbed_supervisor(&bed, "beta");
    log_settled_id(&bed);
    cr_assert_eq(process_signal(hanging, SIGSTOP), 0);
    testbed_kill_solod(&bed);
    testbed_recoveryd(&bed, &result, "--dry-run", "--all", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "0 to start, 0 to replace, 0 to stop, 2 to keep");
    cr_assert_eq(process_signal(hanging, SIGCONT), 0);
    testbed_start(&bed);
    service_await(&bed, "beta", "api", "running", 5000);
}
