/* What a broken or hostile client sends: each is answered where that is possible, and cut off; the
 * server goes on serving others. */
#include <sys/socket.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/rpc/connection.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/rpc/fixture.h"

/* A request with `size` bytes of text, as its head and the text's announced length only. */
static struct buffer head_of(const char *method, uint64_t msgid, uint32_t size)
{
    struct buffer head = { .limit = 2 << 20 };
    write_array(&head, 4);
    write_u64(&head, 0);
    write_u64(&head, msgid);
    write_str(&head, method);
    write_array(&head, 1);
    write_map(&head, 1);
    write_str(&head, "text");
    const uint8_t length[] = { 0xdb, (uint8_t)(size >> 24), (uint8_t)(size >> 16),
                               (uint8_t)(size >> 8), (uint8_t)size };
    buffer_append(&head, length, sizeof length);
    return head;
}

static void send_slowly(struct fixture *fixture, struct peer *peer, struct span bytes)
{
    while (bytes.size > 0) {
        ssize_t sent = send(peer->fd, bytes.data, bytes.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0)
            bytes = span_of(bytes.data + sent, bytes.size - (size_t)sent);
        settle(fixture);
    }
}

static void expect_cut_off(struct fixture *fixture, struct span bytes, uint64_t msgid,
                           const char *rule)
{
    PEER(fixture);
    struct problem problem;
    peer_send(&peer, bytes);
    peer_wait_error(fixture, &peer, msgid, &problem);
    cr_expect_eq(problem.code, STATUS_INVALID_ARGUMENT, "%s", rule);
    cr_expect_str_eq(problem.field, "frame");
    cr_expect_str_eq(problem.message, rule);
    peer_wait_end(fixture, &peer);
    cr_expect_eq(rpc_server_connections(fixture->server), 0);
    cr_expect_eq(fixture->handled, 0);
}

#define BYTES(text) span_of(text, sizeof text - 1)

Test(server_frames, cuts_off_what_is_no_request)
{
    static const char shape[] = "is no request: must be [0, msgid, method, [params]]";
    FIXTURE(NULL);
    expect_cut_off(fixture, BYTES("GET / HTTP/1.1\r\n\r\n"), 0, shape);
    expect_cut_off(fixture, BYTES("\xc1"), 0, "is not msgpack: byte 0xc1");
    expect_cut_off(fixture, BYTES("\xd4\x01\x02"), 0, "has an ext type, which is not accepted");
    expect_cut_off(fixture, BYTES("\x80"), 0, shape);
    expect_cut_off(fixture,
                   BYTES("\x93\x00\x01\xa1x"
                         "\x90"),
                   0, shape);
}

Test(server_frames, cuts_off_a_reply_and_a_wrong_msgid)
{
    static const char shape[] = "is no request: must be [0, msgid, method, [params]]";
    FIXTURE(NULL);
    expect_cut_off(fixture, BYTES("\x94\x01\x01\xc0\x80"), 0, shape);
    expect_cut_off(fixture, BYTES("\x94\x00\xff\xa1x\x90"), 0, shape);
    expect_cut_off(fixture, BYTES("\x94\x00\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xa1x\x90"), 0,
                   shape);
    expect_cut_off(fixture, BYTES("\x94\x03\x01\xa1x\x90"), 0, shape);
    expect_cut_off(fixture, BYTES("\x94\x00\x01\x02\x90"), 0, shape);
}

Test(server_frames, names_the_call_whose_params_are_too_deep)
{
    FIXTURE(NULL);
    AUTO(buffer_close) struct buffer frame = { .limit = 1000 };
    buffer_append(&frame, "\x94\x00\x05\xa9test.read", 13);
    for (int i = 0; i < FRAME_DEPTH_MAX; i++)
        write_array(&frame, 1);
    expect_cut_off(fixture, buffer_span(&frame), 5, "is nested too deep");
}

Test(server_frames, refuses_the_frame_that_announces_67_million_elements)
{
    FIXTURE(NULL);
    uint8_t frame[155] = { 0x94, 0x00, 0x01, 0xa9 };
    memcpy(frame + 4, "test.read\x91\xdd\x04\x00\x00\x00", 15);
    expect_cut_off(fixture, span_of(frame, sizeof frame), 1,
                   "announces more elements than it can hold");
}

Test(server_frames, ignores_notifications_but_counts_them)
{
    FIXTURE(NULL);
    PEER(fixture);
    struct message message = { 0 };
    peer_send(&peer, BYTES("\x93\x02\xa1x\x90\x93\x02\xa1y\x91\x01"));
    peer_call(&peer, 1, "test.read", "x", 1);
    peer_wait(fixture, &peer, &message);
    cr_expect_eq(message.msgid, 1);
    cr_expect_eq(rpc_server_stats(fixture->server).notifications_ignored, 2);
}

Test(server_frames, a_request_in_single_bytes_is_a_request)
{
    FIXTURE(NULL);
    PEER(fixture);
    static const char frame[] = "\x94\x00\x05\xa9test.read\x91\x81\xa4text\xa1x";
    for (size_t i = 0; i < sizeof frame - 1; i++) {
        peer_send(&peer, span_of(frame + i, 1));
        settle(fixture);
        cr_expect_eq(fixture->handled, i == sizeof frame - 2);
    }
    struct message message = { 0 };
    peer_wait(fixture, &peer, &message);
    cr_expect_eq(message.msgid, 5);
}

Test(server_frames, a_client_that_goes_in_the_middle_of_a_frame_leaves_nothing)
{
    FIXTURE(NULL);
    AUTO(peer_close) struct peer peer = peer_open(fixture);
    peer_send(&peer, BYTES("\x94\x00\x05\xa9test.re"));
    settle(fixture);
    cr_expect_eq(rpc_server_connections(fixture->server), 1);
    peer_close(&peer);
    RUN_UNTIL(fixture, rpc_server_connections(fixture->server) == 0);
    cr_expect_eq(fixture->handled, 0);
}

Test(server_frames, takes_a_big_frame_for_a_big_method_only)
{
    enum { TEXT_BYTES = 500 * 1000 };
    FIXTURE(NULL);
    PEER(fixture);
    AUTO(buffer_close) struct buffer frame = head_of("test.big", 6, TEXT_BYTES);
    memset(buffer_reserve(&frame, TEXT_BYTES), 'x', TEXT_BYTES);
    frame.size += TEXT_BYTES;
    for (int i = 0; i < 2; i++) { /* the second goes the same way: the place was given back */
        struct message message = { 0 };
        send_slowly(fixture, &peer, buffer_span(&frame));
        peer_wait(fixture, &peer, &message);
        cr_expect_eq(message.error.size, 0);
        cr_expect_eq(message.msgid, 6);
    }
    cr_expect_eq(fixture->server->big_frames, 0);
    fixture->handled = 0;
    peer_close(&peer);
    RUN_UNTIL(fixture, rpc_server_connections(fixture->server) == 0);

    AUTO(buffer_close) struct buffer small = head_of("test.read", 6, TEXT_BYTES);
    expect_cut_off(fixture, buffer_span(&small), 6, "is longer than this request may be");
    AUTO(buffer_close) struct buffer unknown = head_of("no.such", 6, TEXT_BYTES);
    expect_cut_off(fixture, buffer_span(&unknown), 6, "is longer than this request may be");
    AUTO(buffer_close) struct buffer huge = head_of("test.big", 6, FRAME_BYTES_MAX);
    expect_cut_off(fixture, buffer_span(&huge), 6, "is longer than this request may be");
    cr_expect_eq(fixture->server->big_frames, 0);
}

Test(server_frames, a_small_frame_may_fill_its_bound_to_the_byte)
{
    FIXTURE(NULL);
    PEER(fixture);
    AUTO(buffer_close) struct buffer head = head_of("test.read", 6, 0);
    uint32_t text_bytes = FRAME_BYTES_SMALL - (uint32_t)head.size;
    AUTO(buffer_close) struct buffer frame = head_of("test.read", 6, text_bytes);
    memset(buffer_reserve(&frame, text_bytes), 'x', text_bytes);
    frame.size += text_bytes;
    struct message message = { 0 };
    send_slowly(fixture, &peer, buffer_span(&frame));
    peer_wait(fixture, &peer, &message);
    cr_expect_eq(message.error.size, 0);
    fixture->handled = 0;
    peer_close(&peer);
    RUN_UNTIL(fixture, rpc_server_connections(fixture->server) == 0);
    AUTO(buffer_close) struct buffer longer = head_of("test.read", 6, text_bytes + 1);
    expect_cut_off(fixture, buffer_span(&longer), 6, "is longer than this request may be");
}

Test(server_frames, requests_before_a_broken_one_are_answered)
{
    FIXTURE(NULL);
    PEER(fixture);
    peer_call(&peer, 1, "test.write", "x", 1);
    peer_send(&peer, BYTES("\xc1"));
    struct message message = { 0 };
    struct problem problem;
    /* The error is queued at once, the write is answered after its commit; both come. */
    peer_wait_error(fixture, &peer, 0, &problem);
    peer_wait(fixture, &peer, &message);
    cr_expect_eq(message.msgid, 1);
    cr_expect_eq(message.error.size, 0);
    peer_wait_end(fixture, &peer);
}

Test(server_frames, an_idle_connection_owns_no_buffer)
{
    FIXTURE(NULL);
    PEER(fixture);
    struct message message = { 0 };
    for (uint64_t i = 0; i < 100; i++)
        peer_call(&peer, i, "test.large", "x", 1000);
    for (uint64_t i = 0; i < 100; i++)
        peer_wait(fixture, &peer, &message);
    settle(fixture);
    const struct rpc_connection *connection = fixture->server->connections;
    cr_assert_not_null(connection);
    cr_expect_leq(connection->input.capacity + connection->output.buffer.capacity, 2048);
}
