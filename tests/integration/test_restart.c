/* What happens to a service that ends by itself: restart, delay, parking, and the way out. */
#include <signal.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(restart, .timeout = 120);

static json_t *with_restart(json_t *spec, const char *policy, const char *initial, const char *max,
                            int max_restarts)
{
    json_object_set_new(spec, "restart",
                        json_pack("{s:s, s:s, s:s, s:i, s:s}", "policy", policy, "initial", initial,
                                  "max", max, "max_restarts", max_restarts, "window", "60s"));
    return spec;
}

Test(restart, a_service_that_was_killed_from_outside_runs_again)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t generation =
        service_deploy(&bed, with_restart(service_spec(&bed, "acme", "api", "sleeper", NULL),
                                          "always", "50ms", "1s", 5));
    pid_t old = service_pid(&bed, "acme", "api");
    process_signal(old, SIGKILL);
    pid_t new = service_await_new_pid(&bed, "acme", "api", old, 10000);
    cr_assert(process_is_alive(new));
    json_t *row = service_row_of(&bed, "acme", "api");
    expect_number(row, "generation", generation);
    expect_number(row, "restarts", 1);
    json_t *last_exit = json_array_get(json_object_get(row, "exits"), 0);
    expect_number(last_exit, "signal", SIGKILL);
    json_decref(row);
    event_await(&bed, generation, "service_crashed", "acme", "api", 5000);
    event_await(&bed, generation, "service_restarted", "acme", "api", 5000);
}

Test(restart, the_delay_is_kept_and_shown)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy(&bed, with_restart(service_spec(&bed, "acme", "api", "sleeper", NULL), "always",
                                      "5s", "10s", 5));
    pid_t old = service_pid(&bed, "acme", "api");
    uint64_t begin = clock_boottime_ns();
    process_signal(old, SIGKILL);
    service_await(&bed, "acme", "api", "backoff", 5000);
    json_t *row = service_row_of(&bed, "acme", "api");
    cr_assert_gt(strlen(text_in(row, "reason")), 0);
    expect_number(row, "pid", 0);
    json_decref(row);
    service_await_new_pid(&bed, "acme", "api", old, 20000);
    uint64_t took_ms = (clock_boottime_ns() - begin) / 1000000;
    cr_assert_geq(took_ms, 3000, "again after %lu ms", (unsigned long)took_ms);
}

Test(restart, a_crash_loop_is_parked_and_its_reason_kept)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "calm");
    pid_t calm = service_pid(&bed, "acme", "calm");
    uint64_t generation =
        service_deploy(&bed, with_restart(service_spec(&bed, "acme", "loop", "crasher", NULL),
                                          "always", "10ms", "20ms", 3));
    service_await(&bed, "acme", "loop", "parked", 20000);
    json_t *row = service_row_of(&bed, "acme", "loop");
    json_t *last_exit = json_array_get(json_object_get(row, "exits"), 0);
    expect_number(last_exit, "signal", SIGSEGV);
    expect_contains(text_in(last_exit, "output"), "about to crash");
    cr_assert_leq(json_array_size(json_object_get(row, "exits")), EXITS_KEPT);
    json_decref(row);
    event_await(&bed, generation, "service_parked", "acme", "loop", 5000);
    /* transitions, not every exit */
    json_t *events = events_after(&bed, generation);
    cr_assert_leq(json_array_size(events), 10, "%zu events of one crash loop",
                  json_array_size(events));
    json_decref(events);
    cr_assert_eq(service_pid(&bed, "acme", "calm"), calm);

    /* held by its supervisor: nothing for a plan to do */
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(&bed, &result, "--dry-run", "-o", "json", NULL);
    expect_exit(&result, 0);
    json_t *plan = result_json(&result);
    expect_number(json_object_get(plan, "summary"), "keep", 2);
    json_decref(plan);

    /* a person helps: it tries again, and parks again */
    uint64_t last = log_settled_id(&bed);
    testbed_soloctl(&bed, &result, "restart", "acme/loop", NULL);
    event_await(&bed, last, "service_parked", "acme", "loop", 20000);

    /* a new run tries once more */
    testbed_kill_everything(&bed);
    testbed_recoveryd(&bed, &result, "--dry-run", "-o", "json", NULL);
    plan = result_json(&result);
    expect_number(json_object_get(plan, "summary"), "start", 2);
    json_decref(plan);
    last = 0;
    testbed_start(&bed);
    service_await(&bed, "acme", "loop", "parked", 20000);
}

static size_t events_of(const struct testbed *bed, uint64_t after, const char *subject)
{
    size_t i, count = 0;
    json_t *event, *events = events_after(bed, after);
    json_array_foreach(events, i, event) count += strcmp(text_in(event, "subject"), subject) == 0;
    json_decref(events);
    return count;
}

Test(restart, what_is_parked_stays_so_when_its_supervisor_dies)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "calm");
    uint64_t generation =
        service_deploy(&bed, with_restart(service_spec(&bed, "acme", "loop", "crasher", NULL),
                                          "always", "10ms", "20ms", 3));
    service_await(&bed, "acme", "loop", "parked", 20000);
    event_await(&bed, generation, "service_parked", "acme", "loop", 20000);
    uint64_t last = log_settled_id(&bed);
    pid_t calm = service_pid(&bed, "acme", "calm");
    json_t *before = service_row_of(&bed, "acme", "loop");
    process_signal(testbed_supervisor(&bed, "acme"), SIGKILL);
    service_await_new_pid(&bed, "acme", "calm", calm, 20000);
    service_await(&bed, "acme", "loop", "parked", 20000);
    json_t *after = service_row_of(&bed, "acme", "loop");
    static const char *const kept[] = { "reason", "restarts", "exits", "generation", "since" };
    for (size_t i = 0; i < COUNT_OF(kept); i++)
        cr_assert(json_equal(json_object_get(before, kept[i]), json_object_get(after, kept[i])),
                  "%s is another one", kept[i]);
    json_decref(before);
    json_decref(after);
    log_settled_id(&bed);
    cr_assert_eq(events_of(&bed, last, "service/acme/loop"), 0, "nobody started it");
    testbed_soloctl(&bed, &result, "restart", "acme/loop", NULL);
    event_await(&bed, last, "service_parked", "acme", "loop", 20000);
}

Test(restart, what_runs_is_not_ended_for_a_program_that_is_gone)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char path[4096];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    testbed_program(&bed, "gone", path);
    cr_assert_eq(symlink("/bin/sleep", path), 0);
    service_deploy(&bed, json_pack("{s:s, s:s, s:[s, s]}", "tenant", "acme", "name", "api", "argv",
                                   path, "1000"));
    pid_t pid = service_pid(&bed, "acme", "api");
    uint64_t last = log_settled_id(&bed);
    cr_assert_eq(unlink(path), 0);
    testbed_soloctl(&bed, &result, "restart", "acme/api", NULL);
    expect_exit(&result, 6);
    expect_contains(result_err(&result), "acme/api was not ended and runs on");
    expect_contains(result_err(&result), "`soloctl describe acme/api`");
    cr_assert_eq(service_pid(&bed, "acme", "api"), pid);
    cr_assert(process_is_alive(pid));
    cr_assert_eq(log_settled_id(&bed), last, "something was appended");
}

Test(restart, by_hand_gives_a_new_process_of_the_same_generation)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t generation = service_deploy_sleeper(&bed, "acme", "api");
    pid_t old = service_pid(&bed, "acme", "api");
    testbed_soloctl(&bed, &result, "restart", "acme/api", NULL);
    expect_exit(&result, 0);
    json_t *row = service_row_of(&bed, "acme", "api");
    expect_text(row, "state", "running");
    expect_number(row, "generation", generation);
    cr_assert_neq((pid_t)number_in(row, "pid"), old);
    json_decref(row);
    cr_assert_not(process_is_alive(old));
    testbed_soloctl(&bed, &result, "restart", "acme/never", NULL);
    expect_exit(&result, 4);
}
