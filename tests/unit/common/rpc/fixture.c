#include "tests/unit/common/rpc/fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
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

static const struct field echo_request_fields[] = {
    { "text", FIELD_str, true, 0, "" },
    { "number", FIELD_u64, false, 1000000, "" },
    { "map", FIELD_map, false, 0, "" },
};
static const struct field echo_reply_fields[] = {
    { "text", FIELD_str, false, 0, "" },
    { "number", FIELD_u64, false, 0, "" },
    { "bytes", FIELD_bytes, false, 0, "" },
};
static const struct field_table request_table = { "echo_request", echo_request_fields, 3,
                                                  sizeof(struct echo_request), false };
static const struct field_table reply_table = { "echo_reply", echo_reply_fields, 3,
                                                sizeof(struct echo_reply), true };

struct hello_request {
    const char *daemon;
    struct span key;
};
static const struct field hello_fields[] = {
    { "daemon", FIELD_name, true, 0, "" },
    { "key", FIELD_bytes, true, 32, "" },
};
static const struct field_table hello_table = { "hello", hello_fields, 2,
                                                sizeof(struct hello_request), false };

#define TEST_METHOD(variable, wire, flags)                                                         \
    const struct method variable = {                                                               \
        wire, PERMISSION_READ, flags, &request_table, &reply_table, ""                             \
    }
TEST_METHOD(method_read, "test.read", METHOD_READS);
TEST_METHOD(method_write, "test.write", METHOD_WRITES | METHOD_MUTATES);
TEST_METHOD(method_defer, "test.defer", METHOD_READS);
TEST_METHOD(method_stream, "test.stream", METHOD_STREAMS);
TEST_METHOD(method_big, "test.big", METHOD_BIG | METHOD_MUTATES);
TEST_METHOD(method_urgent, "test.urgent", METHOD_URGENT | METHOD_COMMON);
TEST_METHOD(method_large, "test.large", METHOD_READS);
TEST_METHOD(method_pass, "test.pass", METHOD_WRITES);
const struct method method_hello = {
    "daemon.hello", PERMISSION_EVERYBODY, METHOD_URGENT, &hello_table, &reply_table, "",
};

static void note(struct fixture *fixture, const struct rpc_call *call,
                 const struct echo_request *request)
{
    fixture->handled++;
    fixture->last_id = call->request_id;
    fixture->last_has_id = call->has_request_id;
    fixture->last_hash = call->body_hash;
    snprintf(fixture->last_text, sizeof fixture->last_text, "%s", request->text);
    snprintf(fixture->last_daemon, sizeof fixture->last_daemon, "%s", call->caller.daemon);
}

static enum status handle_echo(void *context, struct rpc_call *call, const void *request,
                               void *reply)
{
    const struct echo_request *echo = request;
    struct echo_reply *answer = reply;
    note(context, call, echo);
    if (strcmp(echo->text, "refuse") == 0)
        return problem_set(&call->problem, STATUS_FAILED_PRECONDITION, "text", "was refused");
    if (strcmp(echo->text, "fail") == 0)
        return STATUS_ABORTED;
    if (strcmp(echo->text, "grow") == 0 && ((struct fixture *)context)->is_full)
        return STATUS_RESOURCE_EXHAUSTED;
    answer->text = strlen(echo->text) < 100 ? echo->text : "long";
    answer->number = echo->number + 1;
    return STATUS_OK;
}

static void on_gone(struct rpc_call *call)
{
    struct fixture *fixture = call->user;
    fixture->gone++;
}

static enum status handle_defer(void *context, struct rpc_call *call, const void *request,
                                void *reply)
{
    struct fixture *fixture = context;
    const struct echo_request *echo = request;
    (void)reply;
    note(fixture, call, echo);
    rpc_call_defer(call);
    call->user = fixture;
    call->on_gone = on_gone;
    if (strcmp(echo->text, "at once") == 0) {
        const struct echo_reply answer = { .number = 99 };
        rpc_call_reply(call, &answer);
        return STATUS_OK;
    }
    if (strcmp(echo->text, "refuse") == 0)
        return STATUS_ABORTED;
    cr_assert_lt(fixture->deferred_count, DEFERRED_MAX);
    fixture->deferred[fixture->deferred_count++] = call;
    return STATUS_OK;
}

/* Bytes that a reply holds: as many as were asked for, or twice that. */
static enum status handle_large(void *context, struct rpc_call *call, const void *request,
                                void *reply)
{
    const struct echo_request *echo = request;
    struct echo_reply *answer = reply;
    note(context, call, echo);
    size_t size = echo->number * (strcmp(echo->text, "twice") == 0 ? 2 : 1);
    void *bytes = arena_alloc(call->arena, size);
    cr_assert_not_null(bytes);
    answer->bytes = span_of(bytes, size);
    return STATUS_OK;
}

/* Gives back the descriptor that came with the request. */
static enum status handle_pass(void *context, struct rpc_call *call, const void *request,
                               void *reply)
{
    if (call->file >= 0 && strcmp(((const struct echo_request *)request)->text, "keep") != 0) {
        rpc_call_give(call, call->file);
        call->file = -1;
    }
    return handle_echo(context, call, request, reply);
}

static enum status handle_hello(void *context, struct rpc_call *call, const void *request,
                                void *reply)
{
    const struct hello_request *hello = request;
    (void)context;
    (void)reply;
    if (!span_equal(hello->key, span_of("the key", 7)))
        return problem_set(&call->problem, STATUS_UNAUTHENTICATED, "key", "is another");
    rpc_call_set_daemon(call, hello->daemon);
    return STATUS_OK;
}

static enum status on_begin(void *context)
{
    struct fixture *fixture = context;
    fixture->begins++;
    return fixture->begin_status;
}

static enum status on_commit(void *context)
{
    struct fixture *fixture = context;
    fixture->commits++;
    if (fixture->on_commit != NULL)
        fixture->on_commit(fixture);
    return fixture->commit_status;
}

static void on_abort(void *context)
{
    struct fixture *fixture = context;
    fixture->aborts++;
}

static void on_committed(void *context)
{
    struct fixture *fixture = context;
    fixture->committed++;
}

static enum status authorise(void *access, struct rpc_call *call, struct span token)
{
    struct fixture *fixture = access;
    cr_assert_lt(token.size, sizeof fixture->last_token);
    memset(fixture->last_token, 0, sizeof fixture->last_token);
    if (token.size > 0)
        memcpy(fixture->last_token, token.data, token.size);
    if (fixture->authorise_status != STATUS_OK)
        return problem_set(&call->problem, fixture->authorise_status, "token", "not you");
    call->caller.kind = fixture->tenant != NULL ? CALLER_TOKEN : CALLER_OPERATOR;
    if (fixture->tenant != NULL)
        snprintf(call->caller.tenant, sizeof call->caller.tenant, "%s", fixture->tenant);
    return STATUS_OK;
}

static enum status may_serve(void *context, struct rpc_call *call)
{
    const struct fixture *fixture = context;
    return fixture->may_serve_status == STATUS_OK
               ? STATUS_OK
               : problem_set(&call->problem, fixture->may_serve_status, "", "the store is damaged");
}

static const struct rpc_route routes[] = {
    { &method_read, handle_echo },   { &method_write, handle_echo },
    { &method_defer, handle_defer }, { &method_stream, handle_defer },
    { &method_big, handle_echo },    { &method_urgent, handle_echo },
    { &method_large, handle_large }, { &method_pass, handle_pass },
    { &method_hello, handle_hello }, { NULL, NULL },
};

struct fixture *fixture_new(const struct rpc_limits *limits)
{
    const struct rpc_limits usual = rpc_limits_default();
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->loop = ev_loop_new(EVFLAG_AUTO);
    strcpy(fixture->folder, "/tmp/test_rpc_XXXXXX");
    cr_assert_not_null(mkdtemp(fixture->folder));
    snprintf(fixture->path, sizeof fixture->path, "%s/socket", fixture->folder);
    fixture->service = (struct rpc_service){
        .routes = routes,
        .takes_files = true,
        .context = fixture,
        .authorise = authorise,
        .access = fixture,
        .may_serve = may_serve,
        .begin = on_begin,
        .commit = on_commit,
        .abort = on_abort,
        .committed = on_committed,
    };
    int listener;
    cr_assert_eq(unix_socket_listen(fixture->path, 0600, &listener), STATUS_OK);
    cr_assert_eq(rpc_server_open_with(&fixture->server, fixture->loop, &fixture->service, listener,
                                      limits == NULL ? &usual : limits),
                 STATUS_OK);
    return fixture;
}

void fixture_free(struct fixture **fixture_)
{
    struct fixture *fixture = *fixture_;
    rpc_server_close(&fixture->server);
    for (size_t i = 0; i < fixture->deferred_count; i++)
        rpc_call_drop(fixture->deferred[i]);
    directory_remove(fixture->folder);
    ev_loop_destroy(fixture->loop);
    free(fixture);
}

static void on_time(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)timer;
    (void)events;
    ev_break(loop, EVBREAK_ALL);
}

void run_for(struct ev_loop *loop, unsigned milliseconds)
{
    struct ev_timer timer;
    ev_now_update(loop);
    ev_timer_init(&timer, on_time, milliseconds / 1000.0, 0);
    ev_timer_start(loop, &timer);
    ev_run(loop, 0);
    ev_timer_stop(loop, &timer);
}

void settle(struct fixture *fixture)
{
    for (int i = 0; i < 8; i++)
        ev_run(fixture->loop, EVRUN_NOWAIT);
}

struct peer peer_open(struct fixture *fixture)
{
    struct peer peer = { .fd = -1, .received.limit = PEER_BYTES_MAX };
    cr_assert_eq(unix_socket_connect(fixture->path, &peer.fd), STATUS_OK);
    settle(fixture);
    return peer;
}

void peer_close(struct peer *peer)
{
    fd_close(&peer->fd);
    buffer_close(&peer->received);
}

void peer_send(struct peer *peer, struct span bytes)
{
    cr_assert_eq(send(peer->fd, bytes.data, bytes.size, MSG_NOSIGNAL), (ssize_t)bytes.size);
}

void peer_call(struct peer *peer, uint64_t msgid, const char *method, const char *text,
               uint64_t number)
{
    AUTO(buffer_close) struct buffer map = { .limit = 4096 }, frame = { .limit = 4096 };
    const struct echo_request request = { .text = text, .number = number };
    fields_encode(&request_table, &request, &map);
    message_write_request(&frame, msgid, method, buffer_span(&map), (struct span){ 0 },
                          (struct span){ 0 });
    peer_send(peer, buffer_span(&frame));
}

void peer_read(struct peer *peer)
{
    for (;;) {
        uint8_t *room = buffer_reserve(&peer->received, 65536);
        cr_assert_not_null(room);
        ssize_t size = recv(peer->fd, room, 65536, MSG_DONTWAIT);
        if (size > 0) {
            peer->received.size += (size_t)size;
            continue;
        }
        if (size == 0 || errno == ECONNRESET)
            peer->is_ended = true;
        return;
    }
}

bool peer_next(struct peer *peer, struct message *message)
{
    peer_read(peer);
    struct span rest =
        span_of(peer->received.data + peer->taken, peer->received.size - peer->taken);
    struct frame_scanner scanner = { 0 };
    bool is_complete;
    const char *rule = "";
    cr_assert_eq(frame_scan(&scanner, rest, PEER_BYTES_MAX, &is_complete, &rule), STATUS_OK, "%s",
                 rule);
    if (!is_complete)
        return false;
    peer->taken += scanner.position;
    cr_assert_eq(message_parse(span_of(rest.data, scanner.position), message), STATUS_OK);
    return true;
}

void peer_wait(struct fixture *fixture, struct peer *peer, struct message *message)
{
    RUN_UNTIL(fixture, peer_next(peer, message) || peer->is_ended);
    cr_assert(!peer->is_ended || message->result.size > 0 || message->error.size > 0,
              "the connection ended");
}

void peer_wait_error(struct fixture *fixture, struct peer *peer, uint64_t msgid,
                     struct problem *problem)
{
    struct message message = { 0 };
    RUN_UNTIL(fixture, peer_next(peer, &message));
    cr_assert_eq(message.kind, MESSAGE_REPLY);
    cr_assert_eq(message.msgid, msgid, "it is %u", (unsigned)message.msgid);
    cr_assert_gt(message.error.size, 0);
    message_parse_error(message.error, problem);
}

void peer_wait_end(struct fixture *fixture, struct peer *peer)
{
    RUN_UNTIL(fixture, (peer_read(peer), peer->is_ended));
}

void expect_number(struct fixture *fixture, struct peer *peer, uint64_t msgid, uint64_t number)
{
    struct message message = { 0 };
    peer_wait(fixture, peer, &message);
    cr_expect_eq(message.msgid, msgid, "it is %u", (unsigned)message.msgid);
    cr_expect_eq(message.error.size, 0);
    cr_expect_eq(map_u64(message.result, "number", 0), number);
}

void expect_error(struct fixture *fixture, struct peer *peer, uint64_t msgid, enum status code,
                  const char *field)
{
    struct problem problem;
    peer_wait_error(fixture, peer, msgid, &problem);
    cr_expect_eq(problem.code, code, "%s: %s", status_name(problem.code), problem.message);
    cr_expect_str_eq(problem.field, field);
    cr_expect_str_neq(problem.message, "");
}
