/* Admission, replacement and fallback. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(deploy, .timeout = 120);

/* A file that is found and executable, and that no kernel can execute. */
static void broken_program(const struct testbed *bed, char path[4096])
{
    testbed_program(bed, "broken", path);
    cr_assert_eq(file_write(path,
                            span_of_text("\x7f"
                                         "ELF, but not really"),
                            0755),
                 STATUS_OK);
    cr_assert_eq(chmod(path, 0755), 0);
}

/* The kernel lets the parent go on a moment before the new program's environment can be read. */
static void read_environment(pid_t pid, struct buffer *environment)
{
    for (int i = 0; i < 30000; i++) {
        cr_assert(process_read(pid, "environ", environment), "pid %d", pid);
        if (environment->size > 0)
            return;
        sleep_ms(2);
    }
}

Test(deploy, a_redeploy_replaces_the_process_and_counts_up)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t first = service_deploy_sleeper(&bed, "acme", "api");
    pid_t old = service_pid(&bed, "acme", "api");
    cr_assert(process_is_alive(old));
    json_t *spec = service_spec(&bed, "acme", "api", "sleeper", "second", NULL);
    json_object_set_new(spec, "env", json_pack("{s:s}", "COLOUR", "blue"));
    uint64_t second = service_deploy(&bed, spec);
    cr_assert_gt(second, first);
    cr_assert_not(process_is_alive(old), "both generations run");
    pid_t new = service_pid(&bed, "acme", "api");
    AUTO(buffer_close) struct buffer environment = { .limit = 1 << 20 };
    read_environment(new, &environment);
    cr_assert_not_null(memmem(environment.data, environment.size, "COLOUR=blue", 12));
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "service_deployed", "acme", "api"), 2);
    cr_assert_eq(events_count(events, "service_deployment_failed", "acme", "api"), 0);
    json_decref(events);
}

Test(deploy, a_supervisor_has_the_settings_however_many_variables_there_are)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(buffer_close) struct buffer text = { .limit = 1 << 20 };
    pid_t pids[64];
    char name[16];
    testbed_open(&bed, 0);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "PADDING_%d", i);
        testbed_set(&bed, name, "x");
    }
    testbed_set(&bed, "SOLO_TENANT_PROCESSES_MAX", "1234");
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    size_t supervisors = 0, count = testbed_processes(&bed, pids, COUNT_OF(pids));
    for (size_t i = 0; i < count; i++) {
        if (!process_read(pids[i], "cmdline", &text) || text.size == 0 ||
            strstr((const char *)text.data, "tenantd") == NULL)
            continue;
        supervisors++;
        read_environment(pids[i], &text);
        cr_assert_not_null(memmem(text.data, text.size, "SOLO_TENANT_PROCESSES_MAX=1234", 30));
    }
    cr_assert_eq(supervisors, 1);
}

Test(deploy, a_service_gets_the_documented_environment_and_nothing_else)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_set(&bed, "LEAKED_FROM_PARENT", "yes");
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    AUTO(buffer_close) struct buffer environment = { .limit = 1 << 20 };
    read_environment(service_pid(&bed, "acme", "api"), &environment);
    static const char *const expected[] = { "PATH=/usr/local/bin:/usr/bin:/bin", "SOLO_TENANT=acme",
                                            "SOLO_SERVICE=api", "HOME=", "SOLO_INSTANCE=" };
    size_t count = 0, found = 0;
    for (size_t at = 0; at < environment.size; count++) {
        const char *entry = (const char *)environment.data + at;
        for (size_t i = 0; i < COUNT_OF(expected); i++)
            found += strncmp(entry, expected[i], strlen(expected[i])) == 0;
        expect_lacks(entry, "LEAKED");
        at += strlen(entry) + 1;
    }
    cr_assert_eq(found, COUNT_OF(expected), "%zu of %zu", found, COUNT_OF(expected));
    cr_assert_eq(count, COUNT_OF(expected), "%zu variables", count);
}

Test(deploy, a_program_that_cannot_be_executed_falls_back_to_the_generation_before)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    char path[4096];
    broken_program(&bed, path);
    uint64_t first = service_deploy_sleeper(&bed, "acme", "api");
    pid_t old = service_pid(&bed, "acme", "api");
    struct problem problem = { 0 };
    enum status status = service_try_deploy(
        &bed, json_pack("{s:s, s:s, s:[s]}", "tenant", "acme", "name", "api", "argv", path), NULL,
        &problem);
    cr_assert_neq(status, STATUS_OK, "a broken program was deployed");
    cr_assert_neq(problem.message[0], '\0');
    service_await(&bed, "acme", "api", "running", 5000);
    json_t *row = service_row_of(&bed, "acme", "api");
    expect_number(row, "generation", first);
    json_t *events = events_after(&bed, 0);
    json_t *failed = event_last(events, "service_deployment_failed", "acme", "api");
    cr_assert_not_null(failed, "the log does not say that it failed");
    expect_number(json_object_get(failed, "payload"), "previous", first);
    expect_number(row, "since", number_in(failed, "id"));
    json_decref(events);
    json_decref(row);
    cr_assert(process_is_alive(service_pid(&bed, "acme", "api")));
    (void)old;
    /* and it is the old one that comes back */
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    row = service_row_of(&bed, "acme", "api");
    expect_text(row, "state", "running");
    expect_number(row, "generation", first);
    json_decref(row);
}

Test(deploy, a_fallback_that_cannot_be_started_is_told_everywhere)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    char broken[4096], path[4096];
    broken_program(&bed, broken);
    testbed_program(&bed, "gone", path);
    cr_assert_eq(symlink("/bin/sleep", path), 0);
    uint64_t first = service_deploy(&bed, json_pack("{s:s, s:s, s:[s, s]}", "tenant", "acme",
                                                    "name", "api", "argv", path, "1000"));
    cr_assert_eq(unlink(path), 0);
    struct problem problem = { 0 };
    cr_assert_neq(service_try_deploy(&bed,
                                     json_pack("{s:s, s:s, s:[s]}", "tenant", "acme", "name", "api",
                                               "argv", broken),
                                     NULL, &problem),
                  STATUS_OK);
    expect_contains(problem.message, "is wanted again but could not be started");
    expect_contains(problem.message, "no such program");
    json_t *events = events_after(&bed, 0);
    json_t *fell_back = event_last(events, "service_deployment_failed", "acme", "api");
    json_t *failed = event_last(events, "service_recovery_failed", "acme", "api");
    cr_assert_not_null(fell_back);
    cr_assert_not_null(failed, "the log does not say that the fallback failed");
    expect_number(failed, "causation_id", number_in(fell_back, "id"));
    expect_number(json_object_get(failed, "payload"), "generation", first);
    expect_contains(text_in(json_object_get(failed, "payload"), "reason"), "no such program");
    json_decref(events);
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(&bed, &result, "describe", "acme/api", NULL);
    expect_contains(result_out(&result), "State         failed\n");
    expect_contains(result_out(&result),
                    "its newer generation failed, and it cannot be started again");
    expect_contains(result_out(&result), "no such program");
    expect_contains(result_out(&result), "service_recovery_failed");
    result_close(&result);
    cr_assert_eq(symlink("/bin/sleep", path), 0);
    testbed_soloctl(&bed, &result, "restart", "acme/api", NULL);
    expect_exit(&result, 0);
}

Test(deploy, a_first_deploy_that_fails_is_not_wanted)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    char path[4096];
    broken_program(&bed, path);
    struct problem problem = { 0 };
    cr_assert_neq(service_try_deploy(
                      &bed,
                      json_pack("{s:s, s:s, s:[s]}", "tenant", "acme", "name", "api", "argv", path),
                      NULL, &problem),
                  STATUS_OK);
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "service_deployed", "acme", "api"), 1);
    cr_assert_eq(events_count(events, "service_deployment_failed", "acme", "api"), 1);
    json_decref(events);
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(&bed, &result, "--dry-run", "-o", "json", NULL);
    json_t *plan = result_json(&result);
    cr_assert_eq(json_array_size(json_object_get(plan, "actions")), 0, "%s", result_out(&result));
    json_decref(plan);
}

/* It is shown as failed, and is not counted as wanted. */
static void expect_failed(const struct testbed *bed, bool has_exits)
{
    json_t *row = service_row_of(bed, "acme", "api");
    cr_assert_not_null(row, "nothing tells that it failed");
    expect_text(row, "state", "failed");
    expect_contains(text_in(row, "reason"), "exited with code 3");
    expect_number(row, "pid", 0);
    json_t *last_exit = json_array_get(json_object_get(row, "exits"), 0);
    cr_assert_eq(last_exit != NULL, has_exits);
    if (has_exits)
        expect_contains(text_in(last_exit, "output"), "oops");
    json_decref(row);
    json_t *status = testbed_ask(bed, "deployd", "system.status", NULL);
    expect_number(json_object_get(status, "status"), "wanted", 0);
    json_decref(status);
}

static json_t *oops(const struct testbed *bed)
{
    json_t *spec = service_spec(bed, "acme", "api", "announcer", "print:oops", "exit:3", NULL);
    json_object_set_new(spec, "ready", json_pack("{s:s, s:s}", "by", "notify", "timeout", "20s"));
    return spec;
}

static void kill_everything_and_start(struct testbed *bed)
{
    testbed_kill_everything(bed);
    testbed_start(bed);
}

Test(deploy, a_first_deploy_that_failed_is_shown_until_it_is_killed)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t generation = service_deploy(&bed, oops(&bed));
    event_await(&bed, generation, "service_deployment_failed", "acme", "api", 10000);
    service_await(&bed, "acme", "api", "failed", 5000);
    testbed_soloctl(&bed, &result, "wait", "acme/api", "--for", "gone", NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "wait", "acme/api", "--for", "running", NULL);
    expect_exit(&result, 6);
    expect_failed(&bed, true);
    process_signal(testbed_daemon(&bed, "deployd"), SIGKILL);
    expect_failed(&bed, true);
    testbed_kill_everything(&bed);
    char command[400];
    snprintf(command, sizeof command, "rm -r '%s/registry'", bed.run);
    cr_assert_eq(system(command), 0);
    testbed_start(&bed);
    expect_failed(&bed, false); /* the log knows the reason */
    testbed_recoveryd(&bed, &result, "verify", NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "describe", "acme/api", NULL);
    expect_contains(result_out(&result), "exited with code 3");
    testbed_soloctl(&bed, &result, "kill", "acme/api", NULL);
    expect_exit(&result, 0);
    cr_assert_null(service_row_of(&bed, "acme", "api"));
    kill_everything_and_start(&bed);
    cr_assert_null(service_row_of(&bed, "acme", "api"));
    /* and until it is deployed anew */
    generation = service_deploy(&bed, oops(&bed));
    event_await(&bed, generation, "service_deployment_failed", "acme", "api", 10000);
    service_deploy_sleeper(&bed, "acme", "api");
    kill_everything_and_start(&bed);
    service_await(&bed, "acme", "api", "running", 5000);
}

Test(deploy, a_program_that_does_not_exist_is_refused_and_the_old_one_keeps_running)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t first = service_deploy_sleeper(&bed, "acme", "api");
    pid_t pid = service_pid(&bed, "acme", "api");
    uint64_t last = log_settled_id(&bed);
    struct problem problem = { 0 };
    enum status status = service_try_deploy(
        &bed,
        json_pack("{s:s, s:s, s:[s]}", "tenant", "acme", "name", "api", "argv", "/no/such/program"),
        NULL, &problem);
    cr_assert_neq(status, STATUS_OK);
    cr_assert_str_eq(problem.field, "argv[0]", "%s", problem.message);
    expect_contains(problem.message, "/no/such/program");
    status = service_try_deploy(&bed,
                                json_pack("{s:s, s:s, s:s, s:s}", "tenant", "acme", "name", "api",
                                          "code", "print(1)", "interpreter", "python9.99"),
                                NULL, &problem);
    cr_assert_neq(status, STATUS_OK);
    expect_contains(problem.field, "interpreter");
    expect_contains(problem.message, "python9.99");
    cr_assert_eq(log_last_id(&bed), last, "a refusal changed the log");
    cr_assert_eq(service_pid(&bed, "acme", "api"), pid);
    json_t *row = service_row_of(&bed, "acme", "api");
    expect_number(row, "generation", first);
    json_decref(row);
}

Test(deploy, only_if_changed_leaves_an_equal_service_alone)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t first = service_deploy_sleeper(&bed, "acme", "api");
    pid_t pid = service_pid(&bed, "acme", "api");
    uint64_t last = log_settled_id(&bed);
    json_t *reply = testbed_ask(&bed, "deployd", "service.deploy",
                                json_pack("{s:o, s:b}", "spec",
                                          service_spec(&bed, "acme", "api", "sleeper", NULL),
                                          "only_if_changed", 1));
    cr_assert(json_is_true(json_object_get(reply, "unchanged")));
    expect_number(reply, "generation", first);
    json_decref(reply);
    cr_assert_eq(service_pid(&bed, "acme", "api"), pid);
    cr_assert_eq(log_last_id(&bed), last);
    reply = testbed_ask(&bed, "deployd", "service.deploy",
                        json_pack("{s:o, s:b}", "spec",
                                  service_spec(&bed, "acme", "api", "sleeper", "changed", NULL),
                                  "only_if_changed", 1));
    cr_assert_not(json_is_true(json_object_get(reply, "unchanged")));
    cr_assert_gt(number_in(reply, "generation"), first);
    json_decref(reply);
}

Test(deploy, if_event_protects_against_another_hand)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    pid_t pid = service_pid(&bed, "acme", "api");
    struct problem problem = { 0 };
    enum status status = testbed_call(
        &bed, "deployd", "service.deploy",
        json_pack("{s:o, s:i}", "spec", service_spec(&bed, "acme", "api", "sleeper", "x", NULL),
                  "if_event", 1),
        NULL, &problem);
    expect_refused(status, STATUS_ABORTED, &problem, NULL);
    cr_assert_eq(service_pid(&bed, "acme", "api"), pid);
}

Test(deploy, a_home_survives_redeploy_and_kill)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    json_t *spec = json_pack("{s:s, s:s, s:[s, s, s]}", "tenant", "acme", "name", "api", "argv",
                             "/bin/sh", "-c", "echo kept >> note; exec sleep 1000");
    service_deploy(&bed, json_incref(spec));
    char path[4096];
    snprintf(path, sizeof path, "%s/tenants/acme/api/note", bed.data);
    for (int i = 0; i < 6000 && access(path, F_OK) != 0; i++)
        sleep_ms(10);
    cr_assert_eq(access(path, F_OK), 0, "%s: %s", path, strerror(errno));
    service_kill(&bed, "acme", "api");
    cr_assert_eq(access(path, F_OK), 0);
    service_deploy(&bed, spec);
    AUTO(buffer_close) struct buffer note = { .limit = 4096 };
    for (int i = 0; i < 6000 && note.size < 10; i++) {
        buffer_clear(&note);
        cr_assert_eq(file_read(path, &note), STATUS_OK);
        sleep_ms(10);
    }
    cr_assert_eq(note.size, 10, "\"%.*s\"", (int)note.size, (const char *)note.data);
}

/* The second one waits while the first one fails, and must not be ended by what follows that. Over
 * one connection, so that they are begun in this order however busy deployd is. */
Test(deploy, a_failed_first_deploy_does_not_end_the_one_behind_it)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    char program[4096], path[4096];
    broken_program(&bed, program);
    testbed_socket(&bed, "deployd", path);
    json_t *params[] = {
        json_pack("{s:{s:s, s:s, s:[s]}}", "spec", "tenant", "acme", "name", "api", "argv",
                  program),
        json_pack("{s:o}", "spec", service_spec(&bed, "acme", "api", "sleeper", NULL)),
    };
    struct caller caller;
    AUTO(buffer_close) struct buffer frames = { .limit = 1 << 20 };
    for (size_t i = 0; i < COUNT_OF(params); i++) {
        caller_pack(&frames, i, "service.deploy", params[i]);
        json_decref(params[i]);
    }
    cr_assert_eq(caller_open(&caller, path), STATUS_OK);
    cr_assert(caller_send(&caller, buffer_span(&frames)));
    json_t *answers[COUNT_OF(params)] = { NULL };
    for (size_t i = 0; i < COUNT_OF(params); i++) {
        json_t *answer = caller_receive(&caller, 60000, NULL);
        cr_assert_not_null(answer);
        size_t number = (size_t)json_integer_value(json_array_get(answer, 1));
        cr_assert_lt(number, COUNT_OF(params));
        answers[number] = answer;
    }
    caller_close(&caller);
    cr_assert_not(json_is_null(json_array_get(answers[0], 2)), "a broken program was deployed");
    cr_assert(json_is_null(json_array_get(answers[1], 2)));
    pid_t pid = service_pid(&bed, "acme", "api");
    sleep_ms(500);
    service_await(&bed, "acme", "api", "running", 5000);
    cr_assert_eq(service_pid(&bed, "acme", "api"), pid, "it was ended after it was acknowledged");
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "service_stopped", "acme", "api"), 0);
    json_decref(events);
    json_decref(answers[0]);
    json_decref(answers[1]);
}
