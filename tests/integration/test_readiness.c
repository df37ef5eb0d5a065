/* A generation that becomes ready, and one that does not: in the answer, in the log, in what runs.
 */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(readiness, .timeout = 120);

/* A spec of the announcer with these actions, ready by notify within `timeout`. */
static json_t *announcer(const struct testbed *bed, const char *timeout, const char *first,
                         const char *second)
{
    json_t *spec = service_spec(bed, "acme", "api", "announcer", first, second, NULL);
    json_object_set_new(spec, "ready", json_pack("{s:s, s:s}", "by", "notify", "timeout", timeout));
    json_object_set_new(spec, "stop", json_pack("{s:s}", "timeout", "1s"));
    return spec;
}

static enum status deploy_and_wait(const struct testbed *bed, json_t *spec, json_t **reply,
                                   struct problem *problem)
{
    return testbed_call(bed, "deployd", "service.deploy",
                        json_pack("{s:o, s:b}", "spec", spec, "wait", 1), reply, problem);
}

static void as_everybody(void (*test)(struct testbed *bed))
{
    for (unsigned as_user = 0; as_user < (geteuid() == 0 ? 2u : 1u); as_user++) {
        AUTO(testbed_close) struct testbed bed = { 0 };
        testbed_open(&bed, as_user == 1 ? TESTBED_AS_USER : 0);
        testbed_start(&bed);
        test(&bed);
    }
}

static void falls_back_with_wait(struct testbed *bed)
{
    uint64_t first = service_deploy(bed, announcer(bed, "60s", "notify:READY=1", NULL));
    service_await(bed, "acme", "api", "running", 5000);
    struct problem problem = { 0 };
    enum status status = deploy_and_wait(
        bed, announcer(bed, "3s", "print:cannot open the database", NULL), NULL, &problem);
    expect_refused(status, STATUS_FAILED_PRECONDITION, &problem, NULL);
    expect_contains(problem.message, "did not become ready: was not ready within 3s");
    expect_contains(problem.message, "was started again");
    expect_contains(problem.message, "cannot open the database");
    json_t *events = events_after(bed, 0);
    json_t *failed = event_last(events, "service_deployment_failed", "acme", "api");
    cr_assert_not_null(failed);
    const json_t *payload = json_object_get(failed, "payload");
    expect_number(payload, "previous", first);
    expect_text(payload, "code", "not_ready");
    expect_contains(text_in(payload, "reason"), "was not ready within 3s");
    expect_lacks(text_in(payload, "reason"), "cannot open");
    json_decref(events);
    service_await(bed, "acme", "api", "running", 5000);
    json_t *row = service_row_of(bed, "acme", "api");
    expect_number(row, "generation", first);
    json_decref(row);
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(bed, &result, "describe", "acme/api", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "its newer generation failed");
    expect_contains(result_out(&result), "was not ready within 3s");
}

Test(readiness, a_deploy_that_waits_is_told_that_it_fell_back)
{
    as_everybody(falls_back_with_wait);
}

static void falls_back_without_wait(struct testbed *bed)
{
    uint64_t first = service_deploy_sleeper(bed, "acme", "api");
    uint64_t second = service_deploy(bed, announcer(bed, "3s", "notify:STATUS=thinking", NULL));
    json_t *row = service_row_of(bed, "acme", "api");
    expect_text(row, "state", "starting");
    expect_number(row, "generation", second);
    json_decref(row);
    event_await(bed, second, "service_deployment_failed", "acme", "api", 10000);
    service_await(bed, "acme", "api", "running", 5000);
    row = service_row_of(bed, "acme", "api");
    expect_number(row, "generation", first);
    json_decref(row);
}

Test(readiness, a_deploy_that_does_not_wait_falls_back_afterwards)
{
    as_everybody(falls_back_without_wait);
}

static const char *failure_code(const json_t *events, uint64_t generation, size_t *count)
{
    const char *code = "";
    size_t i;
    json_t *event;
    *count = 0;
    json_array_foreach(events, i, event)
    {
        const json_t *payload = json_object_get(event, "payload");
        if (strcmp(text_in(event, "type"), "service_deployment_failed") != 0 ||
            number_in(payload, "generation") != generation)
            continue;
        code = text_in(payload, "code");
        ++*count;
    }
    return code;
}

static void expect_failed_once(const json_t *events, uint64_t generation, const char *code)
{
    size_t count;
    cr_assert_str_eq(failure_code(events, generation, &count), code);
    cr_assert_eq(count, 1, "generation %llu: %zu failures", (unsigned long long)generation, count);
}

/* However many deploys came since; and it is not started in between. */
static void hasty_deploys_fall_back(struct testbed *bed)
{
    uint64_t ready = service_deploy_sleeper(bed, "acme", "api");
    uint64_t second = service_deploy(bed, announcer(bed, "60s", "sleep:1", NULL));
    uint64_t third = service_deploy(bed, announcer(bed, "60s", "sleep:2", NULL));
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(bed, &result, "describe", "acme/api", NULL);
    expect_contains(result_out(&result), "code=replaced");
    uint64_t last = service_deploy(bed, announcer(bed, "400ms", "sleep:3", NULL));
    event_await(bed, last, "service_deployment_failed", "acme", "api", 20000);
    service_await(bed, "acme", "api", "running", 20000);
    json_t *row = service_row_of(bed, "acme", "api");
    expect_number(row, "generation", ready);
    json_decref(row);
    event_await(bed, last, "service_started", "acme", "api", 60000);
    log_settled_id(bed);
    json_t *events = events_after(bed, ready);
    expect_failed_once(events, second, "replaced");
    expect_failed_once(events, third, "replaced");
    expect_failed_once(events, last, "not_ready");
    cr_assert_eq(events_count(events, "service_started", "acme", "api"), 2);
    json_decref(events);
}

Test(readiness, hasty_deploys_fall_back_to_what_was_ready)
{
    as_everybody(hasty_deploys_fall_back);
}

Test(readiness, hasty_deploys_fall_back_to_what_was_ready_after_a_crash)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t ready = service_deploy_sleeper(&bed, "acme", "api");
    uint64_t second = service_deploy(&bed, announcer(&bed, "60s", "sleep:1", NULL));
    uint64_t last = service_deploy(&bed, announcer(&bed, "2s", "sleep:2", NULL));
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    event_await(&bed, last, "service_deployment_failed", "acme", "api", 20000);
    service_await(&bed, "acme", "api", "running", 20000);
    json_t *row = service_row_of(&bed, "acme", "api");
    expect_number(row, "generation", ready);
    json_decref(row);
    json_t *events = events_after(&bed, 0);
    expect_failed_once(events, second, "replaced");
    expect_failed_once(events, last, "not_ready");
    json_decref(events);
}

Test(readiness, a_kill_of_what_is_on_trial_leaves_nothing_wanted)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    service_deploy(&bed, announcer(&bed, "60s", "sleep:1", NULL));
    service_deploy(&bed, announcer(&bed, "60s", "sleep:2", NULL));
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(&bed, &result, "kill", "acme/api", NULL);
    expect_exit(&result, 0);
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    cr_assert_null(service_row_of(&bed, "acme", "api"));
}

Test(readiness, a_first_deploy_that_is_never_ready_is_not_wanted)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    struct problem problem = { 0 };
    expect_refused(
        deploy_and_wait(&bed, announcer(&bed, "60s", "print:oops", "exit:3"), NULL, &problem),
        STATUS_FAILED_PRECONDITION, &problem, NULL);
    expect_contains(problem.message, "exited with code 3");
    expect_contains(problem.message, "oops");
    uint64_t second = service_deploy(&bed, announcer(&bed, "300ms", "sleep:1", NULL));
    event_await(&bed, second, "service_deployment_failed", "acme", "api", 10000);
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(&bed, &result, "wait", "acme/api", "--for", "gone", "--timeout", "60s", NULL);
    expect_exit(&result, 0);
    json_t *row = service_row_of(&bed, "acme", "api");
    expect_text(row, "state", "failed");
    json_decref(row);
}

Test(readiness, wait_answers_when_it_is_ready)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    AUTO(result_close) struct result result = { 0 };
    json_t *spec = announcer(&bed, "60s", "sleep:1", NULL);
    char command[4096], program[4096], go[4200];
    testbed_program(&bed, "announcer", program);
    snprintf(command, sizeof command,
             "until test -e go; do sleep 0.02; done; exec %.2000s notify:READY=1", program);
    json_object_set_new(spec, "argv", json_pack("[s, s, s]", "/bin/sh", "-c", command));
    service_deploy(&bed, spec);
    testbed_soloctl(&bed, &result, "wait", "acme/api", "--for", "ready", "--timeout", "100ms",
                    NULL);
    expect_exit(&result, 7);
    expect_contains(result_err(&result), "has not said READY=1");
    expect_contains(result_err(&result), "`soloctl describe acme/api` says why");
    result_close(&result);
    testbed_soloctl(&bed, &result, "-t", "acme", "wait", "api", "--for", "ready", "--timeout",
                    "1ms", NULL);
    expect_exit(&result, 7);
    expect_contains(result_err(&result), "`soloctl describe -t acme api` says why");
    snprintf(go, sizeof go, "%s/tenants/acme/api/go", bed.data);
    cr_assert_eq(close(open(go, O_CREAT | O_WRONLY | O_CLOEXEC, 0644)), 0);
    testbed_soloctl(&bed, &result, "wait", "acme/api", "--for", "ready", "--timeout", "60s", NULL);
    expect_exit(&result, 0);
    json_t *row = service_row_of(&bed, "acme", "api");
    expect_text(row, "state", "running");
    json_decref(row);
}

Test(readiness, deployd_may_die_while_it_is_awaited)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t first = service_deploy_sleeper(&bed, "acme", "api");
    uint64_t second = service_deploy(&bed, announcer(&bed, "1500ms", "sleep:1", NULL));
    process_signal(testbed_daemon(&bed, "deployd"), SIGKILL);
    event_await(&bed, second, "service_deployment_failed", "acme", "api", 20000);
    service_await(&bed, "acme", "api", "running", 5000);
    json_t *row = service_row_of(&bed, "acme", "api");
    expect_number(row, "generation", first);
    json_decref(row);
}

Test(readiness, what_was_ready_before_a_recovery_follows_its_policy_after_it)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    /* Ready once, and never again: it says so only when there is no file yet. */
    json_t *spec = announcer(&bed, "4s", "exit-unless:first", NULL);
    char command[4096], program[4096];
    testbed_program(&bed, "announcer", program);
    snprintf(command, sizeof command,
             "test -e once || { touch once; exec %.2000s notify:READY=1; }; exec %.2000s sleep:1",
             program, program);
    json_object_set_new(spec, "argv", json_pack("[s, s, s]", "/bin/sh", "-c", command));
    json_object_set_new(spec, "name", json_string("once"));
    service_deploy(&bed, spec);
    service_await(&bed, "acme", "once", "running", 5000);
    log_settled_id(&bed);
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "service_deployment_failed", NULL, NULL), 0);
    json_decref(events);
    /* The one that was ready before follows its policy, and is wanted. */
    for (int i = 0; i < 6000; i++) {
        json_t *row = service_row_of(&bed, "acme", "once");
        cr_assert_not_null(row);
        bool is_told = strstr(text_in(row, "reason"), "was not ready within 4s") != NULL;
        json_decref(row);
        if (is_told)
            break;
        cr_assert_lt(i, 5999);
        sleep_ms(10);
    }
}

Test(readiness, a_first_deploy_that_a_recovery_waits_for_in_vain_is_told)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "other");
    uint64_t first = service_deploy(&bed, announcer(&bed, "4s", "sleep:1", NULL));
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    json_t *events = events_after(&bed, first);
    json_t *failed = event_last(events, "service_recovery_failed", "acme", "api");
    cr_assert_not_null(failed, "the log does not tell");
    expect_text(json_object_get(failed, "payload"), "code", "not_ready");
    json_decref(events);
    service_await(&bed, "acme", "other", "running", 5000);
    json_t *row = service_row_of(&bed, "acme", "api");
    expect_text(row, "state", "failed");
    json_decref(row);
    /* It stays so, whoever looks. */
    process_signal(testbed_daemon(&bed, "deployd"), SIGKILL);
    service_await(&bed, "acme", "api", "failed", 10000);
    events = events_after(&bed, first);
    cr_assert_eq(events_count(events, "service_deployment_failed", "acme", "api"), 0);
    json_decref(events);
}
