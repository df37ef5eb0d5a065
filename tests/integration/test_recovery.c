/* Recovery when it is switched off, cut short, repeated, or cannot succeed. */
#include <signal.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/uuid.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(recovery, .timeout = 240);

enum { MANY = 60 };

static void deploy_many(const struct testbed *bed)
{
    for (int i = 0; i < MANY; i++) {
        char tenant[16], name[16];
        snprintf(tenant, sizeof tenant, "t%d", i % 3);
        snprintf(name, sizeof name, "s%d", i);
        service_deploy_sleeper(bed, tenant, name);
    }
}

static size_t running_sleepers(const struct testbed *bed)
{
    char path[4096];
    pid_t pids[1];
    return process_find(testbed_program(bed, "sleeper", path), pids, 1);
}

static json_t *status_of(const struct testbed *bed)
{
    json_t *reply = testbed_ask(bed, "deployd", "system.status", NULL);
    json_t *status = json_incref(json_object_get(reply, "status"));
    json_decref(reply);
    return status;
}

Test(recovery, switched_off_starts_nothing_and_says_how_many_are_wanted)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "one");
    service_deploy_sleeper(&bed, "acme", "two");
    testbed_kill_everything(&bed);
    testbed_set(&bed, "SOLO_RECOVERY_ENABLED", "false");
    testbed_start(&bed);
    cr_assert_eq(running_sleepers(&bed), 0);
    json_t *status = status_of(&bed);
    expect_number(status, "wanted", 2);
    expect_number(status, "wanted_not_running", 2);
    json_decref(status);
    testbed_soloctl(&bed, &result, "status", NULL);
    expect_contains(result_out(&result), "2");
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "service_recovered", NULL, NULL), 0);
    json_decref(events);
    /* deploys work meanwhile, and touch only what they name */
    service_deploy_sleeper(&bed, "acme", "three");
    cr_assert_eq(running_sleepers(&bed), 1);
    /* and a person can ask for it */
    testbed_recoveryd(&bed, &result, NULL);
    expect_exit(&result, 0);
    cr_assert_eq(running_sleepers(&bed), 3);
}

Test(recovery, verification_can_be_switched_off)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "one");
    json_t *events = events_after(&bed, 0);
    cr_assert_geq(events_count(events, "verification_completed", NULL, NULL), 1);
    json_decref(events);
    testbed_kill_everything(&bed);
    testbed_set(&bed, "SOLO_VERIFY_RECOVERY", "false");
    uint64_t last = 0;
    testbed_start(&bed);
    events = events_after(&bed, 0);
    json_t *started = event_last(events, "system_started", NULL, NULL);
    last = number_in(started, "id");
    json_decref(events);
    events = events_after(&bed, last);
    cr_assert_eq(events_count(events, "recovery_completed", NULL, NULL), 1);
    cr_assert_eq(events_count(events, "verification_completed", NULL, NULL), 0);
    json_decref(events);
}

Test(recovery, a_second_run_takes_no_action)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "one");
    service_deploy_sleeper(&bed, "beta", "two");
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    pid_t one = service_pid(&bed, "acme", "one");
    uint64_t last = log_settled_id(&bed);
    testbed_recoveryd(&bed, &result, "-o", "json", NULL);
    expect_exit(&result, 0);
    json_t *report = result_json(&result);
    expect_text(report, "kind", "recovery_report");
    json_t *summary = json_object_get(report, "summary");
    expect_number(summary, "start", 0);
    expect_number(summary, "replace", 0);
    expect_number(summary, "stop", 0);
    expect_number(summary, "keep", 2);
    json_decref(report);
    cr_assert_eq(service_pid(&bed, "acme", "one"), one);
    json_t *events = events_after(&bed, last);
    size_t i;
    json_t *event;
    json_array_foreach(events, i, event)
    {
        const char *type = text_in(event, "type");
        cr_assert(strncmp(type, "recovery_", 9) == 0 || strncmp(type, "verification_", 13) == 0,
                  "a second run appended %s", type);
    }
    json_decref(events);
}

Test(recovery, past_its_time_limit_it_stops_and_a_second_run_resumes)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    deploy_many(&bed);
    testbed_kill_everything(&bed);
    testbed_set(&bed, "SOLO_RECOVERY_ENABLED", "false");
    testbed_set(&bed, "SOLO_RECOVERY_PARALLEL", "1");
    testbed_start(&bed);
    testbed_recoveryd(&bed, &result, "--timeout", "1ms", "-o", "json", NULL);
    expect_exit(&result, 7);
    json_t *report = result_json(&result);
    cr_assert_gt(json_integer_value(json_object_get(report, "skipped")), 0, "%s",
                 result_out(&result));
    json_decref(report);
    cr_assert_lt(running_sleepers(&bed), MANY);
    json_t *events = events_after(&bed, 0);
    cr_assert_gt(events_count(events, "recovery_completed", NULL, NULL), 0);
    json_decref(events);
    testbed_recoveryd(&bed, &result, "-o", "json", NULL);
    expect_exit(&result, 0);
    cr_assert_eq(running_sleepers(&bed), MANY, "%zu run", running_sleepers(&bed));
}

Test(recovery, the_limit_holds_at_start_and_solo_gets_ready_all_the_same)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    deploy_many(&bed);
    testbed_kill_everything(&bed);
    testbed_set(&bed, "SOLO_RECOVERY_TIMEOUT_MS", "1");
    testbed_set(&bed, "SOLO_RECOVERY_PARALLEL", "1");
    testbed_start(&bed);
    json_t *reply = testbed_ask(&bed, "solod", "daemon.list", NULL);
    cr_assert_eq(json_integer_value(json_object_get(reply, "recovery_exit_code")), 7);
    json_decref(reply);
    testbed_soloctl(&bed, &result, "status", "--check", NULL);
    expect_exit(&result, 3);
    expect_contains(result_out(&result),
                    "!          recovery ran out of time: run `recoveryd` again");
    testbed_recoveryd(&bed, &result, "--timeout", "60s", NULL);
    expect_exit(&result, 0);
    cr_assert_eq(running_sleepers(&bed), MANY);
    /* What the second run achieved stands for the first. */
    testbed_soloctl(&bed, &result, "status", "--check", NULL);
    expect_exit(&result, 0);
}

/* What ended without a word of its end was not cut by the time limit. */
Test(recovery, one_that_never_ended_is_said_to_be_unfinished)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    json_decref(testbed_ask(&bed, "deployd", "recovery.begin", json_pack("{s:{}}", "plan")));
    process_signal(testbed_daemon(&bed, "deployd"), SIGKILL);
    json_decref(status_of(&bed)); /* it is there again */
    testbed_soloctl(&bed, &result, "status", "--check", NULL);
    expect_contains(result_out(&result), "recovery did not finish");
    testbed_recoveryd(&bed, &result, NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "status", "--check", NULL);
    expect_exit(&result, 0);
}

static void act(const struct testbed *bed, const char *tenant, uint64_t generation,
                uint64_t recovery_id)
{
    json_decref(
        testbed_ask(bed, "deployd", "recovery.act",
                    json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "action", "start", "tenant", tenant,
                              "name", "api", "generation", (json_int_t)generation, "since",
                              (json_int_t)generation, "recovery_id", (json_int_t)recovery_id)));
}

/* The test plays a recoveryd that brings two of three back and is gone then, with deployd. Each has
 * its supervisor: to a new one deployd gives by itself what is due. */
Test(recovery, how_far_one_came_that_was_cut_off_is_counted_from_the_log)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t one = service_deploy_sleeper(&bed, "one", "api");
    uint64_t two = service_deploy_sleeper(&bed, "two", "api");
    service_deploy_sleeper(&bed, "three", "api");
    testbed_kill_everything(&bed);
    testbed_set(&bed, "SOLO_RECOVERY_ENABLED", "false");
    testbed_start(&bed);
    json_t *begun =
        testbed_ask(&bed, "deployd", "recovery.begin", json_pack("{s:{s:i}}", "plan", "start", 3));
    uint64_t id = number_in(begun, "event_id");
    json_decref(begun);
    act(&bed, "one", one, id);
    act(&bed, "two", two, id);
    json_t *status = status_of(&bed);
    expect_number(json_object_get(status, "recovery"), "done", 2);
    json_decref(status);
    process_signal(testbed_daemon(&bed, "deployd"), SIGKILL);
    status = status_of(&bed);
    expect_text(json_object_get(status, "recovery"), "state", "cut");
    expect_number(json_object_get(status, "recovery"), "done", 2);
    expect_number(json_object_get(status, "recovery"), "total", 3);
    json_decref(status);
    testbed_recoveryd(&bed, &result, "--dry-run", "-o", "json", NULL);
    json_t *plan = result_json(&result);
    expect_number(json_object_get(plan, "before"), "event", id);
    expect_number(json_object_get(plan, "before"), "done", 2);
    json_decref(plan);
    testbed_recoveryd(&bed, &result, NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "2 of its 3 actions were done");
    testbed_recoveryd(&bed, &result, "log", "--type", "recovery_started", NULL);
    expect_contains(result_out(&result), "\"cut_done\": 2");
    testbed_recoveryd(&bed, &result, NULL);
    expect_lacks(result_out(&result), "actions were done");
}

/* Three of them, as solod starts them: deployd is not left waiting for what will not come. */
Test(recovery, a_recoveryd_that_is_gone_leaves_the_rest_to_deployd)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    testbed_kill_everything(&bed);
    testbed_set(&bed, "SOLO_FAULT", "recoveryd.after_begin");
    testbed_start(&bed);
    json_t *events = events_after(&bed, 0), *status = NULL;
    cr_assert_eq(events_count(events, "recovery_started", NULL, NULL), 3 + 1);
    json_decref(events);
    for (int waited = 0;; waited += 20) {
        status = status_of(&bed);
        if (strcmp(text_in(json_object_get(status, "recovery"), "state"), "cut") == 0)
            break;
        json_decref(status);
        cr_assert_lt(waited, 20000, "the recovery is said to run, and nobody runs it");
        sleep_ms(20);
    }
    expect_text(status, "state", "ready");
    json_decref(status);
    testbed_soloctl(&bed, &result, "status", NULL);
    expect_contains(result_out(&result), "run `recoveryd`");
    /* The next look at what is due: here the one that a new supervisor brings. */
    pid_t supervisor = testbed_supervisor(&bed, "acme");
    if (supervisor != 0) {
        process_signal(supervisor, SIGKILL);
        testbed_await_new_supervisor(&bed, "acme", supervisor);
    }
    service_await(&bed, "acme", "api", "running", 60000);
}

Test(recovery, cut_off_at_any_moment_and_run_again_it_ends_in_the_same_state)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    deploy_many(&bed);
    json_t *before = service_rows(&bed);
    testbed_set(&bed, "SOLO_RECOVERY_ENABLED", "false");
    char program[4200];
    snprintf(program, sizeof program, "%s/recoveryd", bed.bin);
    static const int moments_ms[] = { 1, 5, 15, 40, 100, 250 };
    for (size_t i = 0; i < COUNT_OF(moments_ms); i++) {
        testbed_kill_everything(&bed);
        testbed_start(&bed);
        const char *const argv[] = { program, "--data", bed.data, "--run", bed.run, NULL };
        struct command command = { .argv = argv, .environment = testbed_environment(&bed) };
        pid_t pid = command_start(&command, bed.log);
        sleep_ms(moments_ms[i]);
        process_signal(pid, SIGKILL);
        command_wait(pid, -1);
        testbed_recoveryd(&bed, &result, NULL);
        expect_exit(&result, 0);
        cr_assert_eq(running_sleepers(&bed), MANY, "cut off after %d ms: %zu run", moments_ms[i],
                     running_sleepers(&bed));
    }
    json_t *after = service_rows(&bed);
    cr_assert_eq(json_array_size(after), json_array_size(before));
    for (size_t i = 0; i < json_array_size(before); i++) {
        json_t *old = json_array_get(before, i), *new = json_array_get(after, i);
        expect_text(new, "name", text_in(old, "name"));
        expect_number(new, "generation", number_in(old, "generation"));
        expect_text(new, "spec_hash", text_in(old, "spec_hash"));
        expect_text(new, "state", "running");
    }
    json_decref(before);
    json_decref(after);
    testbed_recoveryd(&bed, &result, "verify", "--full", NULL);
    expect_exit(&result, 0);
}

Test(recovery, one_that_cannot_start_does_not_stop_the_others)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    char sleeper[4096], moved[4096];
    testbed_program(&bed, "sleeper", sleeper);
    testbed_program(&bed, "sleeper-that-moves", moved);
    cr_assert_eq(link(sleeper, moved), 0);
    uint64_t lost = service_deploy(
        &bed, json_pack("{s:s, s:s, s:[s]}", "tenant", "acme", "name", "lost", "argv", moved));
    char folder[4096];
    cr_assert_eq(path_join(folder, bed.dir, "work"), STATUS_OK);
    cr_assert_eq(directory_make(folder, 0755), STATUS_OK);
    service_deploy(&bed, json_pack("{s:s, s:s, s:[s,s], s:s}", "tenant", "acme", "name", "homeless",
                                   "argv", sleeper, "homeless", "working_dir", folder));
    service_deploy_sleeper(&bed, "acme", "found");
    testbed_kill_everything(&bed);
    cr_assert_eq(unlink(moved), 0);
    cr_assert_eq(rmdir(folder), 0);
    testbed_recoveryd(&bed, &result, "--dry-run", "-o", "json", "--detailed-exitcode", NULL);
    expect_exit(&result, 3);
    json_t *plan = result_json(&result);
    expect_number(json_object_get(plan, "summary"), "cannot_recover", 2);
    expect_number(json_object_get(plan, "summary"), "start", 1);
    cr_assert(json_is_true(json_object_get(plan, "needs_person")));
    json_t *first = json_array_get(json_object_get(plan, "actions"), 0);
    expect_text(first, "action", "cannot_recover");
    expect_text(first, "service", "homeless");
    expect_text(first, "code", "working_dir_missing");
    expect_contains(text_in(first, "reason"), folder);
    json_t *second = json_array_get(json_object_get(plan, "actions"), 1);
    expect_text(second, "action", "cannot_recover");
    expect_text(second, "code", "program_missing");
    expect_contains(text_in(second, "reason"), "sleeper-that-moves");
    json_decref(plan);

    testbed_start(&bed);
    service_await(&bed, "acme", "found", "running", 5000);
    cr_assert_eq(service_pid(&bed, "acme", "lost"), 0);
    json_t *events = events_after(&bed, lost);
    json_t *completed = event_last(events, "recovery_completed", NULL, NULL);
    expect_number(json_object_get(json_object_get(completed, "payload"), "report"), "failed", 2);
    json_decref(events);
    json_t *waiting = service_row_of(&bed, "acme", "lost");
    cr_assert_str_neq(text_in(waiting, "state"), "running");
    cr_assert_gt(strlen(text_in(waiting, "reason")), 0, "nobody says why it does not run");
    json_decref(waiting);

    cr_assert_eq(link(sleeper, moved), 0);
    cr_assert_eq(directory_make(folder, 0755), STATUS_OK);
    testbed_recoveryd(&bed, &result, NULL);
    expect_exit(&result, 0);
    service_await(&bed, "acme", "homeless", "running", 5000);
    json_t *row = service_row_of(&bed, "acme", "lost");
    expect_text(row, "state", "running");
    expect_number(row, "generation", lost);
    json_decref(row);
}

Test(recovery, deploys_and_kills_during_recovery_are_safe)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    deploy_many(&bed);
    testbed_kill_everything(&bed);
    testbed_launch(&bed, NULL);
    char path[4096];
    testbed_socket(&bed, "deployd", path);
    /* as early as deployd answers at all */
    struct problem problem = { 0 };
    enum status status = STATUS_UNAVAILABLE;
    for (int i = 0; i < 60000 && status != STATUS_OK; i++) {
        status =
            testbed_call(&bed, "deployd", "service.kill",
                         json_pack("{s:s, s:s}", "tenant", "t2", "name", "s59"), NULL, &problem);
        if (status != STATUS_OK)
            sleep_ms(1);
    }
    cr_assert_eq(status, STATUS_OK, "%s", problem.message);
    uint64_t generation =
        service_deploy(&bed, service_spec(&bed, "t1", "s58", "sleeper", "new", NULL));
    cr_assert(testbed_wait_ready(&bed, 60000));
    json_t *row = service_row_of(&bed, "t2", "s59");
    cr_assert(row == NULL || number_in(row, "pid") == 0, "recovery brought a killed service back");
    json_decref(row);
    row = service_row_of(&bed, "t1", "s58");
    expect_text(row, "state", "running");
    expect_number(row, "generation", generation);
    json_decref(row);
    cr_assert_eq(running_sleepers(&bed), MANY - 1, "%zu run", running_sleepers(&bed));
}

static json_t *recovery_status(const struct testbed *bed)
{
    json_t *reply = testbed_ask(bed, "deployd", "system.status", json_object());
    json_t *recovery = json_incref(json_object_get(json_object_get(reply, "status"), "recovery"));
    json_decref(reply);
    return recovery;
}

/* What a recoveryd whose time ran out says at its end; lost answers are asked for again. */
static json_t *end_of_recovery(uint64_t recovery_id, const char *request_id)
{
    return json_pack("{s:{s:s, s:i, s:i, s:s}, s:{s:i, s:i}, s:I, s:s}", "report", "state", "cut",
                     "done", 3, "total", 8, "exit_hint", "run it again", "verification", "checked",
                     8, "found", 0, "recovery_id", (json_int_t)recovery_id, "request_id",
                     request_id);
}

Test(recovery, its_end_is_recorded_once_and_stays_true_over_a_restart_of_deployd)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    char id[UUID_TEXT_BYTES];
    struct uuid uuid = uuid_draw();
    uuid_text(id, &uuid);
    json_t *begun = testbed_ask(&bed, "deployd", "recovery.begin", json_pack("{s:{}}", "plan"));
    uint64_t begin = number_in(begun, "event_id");
    json_t *first = testbed_ask(&bed, "deployd", "recovery.end", end_of_recovery(begin, id));
    json_t *again = testbed_ask(&bed, "deployd", "recovery.end", end_of_recovery(begin, id));
    expect_number(again, "event_id", number_in(first, "event_id"));
    json_t *events = events_after(&bed, begin);
    cr_assert_eq(events_count(events, "recovery_completed", NULL, NULL), 1);
    cr_assert_eq(events_count(events, "verification_completed", NULL, NULL), 1);
    json_decref(events);
    json_decref(first);
    json_decref(again);
    json_decref(begun);

    for (int life = 0; life < 2; life++) {
        json_t *recovery = recovery_status(&bed);
        expect_text(recovery, "state", "cut");
        expect_number(recovery, "done", 3);
        expect_number(recovery, "total", 8);
        expect_text(recovery, "exit_hint", "run it again");
        expect_number(recovery, "event_id", begin);
        json_decref(recovery);
        if (life == 0)
            process_signal(testbed_daemon(&bed, "deployd"), SIGKILL);
    }
}
