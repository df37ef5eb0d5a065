/* The client beside the real server, and beside a listener whose every byte is written by hand. */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/unix_socket.h"
#include "common/wire/frame_scanner.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/rpc/fixture.h"

struct outcome {
    unsigned count, notified;
    enum status status;
    struct problem problem;
    uint64_t number, last_notified;
    struct rpc_client **close_in_reply, **call_in_reply;
    const struct method *next_method;
};

static void on_reply(void *context, enum status status, const struct problem *problem,
                     const void *reply)
{
    struct outcome *outcome = context;
    outcome->count++;
    outcome->status = status;
    cr_expect_eq(reply == NULL, status != STATUS_OK);
    cr_expect_eq(problem == NULL, status == STATUS_OK);
    if (problem != NULL)
        outcome->problem = *problem;
    if (reply != NULL)
        outcome->number = ((const struct echo_reply *)reply)->number;
    if (outcome->call_in_reply != NULL && outcome->count < 3) {
        const struct echo_request request = { .text = "again" };
        const struct rpc_call_options options = { .on_reply = on_reply, .context = outcome };
        cr_expect_eq(
            rpc_client_call(*outcome->call_in_reply, &method_read, &request, &options, NULL),
            STATUS_OK);
    }
    if (outcome->close_in_reply != NULL)
        rpc_client_close(outcome->close_in_reply);
}

static void on_notify(void *context, const char *method, struct span params)
{
    struct outcome *outcome = context;
    cr_expect_str_eq(method, "test.item");
    cr_expect_eq(outcome->count, 0, "before the reply");
    outcome->notified++;
    outcome->last_notified = map_u64(params, "n", 0);
}

static struct rpc_client *client_at(struct ev_loop *loop, const char *path)
{
    struct rpc_client *client = NULL;
    const struct rpc_client_options options = { .path = path };
    cr_assert_eq(rpc_client_open(&client, loop, &options), STATUS_OK);
    return client;
}
#define CLIENT(fixture)                                                                            \
    AUTO(rpc_client_close)                                                                         \
    struct rpc_client *client = client_at((fixture)->loop, (fixture)->path)

static uint64_t call(struct rpc_client *client, const struct method *method, unsigned flags,
                     uint64_t timeout_ms, struct outcome *outcome)
{
    uint64_t handle = 0;
    const struct echo_request request = { .text = "x", .number = 1 };
    const struct rpc_call_options options = {
        .flags = flags,
        .timeout_ms = timeout_ms,
        .on_reply = on_reply,
        .on_notify = on_notify,
        .context = outcome,
    };
    cr_assert_eq(rpc_client_call(client, method, &request, &options, &handle), STATUS_OK);
    cr_expect_eq(outcome->count, 0, "never from within rpc_client_call");
    return handle;
}

Test(client, gets_replies_and_errors)
{
    FIXTURE(NULL);
    CLIENT(fixture);
    struct outcome good = { 0 }, bad = { 0 };
    call(client, &method_read, 0, 0, &good);
    fixture->authorise_status = STATUS_PERMISSION_DENIED;
    RUN_UNTIL(fixture, good.count == 1);
    cr_expect_eq(good.status, STATUS_PERMISSION_DENIED);
    cr_expect_str_eq(good.problem.field, "token");
    fixture->authorise_status = STATUS_OK;
    call(client, &method_read, 0, 0, &bad);
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
        call(client, &method_write, 0, 10000, &outcomes[i]);
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
                                                   .on_reply = on_reply,
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
    struct rpc_client *client = client_at(fixture->loop, "/tmp/there-is-none/socket");
    struct outcome outcome = { 0 };
    uint64_t start_ns = clock_boottime_ns();
    call(client, &method_read, 0, 60000, &outcome);
    RUN_UNTIL(fixture, outcome.count == 1);
    cr_expect_eq(outcome.status, STATUS_UNAVAILABLE);
    cr_expect_not_null(strstr(outcome.problem.message, "/tmp/there-is-none/socket"));
    outcome = (struct outcome){ 0 };
    call(client, &method_read, 0, 60000, &outcome); /* also while it waits to try again */
    RUN_UNTIL(fixture, outcome.count == 1);
    cr_expect_eq(outcome.status, STATUS_UNAVAILABLE);
    cr_expect_lt(clock_boottime_ns() - start_ns, UINT64_C(2000000000));
}

Test(client, a_call_that_may_be_repeated_waits_for_the_server_to_come)
{
    FIXTURE(NULL);
    rpc_server_close(&fixture->server);
    unlink(fixture->path);
    CLIENT(fixture);
    struct outcome outcome = { 0 }, late = { 0 };
    call(client, &method_read, RPC_RETRY, 10000, &outcome);
    call(client, &method_read, RPC_RETRY, 50, &late);
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
    call(client, &method_defer, 0, 40, &outcome);
    RUN_UNTIL(fixture, outcome.count == 1);
    cr_expect_eq(outcome.status, STATUS_DEADLINE_EXCEEDED);
    cr_expect_eq(fixture->deferred_count, 1);
    const struct echo_reply reply = { .number = 3 };
    fixture->deferred_count = 0;
    rpc_call_reply(fixture->deferred[0], &reply);
    call(client, &method_read, 0, 1000, &other);
    RUN_UNTIL(fixture, other.count == 1);
    cr_expect_eq(other.status, STATUS_OK);
    cr_expect_eq(outcome.count, 1);
}

Test(client, a_cancelled_call_is_forgotten)
{
    FIXTURE(NULL);
    CLIENT(fixture);
    struct outcome outcome = { 0 }, other = { 0 };
    uint64_t handle = call(client, &method_read, 0, 100, &outcome);
    call(client, &method_read, 0, 0, &other);
    rpc_client_cancel(client, handle);
    rpc_client_cancel(client, handle); /* a second time is nothing */
    RUN_UNTIL(fixture, other.count == 1);
    run_for(fixture->loop, 150);
    cr_expect_eq(outcome.count, 0);
}

Test(client, may_be_closed_in_its_own_callback)
{
    FIXTURE(NULL);
    struct rpc_client *client = client_at(fixture->loop, fixture->path);
    struct outcome first = { .close_in_reply = &client }, second = { 0 };
    call(client, &method_read, 0, 1000, &first);
    call(client, &method_read, 0, 1000, &second);
    RUN_UNTIL(fixture, first.count == 1);
    cr_expect_null(client);
    run_for(fixture->loop, 20);
    cr_expect_eq(second.count, 0, "ended without calling back");
}

Test(client, may_be_closed_while_calls_fail)
{
    FIXTURE(NULL);
    struct rpc_client *client = client_at(fixture->loop, "/tmp/there-is-none/socket");
    struct outcome first = { .close_in_reply = &client }, second = { 0 };
    call(client, &method_read, 0, 1000, &first);
    call(client, &method_read, 0, 1000, &second);
    RUN_UNTIL(fixture, first.count == 1);
    run_for(fixture->loop, 20);
    cr_expect_eq(second.count, 0);
}

Test(client, may_call_from_its_callback)
{
    FIXTURE(NULL);
    CLIENT(fixture);
    struct outcome outcome = { .call_in_reply = &client };
    call(client, &method_read, 0, 1000, &outcome);
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
    const struct rpc_call_options options = { .on_reply = on_reply, .context = &outcome };
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
    const struct rpc_call_options options = { .on_reply = on_reply, .context = &outcome };
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
    call(client, &method_stream, 0, 0, &outcome);
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

/* ---- breaks and greetings, by hand ---- */

struct hand {
    struct fixture *fixture;
    int listener;
    struct peer peer;
};

static struct hand hand_open(struct fixture *fixture)
{
    struct hand hand = { .fixture = fixture, .peer = { .fd = -1, .received.limit = 1 << 20 } };
    rpc_server_close(&fixture->server);
    cr_assert_eq(unix_socket_listen(fixture->path, 0600, &hand.listener), STATUS_OK);
    return hand;
}

static void hand_close(struct hand *hand)
{
    peer_close(&hand->peer);
    fd_close(&hand->listener);
}

static bool hand_has_accepted(struct hand *hand)
{
    if (hand->peer.fd < 0)
        hand->peer.fd = accept4(hand->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return hand->peer.fd >= 0;
}

static void hand_accept(struct hand *hand)
{
    RUN_UNTIL(hand->fixture, hand_has_accepted(hand));
}

/* The next request that the client sent. */
static uint64_t hand_expect(struct hand *hand, const char *method)
{
    struct message message;
    RUN_UNTIL(hand->fixture, peer_next(&hand->peer, &message));
    cr_expect_eq(message.kind, MESSAGE_REQUEST);
    cr_expect(span_equal(message.method, span_of_text(method)), "%.*s", (int)message.method.size,
              (const char *)message.method.data);
    return message.msgid;
}

static void hand_reply(struct hand *hand, uint64_t msgid)
{
    AUTO(buffer_close) struct buffer buffer = { .limit = 1000 };
    const struct echo_reply reply = { .number = 11 };
    message_write_reply(&buffer, msgid, method_read.reply, &reply);
    peer_send(&hand->peer, buffer_span(&buffer));
}

static void hand_fail(struct hand *hand, uint64_t msgid, enum status code)
{
    AUTO(buffer_close) struct buffer buffer = { .limit = 1000 };
    struct problem problem;
    problem_set(&problem, code, "", "by hand");
    message_write_error(&buffer, msgid, &problem);
    peer_send(&hand->peer, buffer_span(&buffer));
}

#define HAND(fixture) AUTO(hand_close) struct hand hand = hand_open(fixture)

Test(client, a_break_ends_what_was_sent_and_repeats_what_may_be)
{
    FIXTURE(NULL);
    HAND(fixture);
    CLIENT(fixture);
    struct outcome once = { 0 }, again = { 0 }, stream = { 0 };
    call(client, &method_read, 0, 5000, &once);
    call(client, &method_read, RPC_RETRY, 5000, &again);
    call(client, &method_stream, RPC_RETRY, 5000, &stream);
    hand_accept(&hand);
    hand_expect(&hand, "test.read");
    uint64_t msgid = hand_expect(&hand, "test.read");
    hand_expect(&hand, "test.stream");
    peer_close(&hand.peer);
    RUN_UNTIL(fixture, once.count == 1);
    cr_expect_eq(once.status, STATUS_UNKNOWN);
    cr_expect_eq(again.count, 0);
    cr_expect_eq(stream.count, 1, "a stream would begin again from its start");
    cr_expect_eq(stream.status, STATUS_UNKNOWN);
    hand.peer = (struct peer){ .fd = -1, .received.limit = 1 << 20 };
    hand_accept(&hand);
    cr_expect_eq(hand_expect(&hand, "test.read"), msgid);
    hand_reply(&hand, msgid);
    RUN_UNTIL(fixture, again.count == 1);
    cr_expect_eq(again.status, STATUS_OK);
    cr_expect_eq(again.number, 11);
    cr_expect_eq(once.count, 1);
}

Test(client, repeats_in_the_order_of_calling)
{
    FIXTURE(NULL);
    HAND(fixture);
    CLIENT(fixture);
    struct outcome outcomes[20] = { 0 };
    for (size_t i = 0; i < COUNT_OF(outcomes); i++)
        call(client, &method_read, RPC_RETRY, 5000, &outcomes[i]);
    uint64_t last = 0;
    for (int attempt = 0; attempt < 3; attempt++) {
        hand_accept(&hand);
        last = 0;
        for (size_t i = 0; i < COUNT_OF(outcomes); i++) {
            uint64_t msgid = hand_expect(&hand, "test.read");
            cr_expect_gt(msgid >> 14, last);
            last = msgid >> 14;
            if (attempt == 2)
                hand_reply(&hand, msgid);
        }
        if (attempt == 2)
            break;
        peer_close(&hand.peer);
        hand.peer = (struct peer){ .fd = -1, .received.limit = 1 << 20 };
    }
    RUN_UNTIL(fixture, rpc_client_pending(client) == 0);
    for (size_t i = 0; i < COUNT_OF(outcomes); i++)
        cr_expect_eq(outcomes[i].status, STATUS_OK);
}

struct connection_log {
    unsigned made, broken;
};

static void on_connection(void *context, bool is_connected)
{
    struct connection_log *log = context;
    *(is_connected ? &log->made : &log->broken) += 1;
}

static struct rpc_client *greeting_client(struct fixture *fixture, struct connection_log *log)
{
    struct rpc_client *client = NULL;
    const struct rpc_client_options options = {
        .path = fixture->path,
        .daemon = "deployd",
        .key = span_of_text("the key"),
        .on_connection = on_connection,
        .context = log,
    };
    cr_assert_eq(rpc_client_open(&client, fixture->loop, &options), STATUS_OK);
    return client;
}

Test(client, greets_before_everything_else)
{
    FIXTURE(NULL);
    HAND(fixture);
    struct connection_log log = { 0 };
    AUTO(rpc_client_close) struct rpc_client *client = greeting_client(fixture, &log);
    struct outcome outcome = { 0 };
    call(client, &method_read, RPC_RETRY, 5000, &outcome);
    hand_accept(&hand);
    uint64_t hello = hand_expect(&hand, "daemon.hello");
    run_for(fixture->loop, 30);
    struct message message;
    cr_expect_not(peer_next(&hand.peer, &message), "the call waits for the greeting's answer");
    cr_expect_eq(log.made, 0);
    hand_reply(&hand, hello);
    hand_reply(&hand, hand_expect(&hand, "test.read"));
    RUN_UNTIL(fixture, outcome.count == 1);
    cr_expect_eq(outcome.status, STATUS_OK);
    cr_expect_eq(log.made, 1);
    peer_close(&hand.peer);
    RUN_UNTIL(fixture, log.broken == 1);
    hand.peer = (struct peer){ .fd = -1, .received.limit = 1 << 20 };
    hand_accept(&hand); /* it comes back by itself, and greets again */
    hand_reply(&hand, hand_expect(&hand, "daemon.hello"));
    RUN_UNTIL(fixture, log.made == 2);
}

Test(client, a_refused_greeting_ends_every_call)
{
    FIXTURE(NULL);
    HAND(fixture);
    struct connection_log log = { 0 };
    AUTO(rpc_client_close) struct rpc_client *client = greeting_client(fixture, &log);
    struct outcome once = { 0 }, again = { 0 };
    call(client, &method_read, 0, 5000, &once);
    call(client, &method_read, RPC_RETRY, 5000, &again);
    hand_accept(&hand);
    hand_fail(&hand, hand_expect(&hand, "daemon.hello"), STATUS_UNAUTHENTICATED);
    RUN_UNTIL(fixture, once.count == 1 && again.count == 1);
    cr_expect_eq(once.status, STATUS_UNAUTHENTICATED);
    cr_expect_eq(again.status, STATUS_UNAUTHENTICATED);
    cr_expect_str_eq(again.problem.message, "by hand");
    cr_expect_eq(log.made, 0);
}

Test(client, an_overloaded_server_is_asked_again)
{
    FIXTURE(NULL);
    HAND(fixture);
    CLIENT(fixture);
    struct outcome once = { 0 }, again = { 0 };
    call(client, &method_read, 0, 5000, &once);
    call(client, &method_read, RPC_RETRY, 5000, &again);
    hand_accept(&hand);
    hand_fail(&hand, 0, STATUS_RESOURCE_EXHAUSTED); /* about the connection */
    peer_close(&hand.peer);
    RUN_UNTIL(fixture, once.count == 1);
    cr_expect_eq(once.status, STATUS_RESOURCE_EXHAUSTED, "nothing was taken from it");
    hand.peer = (struct peer){ .fd = -1, .received.limit = 1 << 20 };
    hand_accept(&hand);
    hand_reply(&hand, hand_expect(&hand, "test.read"));
    RUN_UNTIL(fixture, again.count == 1);
    cr_expect_eq(again.status, STATUS_OK);
}

Test(client, ignores_answers_to_nothing_and_leaves_what_is_no_message)
{
    FIXTURE(NULL);
    HAND(fixture);
    CLIENT(fixture);
    struct outcome outcome = { 0 }, stray = { 0 };
    call(client, &method_read, RPC_RETRY, 5000, &outcome);
    hand_accept(&hand);
    uint64_t msgid = hand_expect(&hand, "test.read");
    hand_reply(&hand, msgid + 1);
    peer_send(&hand.peer, span_of("\x93\x02\xa1x\x92\x07\x80", 7));
    peer_send(&hand.peer, span_of("\x93\x02\xa1x\xc0", 5));
    run_for(fixture->loop, 20);
    cr_expect_eq(outcome.count, 0);
    peer_send(&hand.peer, span_of("\xc1", 1));
    peer_wait_end(fixture, &hand.peer);
    peer_close(&hand.peer);
    hand.peer = (struct peer){ .fd = -1, .received.limit = 1 << 20 };
    hand_accept(&hand);
    hand_reply(&hand, hand_expect(&hand, "test.read"));
    RUN_UNTIL(fixture, outcome.count == 1);
    cr_expect_eq(outcome.status, STATUS_OK);
    call(client, &method_read, 0, 5000, &stray);
    msgid = hand_expect(&hand, "test.read");
    AUTO(buffer_close) struct buffer buffer = { .limit = 100 };
    write_array(&buffer, 4);
    write_u64(&buffer, 1);
    write_u64(&buffer, msgid);
    write_nil(&buffer);
    write_map(&buffer, 1);
    write_str(&buffer, "number");
    write_str(&buffer, "is no number");
    peer_send(&hand.peer, buffer_span(&buffer));
    RUN_UNTIL(fixture, stray.count == 1);
    cr_expect_eq(stray.status, STATUS_INTERNAL);
    cr_expect_str_eq(stray.problem.field, "number");
}

Test(client, what_was_never_sent_is_unavailable_not_unknown)
{
    FIXTURE(NULL);
    HAND(fixture);
    struct connection_log log = { 0 };
    AUTO(rpc_client_close) struct rpc_client *client = greeting_client(fixture, &log);
    struct outcome outcome = { 0 };
    call(client, &method_write, 0, 5000, &outcome);
    hand_accept(&hand);
    hand_expect(&hand, "daemon.hello");
    peer_close(&hand.peer);
    RUN_UNTIL(fixture, outcome.count == 1);
    cr_expect_eq(outcome.status, STATUS_UNAVAILABLE);
}

/* A write that was sent over a connection that broke, and that may be repeated. */
static void lose_a_write(struct hand *hand, struct rpc_client *client, uint64_t timeout_ms,
                         struct outcome *outcome)
{
    call(client, &method_write, RPC_RETRY, timeout_ms, outcome);
    hand_accept(hand);
    hand_expect(hand, "test.write");
    peer_close(&hand->peer);
    hand->peer = (struct peer){ .fd = -1, .received.limit = 1 << 20 };
}

Test(client, what_was_sent_once_is_unknown_when_nobody_comes_back)
{
    FIXTURE(NULL);
    HAND(fixture);
    CLIENT(fixture);
    struct outcome write = { 0 }, read = { 0 };
    lose_a_write(&hand, client, 200, &write);
    fd_close(&hand.listener);
    hand.listener = -1;
    unlink(fixture->path);
    call(client, &method_read, RPC_RETRY, 200, &read);
    RUN_UNTIL(fixture, write.count == 1 && read.count == 1);
    cr_expect_eq(write.status, STATUS_UNKNOWN);
    cr_expect_eq(rpc_effect_of(write.status), RPC_UNKNOWN);
    cr_expect_eq(read.status, STATUS_UNAVAILABLE, "a read changes nothing");
}

Test(client, what_was_sent_once_is_unknown_when_the_repetition_is_not_admitted)
{
    static const struct {
        enum status said, told;
    } cases[] = {
        { STATUS_UNAVAILABLE, STATUS_UNKNOWN },
        { STATUS_RESOURCE_EXHAUSTED, STATUS_UNKNOWN },
        { STATUS_PERMISSION_DENIED, STATUS_UNKNOWN },
        { STATUS_INVALID_ARGUMENT, STATUS_UNKNOWN },
        { STATUS_DATA_LOSS, STATUS_UNKNOWN },
        { STATUS_ABORTED, STATUS_ABORTED },
        { STATUS_FAILED_PRECONDITION, STATUS_FAILED_PRECONDITION },
        { STATUS_DEADLINE_EXCEEDED, STATUS_DEADLINE_EXCEEDED },
    };
    FIXTURE(NULL);
    HAND(fixture);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        CLIENT(fixture);
        struct outcome outcome = { 0 }, fresh = { 0 };
        lose_a_write(&hand, client, 5000, &outcome);
        hand_accept(&hand);
        hand_fail(&hand, hand_expect(&hand, "test.write"), cases[i].said);
        RUN_UNTIL(fixture, outcome.count == 1);
        cr_expect_eq(outcome.status, cases[i].told, "%s", status_name(cases[i].said));
        call(client, &method_write, RPC_RETRY, 5000, &fresh);
        hand_fail(&hand, hand_expect(&hand, "test.write"), cases[i].said);
        RUN_UNTIL(fixture, fresh.count == 1);
        cr_expect_eq(fresh.status, cases[i].said, "sent once: the answer is about it");
        peer_close(&hand.peer);
        hand.peer = (struct peer){ .fd = -1, .received.limit = 1 << 20 };
    }
}

Test(client, tells_what_a_status_says_of_the_effect)
{
    cr_expect_eq(rpc_effect_of(STATUS_OK), RPC_DONE);
    cr_expect_eq(rpc_effect_of(STATUS_DEADLINE_EXCEEDED), RPC_UNKNOWN);
    cr_expect_eq(rpc_effect_of(STATUS_INTERNAL), RPC_UNKNOWN, "an answer that cannot be read");
    cr_expect_eq(rpc_effect_of(STATUS_UNAVAILABLE), RPC_NOT_DONE);
    cr_expect_eq(rpc_effect_of(STATUS_FAILED_PRECONDITION), RPC_NOT_DONE);
}

Test(client, reads_the_answer_of_a_newer_daemon)
{
    FIXTURE(NULL);
    HAND(fixture);
    CLIENT(fixture);
    struct outcome outcome = { 0 };
    call(client, &method_read, 0, 5000, &outcome);
    hand_accept(&hand);
    AUTO(buffer_close) struct buffer buffer = { .limit = 100 };
    write_array(&buffer, 4);
    write_u64(&buffer, 1);
    write_u64(&buffer, hand_expect(&hand, "test.read"));
    write_nil(&buffer);
    write_map(&buffer, 2);
    write_str(&buffer, "not_known_here");
    write_array(&buffer, 1);
    write_str(&buffer, "yet");
    write_str(&buffer, "number");
    write_u64(&buffer, 7);
    peer_send(&hand.peer, buffer_span(&buffer));
    RUN_UNTIL(fixture, outcome.count == 1);
    cr_expect_eq(outcome.status, STATUS_OK);
    cr_expect_eq(outcome.number, 7);
}
