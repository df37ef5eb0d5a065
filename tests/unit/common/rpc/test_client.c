/* The client beside the real server. */
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/unix_socket.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/rpc/client_scene.h"

Test(client, gets_replies_and_errors)
{
    FIXTURE(NULL);
    CLIENT(fixture);
    struct outcome good = { 0 }, bad = { 0 };
    client_ask(client, &method_read, 0, 0, &good);
    fixture->authorise_status = STATUS_PERMISSION_DENIED;
    RUN_UNTIL(fixture, good.count == 1);
    cr_expect_eq(good.status, STATUS_PERMISSION_DENIED);
    cr_expect_str_eq(good.problem.field, "token");
    fixture->authorise_status = STATUS_OK;
    client_ask(client, &method_read, 0, 0, &bad);
    RUN_UNTIL(fixture, bad.count == 1);
    cr_expect_eq(bad.status, STATUS_OK);
    cr_expect_eq(bad.number, 2);
    cr_expect_eq(rpc_client_pending(client), 0);
}

Test(client, pipelines_calls_over_one_connection)
{
    FIXTURE(NULL);
    CLIENT(fixture);
    struct outcome outcomes[1000] = { 0 };
    for (size_t i = 0; i < COUNT_OF(outcomes); i++)
        client_ask(client, &method_write, 0, 10000, &outcomes[i]);
    RUN_UNTIL(fixture, rpc_client_pending(client) == 0);
    for (size_t i = 0; i < COUNT_OF(outcomes); i++)
        cr_expect(outcomes[i].count == 1 && outcomes[i].number == 2);
    cr_expect_eq(rpc_server_stats(fixture->server).accepted, 1);
    cr_expect_lt(fixture->commits, 100);
}

Test(client, sends_request_id_and_token)
{
    FIXTURE(NULL);
    AUTO(rpc_client_close) struct rpc_client *client = NULL;
    const struct rpc_client_options options = { .path = fixture->path,
                                                .token = span_of_text("solo_secret") };
    cr_assert_eq(rpc_client_open(&client, fixture->loop, &options), STATUS_OK);
    struct outcome outcome = { 0 };
    struct uuid id = uuid_draw();
    const struct echo_request request = { .text = "x" };
    const struct rpc_call_options call_options = { .request_id = &id,
                                                   .on_reply = outcome_reply,
                                                   .context = &outcome };
    cr_assert_eq(rpc_client_call(client, &method_write, &request, &call_options, NULL), STATUS_OK);
    RUN_UNTIL(fixture, outcome.count == 1);
    cr_expect_str_eq(fixture->last_token, "solo_secret");
    cr_expect(fixture->last_has_id);
    cr_expect_eq(memcmp(&fixture->last_id, &id, sizeof id), 0);
}

Test(client, without_a_socket_a_call_fails_at_once)
{
    FIXTURE(NULL);
    AUTO(rpc_client_close)
    struct rpc_client *client = client_open_at(fixture->loop, "/tmp/there-is-none/socket");
    struct outcome outcome = { 0 };
    uint64_t start_ns = clock_boottime_ns();
    client_ask(client, &method_read, 0, 60000, &outcome);
    RUN_UNTIL(fixture, outcome.count == 1);
    cr_expect_eq(outcome.status, STATUS_UNAVAILABLE);
    cr_expect_not_null(strstr(outcome.problem.message, "/tmp/there-is-none/socket"));
    outcome = (struct outcome){ 0 };
    client_ask(client, &method_read, 0, 60000, &outcome); /* also while it waits to try again */
    RUN_UNTIL(fixture, outcome.count == 1);
    cr_expect_eq(outcome.status, STATUS_UNAVAILABLE);
    cr_expect_lt(clock_boottime_ns() - start_ns, UINT64_C(30000000000));
}

Test(client, a_call_that_may_be_repeated_waits_for_the_server_to_come)
{
    FIXTURE(NULL);
    rpc_server_close(&fixture->server);
    unlink(fixture->path);
    CLIENT(fixture);
    struct outcome outcome = { 0 }, late = { 0 };
    client_ask(client, &method_read, RPC_RETRY, 10000, &outcome);
    client_ask(client, &method_read, RPC_RETRY, 50, &late);
    run_for(fixture->loop, 120);
    cr_expect_eq(outcome.count, 0);
    cr_expect_eq(late.count, 1);
    cr_expect_eq(late.status, STATUS_UNAVAILABLE, "its deadline passed, nobody was there");
    int listener;
    cr_assert_eq(unix_socket_listen(fixture->path, 0600, &listener), STATUS_OK);
    cr_assert_eq(rpc_server_open(&fixture->server, fixture->loop, &fixture->service, listener),
                 STATUS_OK);
    RUN_UNTIL(fixture, outcome.count == 1);
    cr_expect_eq(outcome.status, STATUS_OK);
    cr_expect_eq(late.count, 1);
}

Test(client, past_the_deadline_a_late_answer_is_ignored)
{
    FIXTURE(NULL);
    CLIENT(fixture);
    struct outcome outcome = { 0 }, other = { 0 };
    client_ask(client, &method_defer, 0, 1000, &outcome);
    RUN_UNTIL(fixture, outcome.count == 1);
    cr_expect_eq(outcome.status, STATUS_DEADLINE_EXCEEDED);
    cr_expect_eq(fixture->deferred_count, 1);
    const struct echo_reply reply = { .number = 3 };
    fixture->deferred_count = 0;
    rpc_call_reply(fixture->deferred[0], &reply);
    client_ask(client, &method_read, 0, 60000, &other);
    RUN_UNTIL(fixture, other.count == 1);
    cr_expect_eq(other.status, STATUS_OK);
    cr_expect_eq(outcome.count, 1);
}

Test(client, a_cancelled_call_is_forgotten)
{
    FIXTURE(NULL);
    CLIENT(fixture);
    struct outcome outcome = { 0 }, other = { 0 };
    uint64_t handle = client_ask(client, &method_read, 0, 100, &outcome);
    client_ask(client, &method_read, 0, 0, &other);
    rpc_client_cancel(client, handle);
    rpc_client_cancel(client, handle); /* a second time is nothing */
    RUN_UNTIL(fixture, other.count == 1);
    run_for(fixture->loop, 150);
    cr_expect_eq(outcome.count, 0);
}

Test(client, may_be_closed_in_its_own_callback)
{
    FIXTURE(NULL);
    struct rpc_client *client = client_open_at(fixture->loop, fixture->path);
    struct outcome first = { .close_in_reply = &client }, second = { 0 };
    client_ask(client, &method_read, 0, 1000, &first);
    client_ask(client, &method_read, 0, 1000, &second);
    RUN_UNTIL(fixture, first.count == 1);
    cr_expect_null(client);
    run_for(fixture->loop, 20);
    cr_expect_eq(second.count, 0, "ended without calling back");
}

Test(client, may_be_closed_while_calls_fail)
{
    FIXTURE(NULL);
    struct rpc_client *client = client_open_at(fixture->loop, "/tmp/there-is-none/socket");
    struct outcome first = { .close_in_reply = &client }, second = { 0 };
    client_ask(client, &method_read, 0, 1000, &first);
    client_ask(client, &method_read, 0, 1000, &second);
    RUN_UNTIL(fixture, first.count == 1);
    run_for(fixture->loop, 20);
    cr_expect_eq(second.count, 0);
}

Test(client, may_call_from_its_callback)
{
    FIXTURE(NULL);
    CLIENT(fixture);
    struct outcome outcome = { .call_in_reply = &client };
    client_ask(client, &method_read, 0, 1000, &outcome);
    RUN_UNTIL(fixture, outcome.count == 3);
    cr_expect_eq(outcome.status, STATUS_OK);
    cr_expect_eq(rpc_client_pending(client), 0);
}

Test(client, takes_no_more_calls_than_its_bound)
{
    FIXTURE(NULL);
    CLIENT(fixture);
    struct outcome outcome = { 0 };
    const struct echo_request request = { .text = "x" };
    const struct rpc_call_options options = { .on_reply = outcome_reply, .context = &outcome };
    for (int i = 0; i < CLIENT_PENDING_MAX; i++)
        cr_assert_eq(rpc_client_call(client, &method_read, &request, &options, NULL), STATUS_OK);
    cr_expect_eq(rpc_client_call(client, &method_read, &request, &options, NULL),
                 STATUS_RESOURCE_EXHAUSTED);
    RUN_UNTIL(fixture, outcome.count == CLIENT_PENDING_MAX);
    cr_expect_eq(outcome.status, STATUS_OK);
}

Test(client, refuses_requests_that_the_server_would_cut_off)
{
    FIXTURE(NULL);
    CLIENT(fixture);
    char text[FRAME_BYTES_SMALL + 1];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    struct outcome outcome = { 0 };
    struct echo_request request = { .text = text };
    const struct rpc_call_options options = { .on_reply = outcome_reply, .context = &outcome };
    cr_expect_eq(rpc_client_call(client, &method_read, &request, &options, NULL),
                 STATUS_INVALID_ARGUMENT);
    cr_expect_eq(rpc_client_call(client, &method_big, &request, &options, NULL), STATUS_OK);
    uint8_t deep[FRAME_DEPTH_MAX + 1];
    memset(deep, 0x91, sizeof deep);
    deep[FRAME_DEPTH_MAX] = 0xc0;
    deep[0] = 0x81;
    deep[1] = 0xa0;
    request = (struct echo_request){ .text = "x", .map = { deep, sizeof deep } };
    cr_expect_eq(rpc_client_call(client, &method_read, &request, &options, NULL),
                 STATUS_INVALID_ARGUMENT);
    RUN_UNTIL(fixture, outcome.count == 1);
    cr_expect_eq(outcome.status, STATUS_OK);
    cr_expect_eq(rpc_client_pending(client), 0);
}

Test(client, receives_a_stream)
{
    FIXTURE(NULL);
    CLIENT(fixture);
    struct outcome outcome = { 0 };
    client_ask(client, &method_stream, 0, 0, &outcome);
    RUN_UNTIL(fixture, fixture->deferred_count == 1);
    cr_expect_eq(rpc_call_notify(fixture->deferred[0], "test.item", span_of("\x81\xa1n\x05", 4)),
                 STATUS_OK);
    cr_expect_eq(rpc_call_notify(fixture->deferred[0], "test.item", span_of("\x81\xa1n\x06", 4)),
                 STATUS_OK);
    RUN_UNTIL(fixture, outcome.notified == 2);
    cr_expect_eq(outcome.last_notified, 6);
    const struct echo_reply reply = { .number = 7 };
    fixture->deferred_count = 0;
    rpc_call_reply(fixture->deferred[0], &reply);
    RUN_UNTIL(fixture, outcome.count == 1);
    cr_expect_eq(outcome.number, 7);
}

Test(client, waits_for_an_answer_and_keeps_it)
{
    FIXTURE(NULL);
    CLIENT(fixture);
    AUTO(arena_close) struct arena arena = { .limit = 100000 };
    struct echo_reply reply;
    struct problem problem;
    const struct rpc_call_options options = { .timeout_ms = 5000 };
    struct echo_request request = { .text = "kept", .number = 3 };
    cr_assert_eq(
        rpc_client_call_wait(client, &method_read, &request, &options, &arena, &reply, &problem),
        STATUS_OK);
    struct echo_reply bytes;
    request.number = 1000;
    cr_assert_eq(
        rpc_client_call_wait(client, &method_large, &request, &options, &arena, &bytes, &problem),
        STATUS_OK);
    cr_expect_eq(bytes.bytes.size, 1000);
    cr_expect_eq(bytes.bytes.data[999], 0);
    cr_expect_str_eq(reply.text, "kept");
    cr_expect_eq(reply.number, 4);
    request.text = "refuse";
    cr_expect_eq(
        rpc_client_call_wait(client, &method_read, &request, &options, &arena, &reply, &problem),
        STATUS_FAILED_PRECONDITION);
    cr_expect_str_eq(problem.field, "text");
    cr_expect_str_eq(problem.message, "was refused");
    request.text = "x";
    request.number = 2000000;
    cr_expect_eq(
        rpc_client_call_wait(client, &method_read, &request, &options, &arena, &reply, &problem),
        STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(problem.field, "number");
}
