/* The client beside a listener whose every byte is written by hand: breaks and greetings. */
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/unix_socket.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/rpc/client_scene.h"

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
    client_ask(client, &method_read, 0, 60000, &once);
    client_ask(client, &method_read, RPC_RETRY, 60000, &again);
    client_ask(client, &method_stream, RPC_RETRY, 60000, &stream);
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

Test(client, gives_up_when_nobody_has_listened_for_too_long)
{
    FIXTURE(NULL);
    HAND(fixture);
    AUTO(rpc_client_close) struct rpc_client *client = NULL;
    const struct rpc_client_options options = { .path = fixture->path, .absence_ms_max = 50 };
    struct outcome change = { 0 }, read = { 0 };
    cr_assert_eq(rpc_client_open(&client, fixture->loop, &options), STATUS_OK);
    client_ask(client, &method_write, RPC_RETRY, 600000, &change);
    hand_accept(&hand);
    hand_expect(&hand, "test.write");
    hand_close(&hand);
    RUN_UNTIL(fixture, change.count == 1);
    cr_expect_eq(change.status, STATUS_UNKNOWN, "it was sent");
    client_ask(client, &method_read, RPC_RETRY, 600000, &read);
    RUN_UNTIL(fixture, read.count == 1);
    cr_expect_eq(read.status, STATUS_UNAVAILABLE, "it was not");
}

/* A daemon that has not come to accept anybody for a while is not absent. */
Test(client, waits_where_the_backlog_is_full)
{
    FIXTURE(NULL);
    HAND(fixture);
    AUTO(rpc_client_close) struct rpc_client *client = NULL;
    const struct rpc_client_options options = { .path = fixture->path, .absence_ms_max = 50 };
    struct outcome read = { 0 };
    int others[8] = { -1, -1, -1, -1, -1, -1, -1, -1 };
    size_t count = 0;
    cr_assert_eq(listen(hand.listener, 1), 0);
    while (unix_socket_connect(fixture->path, &others[count]) == STATUS_OK)
        cr_assert_lt(++count, COUNT_OF(others));
    cr_assert_eq(unix_socket_connect(fixture->path, &others[count]), STATUS_RESOURCE_EXHAUSTED);
    cr_assert_eq(rpc_client_open(&client, fixture->loop, &options), STATUS_OK);
    client_ask(client, &method_read, RPC_RETRY, 600000, &read);
    uint64_t until_ns = clock_boottime_ns() + 400 * NS_PER_MS;
    RUN_UNTIL(fixture, clock_boottime_ns() > until_ns);
    cr_expect_eq(read.count, 0);
    while (count > 0)
        fd_close(&others[--count]);
}

Test(client, repeats_in_the_order_of_calling)
{
    FIXTURE(NULL);
    HAND(fixture);
    CLIENT(fixture);
    struct outcome outcomes[20] = { 0 };
    for (size_t i = 0; i < COUNT_OF(outcomes); i++)
        client_ask(client, &method_read, RPC_RETRY, 60000, &outcomes[i]);
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
    client_ask(client, &method_read, RPC_RETRY, 60000, &outcome);
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
    client_ask(client, &method_read, 0, 60000, &once);
    client_ask(client, &method_read, RPC_RETRY, 60000, &again);
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
    client_ask(client, &method_read, 0, 60000, &once);
    client_ask(client, &method_read, RPC_RETRY, 60000, &again);
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
    client_ask(client, &method_read, RPC_RETRY, 60000, &outcome);
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
    client_ask(client, &method_read, 0, 60000, &stray);
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
    client_ask(client, &method_write, 0, 60000, &outcome);
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
    client_ask(client, &method_write, RPC_RETRY, timeout_ms, outcome);
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
    client_ask(client, &method_read, RPC_RETRY, 200, &read);
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
        lose_a_write(&hand, client, 60000, &outcome);
        hand_accept(&hand);
        hand_fail(&hand, hand_expect(&hand, "test.write"), cases[i].said);
        RUN_UNTIL(fixture, outcome.count == 1);
        cr_expect_eq(outcome.status, cases[i].told, "%s", status_name(cases[i].said));
        client_ask(client, &method_write, RPC_RETRY, 60000, &fresh);
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
    client_ask(client, &method_read, 0, 60000, &outcome);
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
