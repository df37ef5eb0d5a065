/* Requests, batches, deferred calls and streams. What breaks the protocol is in test_server_frames,
 * what passes a limit in test_server_limits. */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/rpc/fixture.h"

static void expect_number(struct fixture *fixture, struct peer *peer, uint64_t msgid,
                          uint64_t number)
{
    struct message message = { 0 };
    peer_wait(fixture, peer, &message);
    cr_expect_eq(message.msgid, msgid, "it is %u", (unsigned)message.msgid);
    cr_expect_eq(message.error.size, 0);
    cr_expect_eq(map_u64(message.result, "number", 0), number);
}

static void expect_error(struct fixture *fixture, struct peer *peer, uint64_t msgid,
                         enum status code, const char *field)
{
    struct problem problem;
    peer_wait_error(fixture, peer, msgid, &problem);
    cr_expect_eq(problem.code, code, "%s: %s", status_name(problem.code), problem.message);
    cr_expect_str_eq(problem.field, field);
    cr_expect_str_neq(problem.message, "");
}

Test(server, answers_a_call)
{
    FIXTURE(NULL);
    PEER(fixture);
    peer_call(&peer, 7, "test.read", "x", 41);
    expect_number(fixture, &peer, 7, 42);
    cr_expect_eq(fixture->begins, 0, "a read opens no transaction");
    cr_expect_eq(rpc_server_owed(fixture->server), 0);
}

Test(server, refuses_what_it_cannot_run)
{
    FIXTURE(NULL);
    PEER(fixture);
    peer_call(&peer, 1, "no.such", "x", 0);
    expect_error(fixture, &peer, 1, STATUS_NOT_FOUND, "method");
    peer_call(&peer, 2, "test.read", "x", 1000001);
    expect_error(fixture, &peer, 2, STATUS_INVALID_ARGUMENT, "number");
    peer_send(&peer, span_of("\x94\x00\x03\xa9test.read\x90", 14)); /* no params: an empty map */
    expect_error(fixture, &peer, 3, STATUS_INVALID_ARGUMENT, "text");
    peer_send(&peer, span_of("\x94\x00\x04\xa9test.read\x80", 14));
    expect_error(fixture, &peer, 4, STATUS_INVALID_ARGUMENT, "params");
    peer_send(&peer, span_of("\x94\x00\x05\xa9test.read\x92\x80\x80", 16));
    expect_error(fixture, &peer, 5, STATUS_INVALID_ARGUMENT, "params");
    peer_send(&peer, span_of("\x94\x00\x06\xa9test.read\x91\x81\x01\x02", 17));
    expect_error(fixture, &peer, 6, STATUS_INVALID_ARGUMENT, "params");
    peer_call(&peer, 7, "test.read", "refuse", 0);
    expect_error(fixture, &peer, 7, STATUS_FAILED_PRECONDITION, "text");
    peer_call(&peer, 8, "test.read", "fail", 0);
    expect_error(fixture, &peer, 8, STATUS_ABORTED, "");
    fixture->authorise_status = STATUS_PERMISSION_DENIED;
    unsigned handled = fixture->handled;
    peer_call(&peer, 9, "test.read", "x", 0);
    expect_error(fixture, &peer, 9, STATUS_PERMISSION_DENIED, "token");
    cr_expect_eq(fixture->handled, handled, "the handler did not run");
}

static struct peer *watched_peer;

static void nothing_was_sent(struct fixture *fixture)
{
    struct message message;
    cr_expect_eq(fixture->handled, 100);
    cr_expect_not(peer_next(watched_peer, &message), "answered before the commit");
}

Test(server, commits_all_writes_of_a_turn_at_once_and_then_answers)
{
    FIXTURE(NULL);
    PEER(fixture);
    watched_peer = &peer;
    fixture->on_commit = nothing_was_sent;
    for (uint64_t i = 0; i < 100; i++)
        peer_call(&peer, i + 1, "test.write", "x", i);
    settle(fixture);
    for (uint64_t i = 0; i < 100; i++)
        expect_number(fixture, &peer, i + 1, i + 1);
    cr_expect_eq(fixture->begins, 1);
    cr_expect_eq(fixture->commits, 1);
    cr_expect_eq(fixture->committed, 1);
    cr_expect_eq(fixture->aborts, 0);
}

Test(server, commits_for_several_connections_together)
{
    FIXTURE(NULL);
    AUTO(peer_close) struct peer first = peer_open(fixture);
    AUTO(peer_close) struct peer second = peer_open(fixture);
    peer_call(&first, 1, "test.write", "x", 1);
    peer_call(&second, 1, "test.write", "x", 2);
    expect_number(fixture, &first, 1, 2);
    expect_number(fixture, &second, 1, 3);
    cr_expect_eq(fixture->commits, 1);
}

Test(server, a_refusal_does_not_break_the_batch)
{
    FIXTURE(NULL);
    PEER(fixture);
    peer_call(&peer, 1, "test.write", "x", 1);
    peer_call(&peer, 2, "test.write", "refuse", 1);
    peer_call(&peer, 3, "test.write", "x", 3);
    expect_number(fixture, &peer, 1, 2);
    expect_error(fixture, &peer, 2, STATUS_FAILED_PRECONDITION, "text");
    expect_number(fixture, &peer, 3, 4);
    cr_expect_eq(fixture->commits, 1);
}

Test(server, a_failed_commit_is_unknown_to_all_of_the_batch)
{
    FIXTURE(NULL);
    PEER(fixture);
    fixture->commit_status = STATUS_IO;
    peer_call(&peer, 1, "test.write", "x", 1);
    peer_call(&peer, 2, "test.write", "x", 1);
    peer_call(&peer, 3, "test.read", "x", 1);
    peer_call(&peer, 4, "test.write", "x", 1000001);
    expect_number(fixture, &peer, 3, 2); /* what did not write is not concerned */
    expect_error(fixture, &peer, 4, STATUS_INVALID_ARGUMENT, "number");
    expect_error(fixture, &peer, 1, STATUS_UNKNOWN, "");
    expect_error(fixture, &peer, 2, STATUS_UNKNOWN, "");
    cr_expect_eq(fixture->committed, 0);
    fixture->commit_status = STATUS_OK;
    peer_call(&peer, 5, "test.write", "x", 1);
    expect_number(fixture, &peer, 5, 2);
}

Test(server, a_commit_without_space_changes_nothing_and_says_when_to_retry)
{
    FIXTURE(NULL);
    PEER(fixture);
    fixture->commit_status = STATUS_RESOURCE_EXHAUSTED;
    peer_call(&peer, 1, "test.write", "x", 1);
    struct problem problem;
    peer_wait_error(fixture, &peer, 1, &problem);
    cr_expect_eq(problem.code, STATUS_RESOURCE_EXHAUSTED);
    cr_expect_gt(problem.retry_after_ms, 0);
    cr_expect_eq(fixture->commits, 2, "once more, and not again");
}

/* The first commit finds no room. */
static void be_full(struct fixture *fixture)
{
    fixture->commit_status = fixture->is_full ? STATUS_OK : STATUS_RESOURCE_EXHAUSTED;
    fixture->is_full = true;
}

Test(server, what_does_not_grow_is_done_also_when_it_came_with_what_finds_no_room)
{
    FIXTURE(NULL);
    PEER(fixture);
    struct peer second = peer_open(fixture), gone = peer_open(fixture);
    fixture->on_commit = be_full;
    peer_call(&peer, 1, "test.write", "grow", 1);
    peer_call(&peer, 2, "test.write", "kill", 6);
    peer_call(&peer, 3, "test.write", "grow", 2);
    peer_call(&second, 7, "test.write", "kill", 8);
    expect_error(fixture, &peer, 1, STATUS_RESOURCE_EXHAUSTED, "");
    expect_number(fixture, &peer, 2, 7);
    expect_error(fixture, &peer, 3, STATUS_RESOURCE_EXHAUSTED, "");
    expect_number(fixture, &second, 7, 9);
    cr_expect_eq(fixture->begins, 2);
    cr_expect_eq(fixture->commits, 2);
    cr_expect_eq(fixture->committed, 1);
    cr_expect_eq(fixture->handled, 8, "each of the four twice");
    peer_call(&second, 8, "test.write", "kill", 1);
    expect_number(fixture, &second, 8, 2);
    cr_expect_eq(fixture->commits, 3);
    peer_close(&second);
    peer_close(&gone);
}

Test(server, a_transaction_that_cannot_begin_is_the_answer)
{
    FIXTURE(NULL);
    PEER(fixture);
    fixture->begin_status = STATUS_DATA_LOSS;
    peer_call(&peer, 1, "test.write", "x", 1);
    expect_error(fixture, &peer, 1, STATUS_DATA_LOSS, "");
    cr_expect_eq(fixture->handled, 0);
    cr_expect_eq(fixture->commits, 0);
}

Test(server, what_cannot_be_served_is_refused_before_the_transaction_unless_every_daemon_has_it)
{
    FIXTURE(NULL);
    PEER(fixture);
    fixture->may_serve_status = STATUS_DATA_LOSS;
    peer_call(&peer, 1, "test.read", "x", 0);
    expect_error(fixture, &peer, 1, STATUS_DATA_LOSS, "");
    peer_call(&peer, 2, "test.write", "x", 0);
    expect_error(fixture, &peer, 2, STATUS_DATA_LOSS, "");
    cr_expect_eq(fixture->handled, 0);
    cr_expect_eq(fixture->begins + fixture->commits, 0, "the store is not touched");
    peer_call(&peer, 3, "test.urgent", "x", 4);
    expect_number(fixture, &peer, 3, 5);
}

Test(server, a_batch_that_grows_too_big_is_committed_early)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.calls_per_connection_max = 100000;
    FIXTURE(&limits);
    enum { PEERS = 8, CALLS = 800 };
    static const char frame[] = "\x94\x00\x01\xaatest.write\x91\x82\xa4text\xa1x\xa6number\x01";
    AUTO(buffer_close) struct buffer frames = { .limit = 100000 };
    for (int n = 0; n < CALLS; n++)
        buffer_append(&frames, frame, sizeof frame - 1);
    struct peer peers[PEERS];
    for (int i = 0; i < PEERS; i++) {
        peers[i] = peer_open(fixture);
        peer_send(&peers[i], buffer_span(&frames));
    }
    RUN_UNTIL(fixture, fixture->handled == PEERS * CALLS);
    settle(fixture);
    cr_expect_gt(fixture->commits, 1);
    cr_expect_lt(fixture->commits, 10);
    for (int i = 0; i < PEERS; i++) {
        for (int n = 0; n < CALLS; n++)
            expect_number(fixture, &peers[i], 1, 2);
        peer_close(&peers[i]);
    }
}

static void commit_slowly(struct fixture *fixture)
{
    (void)fixture;
    usleep(16000); /* the next batch may collect for a part of that */
}

/* One turn in which a request is handled, and the beginning of the next. */
static void run_to_next_turn(struct fixture *fixture, unsigned handled)
{
    while (fixture->handled < handled)
        ev_run(fixture->loop, EVRUN_ONCE);
    ev_run(fixture->loop, EVRUN_NOWAIT);
}

Test(server, a_client_alone_is_not_kept_waiting)
{
    FIXTURE(NULL);
    PEER(fixture);
    fixture->on_commit = commit_slowly;
    for (unsigned i = 1; i <= 5; i++) {
        peer_call(&peer, i, "test.write", "x", 1);
        run_to_next_turn(fixture, i);
        cr_expect_eq(fixture->commits, i);
    }
}

/* What is waited is a part of what a commit takes: a machine that does something else for that long
 * may spoil some rounds, not all. */
Test(server, a_commit_waits_for_the_clients_of_the_last_ones)
{
    FIXTURE(NULL);
    fixture->on_commit = commit_slowly;
    AUTO(peer_close) struct peer first = peer_open(fixture);
    AUTO(peer_close) struct peer second = peer_open(fixture);
    unsigned together = 0;
    for (unsigned i = 0; i < 50; i++) {
        unsigned commits = fixture->commits, handled = fixture->handled;
        peer_call(&first, 1, "test.write", "x", 1);
        run_to_next_turn(fixture, handled + 1);
        peer_call(&second, 1, "test.write", "x", 1);
        expect_number(fixture, &first, 1, 2);
        expect_number(fixture, &second, 1, 2);
        together += fixture->commits == commits + 1;
    }
    cr_expect_gt(together, 5);
    peer_call(&first, 1, "test.write", "x", 1);
    expect_number(fixture, &first, 1, 2); /* and in the end not for one that does not come */
}

Test(server, a_client_that_goes_before_the_commit_breaks_nothing)
{
    FIXTURE(NULL);
    fixture->on_commit = commit_slowly;
    AUTO(peer_close) struct peer stays = peer_open(fixture);
    for (int round = 0; round < 5; round++) {
        AUTO(peer_close) struct peer gone = peer_open(fixture);
        for (int i = 0; i < 8; i++)
            peer_call(&stays, 1, "test.write", "x", 1);
        for (int i = 0; i < 8; i++)
            expect_number(fixture, &stays, 1, 2);
        peer_call(&gone, 1, "test.write", "x", 1);
        peer_close(&gone);
        RUN_UNTIL(fixture, rpc_server_connections(fixture->server) == 1);
        settle(fixture);
    }
    RUN_UNTIL(fixture, rpc_server_owed(fixture->server) == 0);
    cr_expect_eq(fixture->handled, 5 * 9);
    cr_expect_eq(fixture->commits, fixture->begins);
}

Test(server, closing_in_a_batch_aborts_it)
{
    FIXTURE(NULL);
    PEER(fixture);
    peer_call(&peer, 1, "test.write", "x", 1);
    while (fixture->handled == 0)
        ev_run(fixture->loop, EVRUN_ONCE); /* returns before the commit of the next turn */
    rpc_server_close(&fixture->server);
    cr_expect_eq(fixture->aborts, 1);
    cr_expect_eq(fixture->commits, 0);
    struct message message;
    cr_expect_not(peer_next(&peer, &message), "nothing was promised");
}

/* ---- request_id, token and hash ---- */

static void send_with(struct peer *peer, uint64_t msgid, const char *method, const char *id,
                      const char *token)
{
    AUTO(buffer_close) struct buffer map = { .limit = 4096 }, frame = { .limit = 4096 };
    write_map(&map, 2);
    write_str(&map, "text");
    write_str(&map, "x");
    write_str(&map, "number");
    write_u64(&map, 1);
    message_write_request(&frame, msgid, method, buffer_span(&map), span_of_text(id),
                          span_of_text(token));
    peer_send(peer, buffer_span(&frame));
}

Test(server, takes_request_id_and_token_out_of_the_params)
{
    FIXTURE(NULL);
    PEER(fixture);
    struct uuid id = uuid_draw();
    char text[UUID_TEXT_BYTES];
    send_with(&peer, 1, "test.write", uuid_text(text, &id), "solo_token");
    expect_number(fixture, &peer, 1, 2);
    cr_expect(fixture->last_has_id);
    cr_expect_eq(memcmp(&fixture->last_id, &id, sizeof id), 0);
    cr_expect_str_eq(fixture->last_token, "solo_token");
    struct hash with = fixture->last_hash;
    peer_call(&peer, 2, "test.write", "x", 1);
    expect_number(fixture, &peer, 2, 2);
    cr_expect_not(fixture->last_has_id);
    cr_expect_neq(uuid_milliseconds(&fixture->last_id), 0, "one was drawn");
    cr_expect_str_eq(fixture->last_token, "");
    cr_expect(hash_equal(&with, &fixture->last_hash), "the hash is of the rest");
}

Test(server, hashes_method_and_params_whatever_the_order_of_keys)
{
    FIXTURE(NULL);
    PEER(fixture);
    peer_call(&peer, 1, "test.write", "x", 1);
    expect_number(fixture, &peer, 1, 2);
    struct hash first = fixture->last_hash;
    AUTO(buffer_close) struct buffer map = { .limit = 4096 }, frame = { .limit = 4096 };
    write_map(&map, 2);
    write_str(&map, "number");
    write_u64(&map, 1);
    write_str(&map, "text");
    write_str(&map, "x");
    message_write_request(&frame, 2, "test.write", buffer_span(&map), (struct span){ 0 },
                          (struct span){ 0 });
    peer_send(&peer, buffer_span(&frame));
    expect_number(fixture, &peer, 2, 2);
    cr_expect(hash_equal(&first, &fixture->last_hash));
    peer_call(&peer, 3, "test.write", "x", 2);
    expect_number(fixture, &peer, 3, 3);
    cr_expect_not(hash_equal(&first, &fixture->last_hash), "another number");
    peer_call(&peer, 4, "test.big", "x", 1);
    expect_number(fixture, &peer, 4, 2);
    cr_expect_not(hash_equal(&first, &fixture->last_hash), "another method");
}

static char *id_at(char text[UUID_TEXT_BYTES], int64_t offset_ms)
{
    struct uuid id = uuid_draw();
    uint64_t milliseconds = clock_wall_ns() / 1000000u + (uint64_t)offset_ms;
    for (int i = 0; i < 6; i++)
        id.bytes[i] = (uint8_t)(milliseconds >> (40 - 8 * i));
    return uuid_text(text, &id);
}

Test(server, refuses_request_ids_that_are_malformed_or_out_of_time)
{
    FIXTURE(NULL);
    PEER(fixture);
    char id[UUID_TEXT_BYTES];
    send_with(&peer, 1, "test.write", "not a uuid", "");
    expect_error(fixture, &peer, 1, STATUS_INVALID_ARGUMENT, "request_id");
    send_with(&peer, 2, "test.write", "0190a000-0000-4000-8000-000000000000", "");
    expect_error(fixture, &peer, 2, STATUS_INVALID_ARGUMENT, "request_id");
    send_with(&peer, 3, "test.write", id_at(id, -(int64_t)REQUESTS_KEPT_MS - 60000), "");
    expect_error(fixture, &peer, 3, STATUS_INVALID_ARGUMENT, "request_id");
    send_with(&peer, 4, "test.write", id_at(id, 61 * 60 * 1000), "");
    expect_error(fixture, &peer, 4, STATUS_INVALID_ARGUMENT, "request_id");
    send_with(&peer, 5, "test.write", id_at(id, -(int64_t)REQUESTS_KEPT_MS + 60000), "");
    expect_number(fixture, &peer, 5, 2);
    send_with(&peer, 6, "test.write", id_at(id, 59 * 60 * 1000), "");
    expect_number(fixture, &peer, 6, 2);
    peer_send(&peer, span_of("\x94\x00\x07\xaatest.write\x91\x82\xa5token\xa1y\xa5token\xa1z", 32));
    expect_error(fixture, &peer, 7, STATUS_INVALID_ARGUMENT, "token");
    peer_send(&peer, span_of("\x94\x00\x08\xaatest.write\x91\x81\xa5token\x01", 23));
    /* whoever authorises refuses what cannot be a token, as every other that is none */
    expect_error(fixture, &peer, 8, STATUS_INVALID_ARGUMENT, "text");
    cr_expect_str_eq(fixture->last_token, "?");
}

/* ---- deferred calls ---- */

Test(server, a_deferred_call_is_answered_later)
{
    FIXTURE(NULL);
    PEER(fixture);
    peer_call(&peer, 1, "test.defer", "x", 0);
    peer_call(&peer, 2, "test.defer", "y", 0);
    peer_call(&peer, 3, "test.read", "z", 0);
    expect_number(fixture, &peer, 3, 1);
    cr_expect_eq(fixture->deferred_count, 2);
    cr_expect_eq(rpc_server_owed(fixture->server), 2);
    const struct echo_reply reply = { .number = 5 };
    rpc_call_reply(fixture->deferred[1], &reply);
    expect_number(fixture, &peer, 2, 5);
    struct problem problem;
    problem_set(&problem, STATUS_NOT_FOUND, "name", "there is none");
    rpc_call_fail(fixture->deferred[0], STATUS_NOT_FOUND, &problem);
    expect_error(fixture, &peer, 1, STATUS_NOT_FOUND, "name");
    fixture->deferred_count = 0;
    cr_expect_eq(rpc_server_owed(fixture->server), 0);
    cr_expect_eq(fixture->gone, 0);
}

Test(server, a_deferred_call_may_be_answered_before_its_handler_returns)
{
    FIXTURE(NULL);
    PEER(fixture);
    peer_call(&peer, 1, "test.defer", "at once", 0);
    peer_call(&peer, 2, "test.defer", "refuse", 0);
    expect_number(fixture, &peer, 1, 99);
    expect_error(fixture, &peer, 2, STATUS_ABORTED, "");
    cr_expect_eq(rpc_server_owed(fixture->server), 0);
}

Test(server, a_deferred_call_outlives_its_connection)
{
    FIXTURE(NULL);
    AUTO(peer_close) struct peer first = peer_open(fixture);
    peer_call(&first, 1, "test.defer", "x", 0);
    peer_call(&first, 2, "test.defer", "y", 0);
    RUN_UNTIL(fixture, fixture->deferred_count == 2);
    peer_close(&first);
    RUN_UNTIL(fixture, fixture->gone == 2);
    cr_expect_eq(rpc_server_connections(fixture->server), 0);
    cr_expect_eq(rpc_server_owed(fixture->server), 2);
    const struct echo_reply reply = { .number = 5 };
    rpc_call_reply(fixture->deferred[0], &reply);
    rpc_call_drop(fixture->deferred[1]);
    fixture->deferred_count = 0;
    cr_expect_eq(rpc_server_owed(fixture->server), 0);
}

Test(server, a_deferred_call_outlives_its_server)
{
    FIXTURE(NULL);
    PEER(fixture);
    peer_call(&peer, 1, "test.defer", "x", 0);
    peer_call(&peer, 2, "test.defer", "y", 0);
    RUN_UNTIL(fixture, fixture->deferred_count == 2);
    rpc_server_close(&fixture->server);
    cr_expect_eq(fixture->gone, 2);
    rpc_call_fail(fixture->deferred[0], STATUS_CANCELLED, NULL);
    rpc_call_drop(fixture->deferred[1]);
    fixture->deferred_count = 0;
}

/* ---- streams ---- */

static void on_drained(struct rpc_call *call)
{
    struct fixture *fixture = call->user;
    fixture->drained++;
}

Test(server, a_stream_sends_notifications_and_then_its_reply)
{
    FIXTURE(NULL);
    PEER(fixture);
    peer_call(&peer, 9, "test.stream", "x", 0);
    RUN_UNTIL(fixture, fixture->deferred_count == 1);
    struct rpc_call *call = fixture->deferred[0];
    cr_expect_eq(rpc_call_notify(call, "test.item", span_of("\x81\xa1n\x01", 4)), STATUS_OK);
    cr_expect_eq(rpc_call_notify(call, "test.item", span_of("\x81\xa1n\x02", 4)), STATUS_OK);
    cr_expect_gt(rpc_call_unread(call), 0);
    rpc_call_on_drained(call, on_drained);
    RUN_UNTIL(fixture, fixture->drained == 1);
    cr_expect_eq(rpc_call_unread(call), 0);
    for (uint64_t i = 1; i <= 2; i++) {
        struct message message = { 0 };
        uint64_t msgid;
        struct span map;
        RUN_UNTIL(fixture, peer_next(&peer, &message));
        cr_expect_eq(message.kind, MESSAGE_NOTIFY);
        cr_expect(span_equal(message.method, span_of_text("test.item")));
        cr_expect_eq(message_parse_notify(message.params, &msgid, &map), STATUS_OK);
        cr_expect_eq(msgid, 9);
        cr_expect_eq(map_u64(map, "n", 0), i);
    }
    const struct echo_reply reply = { .number = 2 };
    fixture->deferred_count = 0;
    rpc_call_reply(call, &reply);
    expect_number(fixture, &peer, 9, 2);
    settle(fixture);
    cr_expect_eq(fixture->drained, 1, "it ran once");
}

Test(server, a_slow_reader_of_a_stream_is_noticed_and_drained_again)
{
    FIXTURE(NULL);
    PEER(fixture);
    peer_call(&peer, 1, "test.stream", "x", 0);
    RUN_UNTIL(fixture, fixture->deferred_count == 1);
    struct rpc_call *call = fixture->deferred[0];
    AUTO(buffer_close) struct buffer map = { .limit = 200000 };
    static const uint8_t bytes[100000];
    write_map(&map, 1);
    write_str(&map, "bytes");
    write_bin(&map, span_of(bytes, sizeof bytes));
    size_t sent = 0;
    enum status status = STATUS_OK;
    while (status == STATUS_OK) {
        status = rpc_call_notify(call, "test.item", buffer_span(&map));
        sent += status == STATUS_OK;
        settle(fixture);
        cr_assert_lt(sent, 1000);
    }
    cr_expect_eq(status, STATUS_RESOURCE_EXHAUSTED);
    cr_expect_leq(rpc_call_unread(call), UNREAD_BYTES_MAX);
    rpc_call_on_drained(call, on_drained);
    settle(fixture);
    cr_expect_eq(fixture->drained, 0);
    size_t received = 0;
    struct message message;
    while (received < sent) {
        RUN_UNTIL(fixture, peer_next(&peer, &message));
        received++;
        if (peer.taken == peer.received.size) {
            buffer_clear(&peer.received);
            peer.taken = 0;
        }
    }
    RUN_UNTIL(fixture, fixture->drained == 1);
    cr_expect_eq(rpc_call_notify(call, "test.item", buffer_span(&map)), STATUS_OK);
    RUN_UNTIL(fixture, peer_next(&peer, &message));
}

Test(server, ends_a_stream_with_an_error)
{
    FIXTURE(NULL);
    PEER(fixture);
    peer_call(&peer, 1, "test.stream", "x", 0);
    RUN_UNTIL(fixture, fixture->deferred_count == 1);
    fixture->deferred_count = 0;
    rpc_call_fail(fixture->deferred[0], STATUS_RESOURCE_EXHAUSTED, NULL);
    expect_error(fixture, &peer, 1, STATUS_RESOURCE_EXHAUSTED, "");
}

/* ---- the rest ---- */

Test(server, knows_a_daemon_after_its_hello)
{
    FIXTURE(NULL);
    PEER(fixture);
    AUTO(buffer_close) struct buffer map = { .limit = 100 }, frame = { .limit = 200 };
    write_map(&map, 2);
    write_str(&map, "daemon");
    write_str(&map, "deployd");
    write_str(&map, "key");
    write_bin(&map, span_of("the key", 7));
    message_write_request(&frame, 1, "daemon.hello", buffer_span(&map), (struct span){ 0 },
                          (struct span){ 0 });
    peer_send(&peer, buffer_span(&frame));
    peer_call(&peer, 2, "test.read", "x", 1);
    expect_number(fixture, &peer, 1, 0);
    expect_number(fixture, &peer, 2, 2);
    cr_expect_str_eq(fixture->last_daemon, "deployd");
    AUTO(peer_close) struct peer other = peer_open(fixture);
    peer_call(&other, 1, "test.read", "x", 1);
    expect_number(fixture, &other, 1, 2);
    cr_expect_str_eq(fixture->last_daemon, "", "another connection is another caller");
}

Test(server, after_intake_stopped_only_answers_go_out)
{
    FIXTURE(NULL);
    PEER(fixture);
    peer_call(&peer, 1, "test.defer", "x", 0);
    RUN_UNTIL(fixture, fixture->deferred_count == 1);
    rpc_server_stop_intake(fixture->server);
    peer_call(&peer, 2, "test.read", "x", 0);
    AUTO(peer_close) struct peer late = peer_open(fixture);
    peer_call(&late, 1, "test.read", "x", 0);
    run_for(fixture->loop, 20);
    struct message message;
    cr_expect_not(peer_next(&peer, &message));
    cr_expect_eq(rpc_server_connections(fixture->server), 1);
    cr_expect_eq(rpc_server_owed(fixture->server), 1);
    const struct echo_reply reply = { .number = 3 };
    fixture->deferred_count = 0;
    rpc_call_reply(fixture->deferred[0], &reply);
    cr_expect_gt(rpc_server_owed(fixture->server), 0, "bytes are owed until they are sent");
    expect_number(fixture, &peer, 1, 3);
    cr_expect_eq(rpc_server_owed(fixture->server), 0);
}

Test(server, an_answer_that_is_too_big_becomes_an_error)
{
    FIXTURE(NULL);
    PEER(fixture);
    peer_call(&peer, 1, "test.large", "x", 900 * 1000);
    struct message message = { 0 };
    peer_wait(fixture, &peer, &message);
    cr_expect_gt(message.result.size, 900 * 1000);
    peer_call(&peer, 2, "test.large", "twice", 900 * 1000);
    expect_error(fixture, &peer, 2, STATUS_RESOURCE_EXHAUSTED, "");
    peer_call(&peer, 3, "test.read", "x", 1);
    expect_number(fixture, &peer, 3, 2);
}

Test(server, knows_the_groups_of_its_peer)
{
    FIXTURE(NULL);
    PEER(fixture);
    peer_call(&peer, 1, "test.defer", "x", 0);
    RUN_UNTIL(fixture, fixture->deferred_count == 1);
    cr_expect(rpc_call_peer_in_group(fixture->deferred[0], getegid()));
    cr_expect_not(rpc_call_peer_in_group(fixture->deferred[0], 54321));
    cr_expect_not(rpc_call_peer_in_group(fixture->deferred[0], 54321), "from memory");
}
