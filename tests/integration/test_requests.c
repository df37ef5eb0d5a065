/* A repeated request has the one outcome; the same id with another body is a conflict. */
#include <signal.h>

#include "common/base/uuid.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(requests, .timeout = 120);

static json_t *deploy_params(const struct testbed *bed, const char *request_id, const char *extra)
{
    return json_pack("{s:o, s:s}", "spec", service_spec(bed, "acme", "api", "sleeper", extra, NULL),
                     "request_id", request_id);
}

Test(requests, a_repeated_deploy_gives_the_recorded_generation)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    char id[UUID_TEXT_BYTES];
    struct uuid uuid = uuid_draw();
    uuid_text(id, &uuid);
    json_t *first = testbed_ask(&bed, "deployd", "service.deploy", deploy_params(&bed, id, NULL));
    pid_t pid = service_pid(&bed, "acme", "api");
    json_t *again = testbed_ask(&bed, "deployd", "service.deploy", deploy_params(&bed, id, NULL));
    expect_number(again, "generation", number_in(first, "generation"));
    expect_number(again, "event_id", number_in(first, "event_id"));
    cr_assert_eq(service_pid(&bed, "acme", "api"), pid, "the repeat started it again");
    json_decref(again);

    struct problem problem = { 0 };
    enum status status = testbed_call(&bed, "deployd", "service.deploy",
                                      deploy_params(&bed, id, "other"), NULL, &problem);
    expect_refused(status, STATUS_ABORTED, &problem, NULL);
    cr_assert_eq(service_pid(&bed, "acme", "api"), pid);
    /* Another body is another request, also where it asks for the same spec. */
    json_t *waiting = deploy_params(&bed, id, NULL);
    json_object_set_new(waiting, "wait", json_true());
    problem = (struct problem){ 0 };
    status = testbed_call(&bed, "deployd", "service.deploy", waiting, NULL, &problem);
    expect_refused(status, STATUS_ABORTED, &problem, "request_id");
    cr_assert_eq(service_pid(&bed, "acme", "api"), pid);

    /* and after a crash of everything */
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    again = testbed_ask(&bed, "deployd", "service.deploy", deploy_params(&bed, id, NULL));
    expect_number(again, "generation", number_in(first, "generation"));
    json_decref(again);
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "service_deployed", "acme", "api"), 1);
    json_decref(events);
    json_decref(first);
}

/* It was acknowledged: that its program is gone since takes nothing back. */
Test(requests, a_repeated_deploy_that_cannot_start_any_more_stays_wanted)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    char id[UUID_TEXT_BYTES], sleeper[4096], moved[4096];
    struct uuid uuid = uuid_draw();
    uuid_text(id, &uuid);
    testbed_program(&bed, "sleeper", sleeper);
    snprintf(moved, sizeof moved, "%s.moved", sleeper);
    json_t *first = testbed_ask(&bed, "deployd", "service.deploy", deploy_params(&bed, id, NULL));
    cr_assert_eq(rename(sleeper, moved), 0);
    process_signal(testbed_supervisor(&bed, "acme"), SIGKILL);
    service_await(&bed, "acme", "api", "failed", 10000);
    json_t *again = testbed_ask(&bed, "deployd", "service.deploy", deploy_params(&bed, id, NULL));
    expect_number(again, "generation", number_in(first, "generation"));
    expect_text(again, "state", "failed");
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "service_deployment_failed", NULL, NULL), 0);
    service_await(&bed, "acme", "api", "failed", 1000);
    cr_assert_eq(rename(moved, sleeper), 0);
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    service_await(&bed, "acme", "api", "running", 10000);
    json_decref(events);
    json_decref(first);
    json_decref(again);
}

Test(requests, a_repeated_kill_does_not_kill_what_was_deployed_since)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    char id[UUID_TEXT_BYTES];
    struct uuid uuid = uuid_draw();
    uuid_text(id, &uuid);
    service_deploy_sleeper(&bed, "acme", "api");
    json_t *first = testbed_ask(
        &bed, "deployd", "service.kill",
        json_pack("{s:s, s:s, s:s}", "tenant", "acme", "name", "api", "request_id", id));
    service_deploy_sleeper(&bed, "acme", "api");
    pid_t pid = service_pid(&bed, "acme", "api");
    json_t *again = testbed_ask(
        &bed, "deployd", "service.kill",
        json_pack("{s:s, s:s, s:s}", "tenant", "acme", "name", "api", "request_id", id));
    expect_number(again, "event_id", number_in(first, "event_id"));
    cr_assert_eq(service_pid(&bed, "acme", "api"), pid);
    cr_assert(process_is_alive(pid), "an old kill reached a newer generation");
    struct problem problem = { 0 };
    enum status status = testbed_call(&bed, "deployd", "service.kill",
                                      json_pack("{s:s, s:s, s:b, s:s}", "tenant", "acme", "name",
                                                "api", "force", 1, "request_id", id),
                                      NULL, &problem);
    expect_refused(status, STATUS_ABORTED, &problem, "request_id");
    cr_assert_str_eq(problem.message, "was used before with another request: draw a new one");
    cr_assert(process_is_alive(pid));
    json_decref(first);
    json_decref(again);
}

static enum status restart(const struct testbed *bed, const char *name, const char *id,
                           struct problem *problem)
{
    json_t *reply = NULL;
    enum status status =
        testbed_call(bed, "deployd", "service.restart",
                     json_pack("{s:s, s:s, s:s}", "tenant", "acme", "name", name, "request_id", id),
                     &reply, problem);
    json_decref(reply);
    return status;
}

Test(requests, a_repeated_restart_does_not_restart_again)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    char id[UUID_TEXT_BYTES];
    struct uuid uuid = uuid_draw();
    struct problem problem = { 0 };
    uuid_text(id, &uuid);
    service_deploy_sleeper(&bed, "acme", "api");
    service_deploy_sleeper(&bed, "acme", "other");
    pid_t before = service_pid(&bed, "acme", "api"), other = service_pid(&bed, "acme", "other");
    cr_assert_eq(restart(&bed, "api", id, &problem), STATUS_OK, "%s", problem.message);
    pid_t after = service_pid(&bed, "acme", "api");
    cr_assert_neq(after, before);
    process_signal(testbed_daemon(&bed, "deployd"), SIGKILL);
    cr_assert_eq(restart(&bed, "api", id, &problem), STATUS_OK, "%s", problem.message);
    cr_assert_eq(service_pid(&bed, "acme", "api"), after, "the repeat restarted it");
    expect_refused(restart(&bed, "other", id, &problem), STATUS_ABORTED, &problem, NULL);
    cr_assert_eq(service_pid(&bed, "acme", "other"), other);

    testbed_kill_everything(&bed);
    testbed_start(&bed);
    after = service_pid(&bed, "acme", "api");
    cr_assert_eq(restart(&bed, "api", id, &problem), STATUS_OK, "%s", problem.message);
    cr_assert_eq(service_pid(&bed, "acme", "api"), after);
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "service_restart_requested", "acme", NULL), 1);
    cr_assert_eq(events_count(events, "service_restarted", "acme", NULL), 1);
    json_decref(events);
}

Test(requests, a_repeated_append_gives_the_recorded_number)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    char id[UUID_TEXT_BYTES];
    struct uuid uuid = uuid_draw();
    uuid_text(id, &uuid);
    json_t *first = testbed_ask(
        &bed, "eventd", "event.append",
        json_pack("{s:s, s:{s:i}, s:s}", "type", "app.test", "payload", "n", 1, "request_id", id));
    json_t *again = testbed_ask(
        &bed, "eventd", "event.append",
        json_pack("{s:s, s:{s:i}, s:s}", "type", "app.test", "payload", "n", 1, "request_id", id));
    expect_number(again, "event_id", number_in(first, "event_id"));
    cr_assert(json_is_true(json_object_get(again, "is_repeat")));
    struct problem problem = { 0 };
    enum status status = testbed_call(
        &bed, "eventd", "event.append",
        json_pack("{s:s, s:{s:i}, s:s}", "type", "app.test", "payload", "n", 2, "request_id", id),
        NULL, &problem);
    expect_refused(status, STATUS_ABORTED, &problem, NULL);
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "app.test", NULL, NULL), 1);
    json_decref(events);
    json_decref(first);
    json_decref(again);
}

Test(requests, two_at_once_with_one_id_are_one_deploy)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    char id[UUID_TEXT_BYTES], path[4096];
    struct uuid uuid = uuid_draw();
    uuid_text(id, &uuid);
    testbed_socket(&bed, "deployd", path);
    json_t *params = deploy_params(&bed, id, NULL);
    struct caller callers[4];
    AUTO(buffer_close) struct buffer frame = { .limit = 1 << 20 };
    caller_pack(&frame, 1, "service.deploy", params);
    for (size_t i = 0; i < COUNT_OF(callers); i++)
        cr_assert_eq(caller_open(&callers[i], path), STATUS_OK);
    for (size_t i = 0; i < COUNT_OF(callers); i++)
        cr_assert(caller_send(&callers[i], buffer_span(&frame)));
    uint64_t generation = 0;
    for (size_t i = 0; i < COUNT_OF(callers); i++) {
        json_t *answer = caller_receive(&callers[i], 30000, NULL);
        cr_assert_not_null(answer, "no answer for caller %zu", i);
        char *text = json_dumps(answer, 0);
        cr_assert(json_is_null(json_array_get(answer, 2)), "%s", text);
        free(text);
        uint64_t found = number_in(json_array_get(answer, 3), "generation");
        cr_assert(generation == 0 || found == generation);
        generation = found;
        json_decref(answer);
        caller_close(&callers[i]);
    }
    json_decref(params);
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "service_deployed", "acme", "api"), 1);
    json_decref(events);
}

Test(requests, an_id_that_is_older_than_the_table_keeps_is_refused)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t last = log_settled_id(&bed);
    struct problem problem = { 0 };
    /* the year 2020 */
    static const char old[] = "016f5e66-e800-7abc-8def-0123456789ab";
    enum status status = testbed_call(&bed, "deployd", "service.deploy",
                                      deploy_params(&bed, old, NULL), NULL, &problem);
    expect_refused(status, STATUS_INVALID_ARGUMENT, &problem, "request_id");
    status = testbed_call(&bed, "eventd", "event.append",
                          json_pack("{s:s, s:s}", "type", "app.test", "request_id", old), NULL,
                          &problem);
    expect_refused(status, STATUS_INVALID_ARGUMENT, &problem, "request_id");
    status = testbed_call(&bed, "eventd", "event.append",
                          json_pack("{s:s, s:s}", "type", "app.test", "request_id", "not-a-uuid"),
                          NULL, &problem);
    expect_refused(status, STATUS_INVALID_ARGUMENT, &problem, "request_id");
    cr_assert_eq(log_last_id(&bed), last);
}

Test(requests, the_command_line_repeats_with_request_id)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    char id[UUID_TEXT_BYTES], sleeper[4096];
    struct uuid uuid = uuid_draw();
    uuid_text(id, &uuid);
    testbed_program(&bed, "sleeper", sleeper);
    testbed_soloctl(&bed, &result, "--request-id", id, "-o", "json", "deploy", "acme/api", "--",
                    sleeper, NULL);
    expect_exit(&result, 0);
    json_t *first = result_json(&result);
    testbed_soloctl(&bed, &result, "--request-id", id, "-o", "json", "deploy", "acme/api", "--",
                    sleeper, NULL);
    expect_exit(&result, 0);
    json_t *again = result_json(&result);
    expect_number(again, "event_id", number_in(first, "event_id"));
    testbed_soloctl(&bed, &result, "--request-id", id, "deploy", "acme/api", "--", sleeper, "other",
                    NULL);
    expect_exit(&result, 6);
    json_decref(first);
    json_decref(again);
}
