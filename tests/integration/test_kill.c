/* The end of a service is the end of its whole tree, and it stays ended. */
#include <signal.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(kill, .timeout = 120);

/* Every process of a test program of this testbed. */
static size_t count_of(const struct testbed *bed, const char *program)
{
    char path[4096];
    pid_t pids[1];
    return process_find(testbed_program(bed, program, path), pids, 1);
}

/* Twice in a row, because a program that forks away is two processes for a moment. */
static void await_count(const struct testbed *bed, const char *program, size_t wanted)
{
    size_t count = 0;
    for (int i = 0, agreed = 0; i < 3000 && agreed < 2; i++) {
        sleep_ms(10);
        count = count_of(bed, program);
        agreed = count == wanted ? agreed + 1 : 0;
    }
    cr_assert_eq(count, wanted, "%zu processes of %s", count, program);
}

static void kill_tree(unsigned flags)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, flags);
    testbed_start(&bed);
    service_deploy(&bed, service_spec(&bed, "acme", "tree", "double_forker", "7", NULL));
    service_deploy_sleeper(&bed, "acme", "neighbour");
    pid_t neighbour = service_pid(&bed, "acme", "neighbour");
    await_count(&bed, "double_forker", 8);
    service_kill(&bed, "acme", "tree");
    cr_assert_eq(count_of(&bed, "double_forker"), 0, "%zu of the tree outlive the kill",
                 count_of(&bed, "double_forker"));
    cr_assert_eq(service_pid(&bed, "acme", "neighbour"), neighbour);
    cr_assert(process_is_alive(neighbour), "the neighbour was killed too");
}

Test(kill, the_whole_tree_is_gone_when_the_answer_comes)
{
    kill_tree(0);
}

Test(kill, the_whole_tree_is_gone_as_an_ordinary_user_too)
{
    kill_tree(TESTBED_AS_USER);
}

Test(kill, a_tree_that_dropped_its_mark_is_found_where_control_groups_exist)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "first"); /* its supervisor finds out what there is */
    json_t *reply = testbed_ask(&bed, "deployd", "system.status", NULL);
    const char *method = text_in(json_object_get(reply, "status"), "stop_method");
    cr_assert_not_null(method);
    bool has_groups = strcmp(method, "cgroup") == 0;
    json_decref(reply);
    if (!has_groups)
        cr_skip_test("no cgroup v2 directory can be made here");
    service_deploy(
        &bed, service_spec(&bed, "acme", "tree", "double_forker", "5", "clear-environment", NULL));
    await_count(&bed, "double_forker", 6);
    service_kill(&bed, "acme", "tree");
    cr_assert_eq(count_of(&bed, "double_forker"), 0);
}

Test(kill, the_tree_of_a_crashed_main_process_is_gone_before_it_runs_again)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    json_t *spec = service_spec(&bed, "acme", "tree", "double_forker", "4", NULL);
    json_object_set_new(spec, "restart",
                        json_pack("{s:s, s:s}", "policy", "always", "initial", "50ms"));
    service_deploy(&bed, spec);
    await_count(&bed, "double_forker", 5);
    pid_t old = service_pid(&bed, "acme", "tree");
    process_signal(old, SIGKILL);
    service_await_new_pid(&bed, "acme", "tree", old, 10000);
    await_count(&bed, "double_forker", 5);
    sleep_ms(200);
    cr_assert_eq(count_of(&bed, "double_forker"), 5, "%zu: two generations of the tree",
                 count_of(&bed, "double_forker"));
}

Test(kill, a_service_that_ignores_the_signal_is_killed_after_its_grace)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    json_t *spec = service_spec(&bed, "acme", "deaf", "stubborn", NULL);
    json_object_set_new(spec, "stop", json_pack("{s:s}", "timeout", "300ms"));
    service_deploy(&bed, spec);
    pid_t pid = service_pid(&bed, "acme", "deaf");
    uint64_t begin = clock_boottime_ns();
    service_kill(&bed, "acme", "deaf");
    uint64_t took_ms = (clock_boottime_ns() - begin) / 1000000;
    cr_assert_not(process_is_alive(pid));
    cr_assert_geq(took_ms, 290, "killed after %lu ms, before its grace was over",
                  (unsigned long)took_ms);
}

Test(kill, force_does_not_wait_for_the_grace)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    json_t *spec = service_spec(&bed, "acme", "deaf", "stubborn", NULL);
    json_object_set_new(spec, "stop", json_pack("{s:s}", "timeout", "60s"));
    service_deploy(&bed, spec);
    pid_t pid = service_pid(&bed, "acme", "deaf");
    testbed_soloctl(&bed, &result, "kill", "acme/deaf", "--force", NULL);
    expect_exit(&result, 0);
    cr_assert_lt(result.took_ms, 30000);
    cr_assert_not(process_is_alive(pid));
}

Test(kill, what_was_killed_stays_killed_and_a_deploy_brings_it_back)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "gone");
    service_deploy_sleeper(&bed, "acme", "back");
    service_deploy_sleeper(&bed, "acme", "stays");
    service_kill(&bed, "acme", "gone");
    service_kill(&bed, "acme", "back");
    uint64_t generation = service_deploy_sleeper(&bed, "acme", "back");
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    json_t *row = service_row_of(&bed, "acme", "gone");
    cr_assert(row == NULL || number_in(row, "pid") == 0, "a killed service came back");
    json_decref(row);
    row = service_row_of(&bed, "acme", "back");
    expect_text(row, "state", "running");
    expect_number(row, "generation", generation);
    json_decref(row);
    cr_assert_eq(count_of(&bed, "sleeper"), 2, "%zu run", count_of(&bed, "sleeper"));
}

Test(kill, of_what_does_not_exist_is_not_found_and_changes_nothing)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "once");
    service_kill(&bed, "acme", "once");
    uint64_t last = log_settled_id(&bed);
    testbed_soloctl(&bed, &result, "kill", "acme/never", NULL);
    expect_exit(&result, 4);
    expect_contains(result_err(&result), "acme/never");
    cr_assert_eq(result.out.size, 0, "%s", result_out(&result));
    testbed_soloctl(&bed, &result, "kill", "nobody/never", NULL);
    expect_exit(&result, 4);
    testbed_soloctl(&bed, &result, "kill", "acme/once", NULL);
    expect_exit(&result, 4);
    cr_assert_eq(log_last_id(&bed), last, "a refusal changed the log");
}
