/* Requests, deferred calls and streams. What becomes of a turn is in test_server_turns, what breaks
 * the protocol in test_server_frames, what passes a limit in test_server_limits. */
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/rpc/fixture.h"

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
