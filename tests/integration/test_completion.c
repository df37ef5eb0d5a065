/* When is a service done? Only when it ends in order and nobody asked it to. */
#include <signal.h>

#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(completion, .timeout = 120);

static json_t *spec_with_policy(const struct testbed *bed, const char *name, const char *policy,
                                const char *code, const char *delay)
{
    json_t *spec = service_spec(bed, "acme", name, "exiter", code, delay, NULL);
    json_object_set_new(spec, "restart",
                        json_pack("{s:s, s:s, s:s, s:i}", "policy", policy, "initial", "20ms",
                                  "max", "40ms", "max_restarts", 2));
    return spec;
}

static size_t wanted_in_plan(const struct testbed *bed)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(bed, &result, "--dry-run", "-o", "json", NULL);
    expect_exit(&result, 0);
    json_t *plan = result_json(&result);
    size_t count = json_array_size(json_object_get(plan, "actions"));
    json_t *keep = json_object_get(json_object_get(plan, "summary"), "keep");
    size_t starts = number_in(json_object_get(plan, "summary"), "start");
    size_t wanted = starts + (size_t)json_integer_value(keep);
    cr_assert_leq(wanted, count + (size_t)json_integer_value(keep));
    json_decref(plan);
    return wanted;
}

Test(completion, exit_0_completes_under_on_failure_and_is_not_recovered)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t generation =
        service_deploy(&bed, spec_with_policy(&bed, "job", "on-failure", "0", "100"));
    event_await(&bed, generation, "service_completed", "acme", "job", 10000);
    json_t *events = events_after(&bed, generation);
    json_t *completed = event_last(events, "service_completed", "acme", "job");
    expect_number(json_object_get(completed, "payload"), "generation", generation);
    json_decref(events);
    cr_assert_eq(wanted_in_plan(&bed), 0);
    testbed_kill_everything(&bed);
    cr_assert_eq(wanted_in_plan(&bed), 0);
    testbed_start(&bed);
    cr_assert_eq(service_pid(&bed, "acme", "job"), 0, "a completed job ran again");
}

Test(completion, another_code_is_a_failure_under_on_failure)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy(&bed, spec_with_policy(&bed, "job", "on-failure", "3", "50"));
    service_await(&bed, "acme", "job", "parked", 20000);
    json_t *row = service_row_of(&bed, "acme", "job");
    expect_number(json_array_get(json_object_get(row, "exits"), 0), "code", 3);
    json_decref(row);
    cr_assert_eq(wanted_in_plan(&bed), 1, "a failed job is not wanted any more");
}

Test(completion, any_code_completes_under_never)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t generation = service_deploy(&bed, spec_with_policy(&bed, "job", "never", "7", "50"));
    event_await(&bed, generation, "service_completed", "acme", "job", 10000);
    cr_assert_eq(wanted_in_plan(&bed), 0);
}

Test(completion, death_by_a_signal_under_never_is_failed_and_stays_wanted)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t generation =
        service_deploy(&bed, spec_with_policy(&bed, "job", "never", "0", "600000"));
    process_signal(service_pid(&bed, "acme", "job"), SIGKILL);
    service_await(&bed, "acme", "job", "failed", 10000);
    event_await(&bed, generation, "service_crashed", "acme", "job", 5000);
    cr_assert_eq(wanted_in_plan(&bed), 1);
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    json_t *row = service_row_of(&bed, "acme", "job");
    expect_text(row, "state", "running");
    expect_number(row, "generation", generation);
    json_decref(row);
}

Test(completion, always_runs_again_after_exit_0)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t generation = service_deploy(&bed, spec_with_policy(&bed, "job", "always", "0", "200"));
    pid_t first = service_pid(&bed, "acme", "job");
    event_await(&bed, generation, "service_restarted", "acme", "job", 10000);
    (void)first;
    json_t *events = events_after(&bed, generation);
    cr_assert_eq(events_count(events, "service_completed", "acme", "job"), 0);
    json_decref(events);
}

Test(completion, exit_0_on_the_sigterm_of_a_shutdown_is_none)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t polite =
        service_deploy(&bed, spec_with_policy(&bed, "polite", "on-failure", "0", "on-term"));
    uint64_t once = service_deploy(&bed, spec_with_policy(&bed, "once", "never", "0", "on-term"));
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_start(&bed);
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "service_completed", NULL, NULL), 0);
    json_decref(events);
    json_t *row = service_row_of(&bed, "acme", "polite");
    expect_text(row, "state", "running");
    expect_number(row, "generation", polite);
    json_decref(row);
    row = service_row_of(&bed, "acme", "once");
    expect_text(row, "state", "running");
    expect_number(row, "generation", once);
    json_decref(row);
}

Test(completion, exit_0_on_a_restart_or_a_redeploy_is_none)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy(&bed, spec_with_policy(&bed, "polite", "on-failure", "0", "on-term"));
    testbed_soloctl(&bed, &result, "restart", "acme/polite", NULL);
    expect_exit(&result, 0);
    uint64_t second =
        service_deploy(&bed, spec_with_policy(&bed, "polite", "on-failure", "0", "on-term"));
    json_t *row = service_row_of(&bed, "acme", "polite");
    expect_text(row, "state", "running");
    expect_number(row, "generation", second);
    json_decref(row);
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "service_completed", NULL, NULL), 0);
    json_decref(events);
}
