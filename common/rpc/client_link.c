/* All sending and connecting happens in client_step, before the loop sleeps; all receiving in
 * on_io. An idle watcher keeps the loop from sleeping while a step is due, whoever asked for it and
 * when. */
#include "common/rpc/client_link.h"

#include <errno.h>
#include <sodium.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/unix_socket.h"
#include "common/rpc/message.h"
#include "common/wire/writer.h"

enum { WINDOW_BYTES = FRAME_BYTES_MAX /* handed to the connection ahead of the kernel */ };
static const uint32_t hello_msgid = UINT32_MAX;
static const double backoff_first_s = 0.01, backoff_last_s = 1;

void client_wake(struct rpc_client *client)
{
    if (!client->is_closed && !ev_is_active(&client->wake))
        ev_idle_start(client->loop, &client->wake);
}

static void free_client(struct rpc_client *client)
{
    free(client->path);
    buffer_close(&client->token);
    buffer_close(&client->input);
    buffer_close(&client->scratch);
    output_close(&client->output);
    passed_close(&client->passed);
    fd_close(&client->reply_file);
    arena_close(&client->arena);
    sodium_memzero(client->key, sizeof client->key);
    free(client);
}

/* A client may be closed by its own callback; it stays in memory until nobody stands on it. */
void client_enter(struct rpc_client *client)
{
    client->callbacks++;
}

void client_leave(struct rpc_client *client)
{
    if (--client->callbacks == 0 && client->is_closed)
        free_client(client);
}

/* ---- the end of a call ---- */

static void tell(struct pending_call *call, enum status status, const struct problem *problem,
                 const void *reply)
{
    if (call->waiter != NULL) {
        call->waiter->status = status;
        call->waiter->is_done = true;
        if (problem != NULL && call->waiter->problem != NULL)
            *call->waiter->problem = *problem;
    } else if (call->on_reply != NULL) {
        call->on_reply(call->context, status, problem, reply);
    }
    pending_free(call);
}

/* A refusal of what was sent before speaks of its last sending only, unless the server came to it
 * after it had looked whether it knows the request. */
static bool is_about_every_sending(enum status status)
{
    switch (status) {
    case STATUS_NOT_FOUND:
    case STATUS_ALREADY_EXISTS:
    case STATUS_ABORTED:
    case STATUS_FAILED_PRECONDITION:
        return true;
    default:
        return rpc_effect_of(status) == RPC_UNKNOWN;
    }
}

static void end_with_problem(struct rpc_client *client, struct pending_call *call,
                             const struct problem *problem)
{
    struct problem doubt;
    bool changes = call->method->flags & (METHOD_WRITES | METHOD_MUTATES);
    if (call->was_ever_sent && changes && !is_about_every_sending(problem->code)) {
        problem_set(&doubt, STATUS_UNKNOWN, problem->field,
                    "%s was sent, the connection to %s broke, then: %s", call->method->name,
                    client->path, problem->message);
        doubt.retry_after_ms = problem->retry_after_ms;
        problem = &doubt;
    }
    pending_take(&client->pending, call);
    tell(call, problem->code, problem, NULL);
}

static void end_with_result(struct rpc_client *client, struct pending_call *call,
                            struct span result)
{
    static const uint8_t nil = 0xc0, empty_map = 0x80;
    alignas(max_align_t) char members[FIELDS_STRUCT_BYTES_MAX];
    struct problem problem = { 0 };
    struct arena *arena = &client->arena;
    void *reply = members;
    enum status status = STATUS_OK;
    if (span_equal(result, span_of(&nil, 1)))
        result = span_of(&empty_map, 1);
    if (call->waiter != NULL) {
        /* Lists and maps of the reply point into its bytes, which the caller must be able to keep.
         */
        arena = call->waiter->arena;
        reply = call->waiter->reply;
        void *copy = arena_alloc(arena, result.size);
        if (copy == NULL)
            status = problem_set(&problem, STATUS_RESOURCE_EXHAUSTED, "", "the answer is too big");
        else
            result = span_of(memcpy(copy, result.data, result.size), result.size);
    }
    if (status == STATUS_OK &&
        fields_decode(call->method->reply, result, arena, reply, &problem) != STATUS_OK) {
        struct problem inner = problem;
        status =
            problem_set(&problem, STATUS_INTERNAL, inner.field,
                        "the answer of %s cannot be read: %s", call->method->name, inner.message);
    }
    pending_take(&client->pending, call);
    tell(call, status, status == STATUS_OK ? NULL : &problem, status == STATUS_OK ? reply : NULL);
    arena_reset(&client->arena);
}

/* Ends those of the calls made until now that `ends` names a problem for. */
void client_end_calls(struct rpc_client *client,
                      bool (*ends)(struct rpc_client *, struct pending_call *, struct problem *))
{
    uint64_t last = client->pending.serial;
    struct pending_call *call = client->pending.first;
    while (call != NULL && !client->is_closed) {
        struct problem problem = { 0 };
        uint64_t handle = call->handle;
        if (pending_serial(handle) > last)
            return;
        if (!ends(client, call, &problem)) {
            call = call->next;
            continue;
        }
        end_with_problem(client, call, &problem);
        /* The callback may have ended others: begin again behind this one. */
        if (client->is_closed)
            return;
        call = client->pending.first;
        while (call != NULL && pending_serial(call->handle) <= pending_serial(handle))
            call = call->next;
    }
}

/* ---- the connection ---- */

static void say_connected(struct rpc_client *client, bool is_connected)
{
    if (client->options.on_connection != NULL && !client->is_closed)
        client->options.on_connection(client->options.context, is_connected);
}

static bool ends_without_connection(struct rpc_client *client, struct pending_call *call,
                                    struct problem *problem)
{
    bool may_repeat = call->flags & RPC_RETRY && !(call->method->flags & METHOD_STREAMS);
    bool was_sent = !call->is_queued && call->first_byte < client->output.sent_total &&
                    !client->was_turned_away;
    call->was_ever_sent = call->was_ever_sent || was_sent;
    if (call->flags & RPC_RETRY && (may_repeat || !was_sent)) {
        call->is_queued = true;
        return false;
    }
    if (was_sent)
        problem_set(problem, STATUS_UNKNOWN, "",
                    "%s: the connection to %s broke before the answer came", call->method->name,
                    client->path);
    else
        *problem = client->away;
    return true;
}

static void start_backoff(struct rpc_client *client)
{
    double delay = client->backoff_s;
    if ((double)client->away.retry_after_ms / 1000 > delay)
        delay = (double)client->away.retry_after_ms / 1000;
    if (delay > backoff_last_s)
        delay = backoff_last_s;
    client->backoff_s =
        client->backoff_s * 2 > backoff_last_s ? backoff_last_s : client->backoff_s * 2;
    ev_timer_stop(client->loop, &client->backoff);
    ev_timer_set(&client->backoff, delay, 0);
    ev_timer_start(client->loop, &client->backoff);
}

/* Why is in client->away. */
static void on_broken(struct rpc_client *client)
{
    bool was_ready = client->state == CLIENT_READY;
    client->state = CLIENT_AWAY;
    ev_io_stop(client->loop, &client->watcher);
    fd_close(&client->fd);
    client->scanner = (struct frame_scanner){ 0 };
    start_backoff(client);
    if (was_ready)
        say_connected(client, false);
    if (!client->is_closed)
        client_end_calls(client, ends_without_connection);
    client->pending.queued = client->pending.first;
    buffer_clear(&client->input);
    buffer_shrink(&client->input, 0);
    output_close(&client->output);
    passed_close(&client->passed);
}

static void on_ready(struct rpc_client *client)
{
    client->state = CLIENT_READY;
    client_wake(client);
    say_connected(client, true);
}

static void write_hello(struct rpc_client *client)
{
    struct buffer *map = &client->scratch;
    buffer_clear(map);
    write_map(map, 2);
    write_str(map, "daemon");
    write_str(map, client->daemon);
    write_str(map, "key");
    write_bin(map, span_of(client->key, client->key_bytes));
    message_write_request(&client->output.buffer, hello_msgid, "daemon.hello", buffer_span(map),
                          (struct span){ 0 }, (struct span){ 0 });
    sodium_memzero(map->data, map->size);
}

static bool ends_as_away(struct rpc_client *client, struct pending_call *call,
                         struct problem *problem)
{
    (void)call;
    *problem = client->away;
    return true;
}

/* Nobody listens. */
static bool is_absent_for_too_long(struct rpc_client *client)
{
    uint64_t now_ns = clock_boottime_ns();
    if (client->absent_ns == 0)
        client->absent_ns = now_ns;
    return client->options.absence_ms_max != 0 &&
           now_ns - client->absent_ns >= client->options.absence_ms_max * NS_PER_MS;
}

static void connect_now(struct rpc_client *client)
{
    enum status status = unix_socket_connect(client->path, &client->fd);
    client->was_turned_away = false;
    client->has_answered = false;
    ev_timer_stop(client->loop, &client->backoff);
    if (status != STATUS_OK) {
        problem_set(&client->away, STATUS_UNAVAILABLE, "", "cannot connect to %s: %s", client->path,
                    status == STATUS_NOT_FOUND ? "no such socket; is Solo running?"
                                               : status_text(status));
        start_backoff(client);
        bool is_full = status == STATUS_RESOURCE_EXHAUSTED; /* somebody listens */
        if (is_full)
            client->absent_ns = 0;
        client_end_calls(client, !is_full && is_absent_for_too_long(client)
                                     ? ends_as_away
                                     : ends_without_connection);
        return;
    }
    client->absent_ns = 0;
    problem_set(&client->away, STATUS_UNAVAILABLE, "", "%s closed the connection", client->path);
    ev_io_set(&client->watcher, client->fd, EV_READ);
    ev_io_start(client->loop, &client->watcher);
    if (client->options.daemon != NULL) {
        client->state = CLIENT_GREETING;
        write_hello(client);
    } else {
        on_ready(client);
    }
}

/* ---- sending ---- */

static bool wants_connection(const struct rpc_client *client)
{
    if (client->pending.first == NULL)
        return false;
    if (!ev_is_active(&client->backoff))
        return true;
    const struct pending_call *call;
    DL_FOREACH(client->pending.first, call)
    if (!(call->flags & RPC_RETRY))
        return true; /* it shall not wait to learn that nobody is there */
    return false;
}

static void hand_over(struct rpc_client *client)
{
    while (client->pending.queued != NULL && output_unsent(&client->output) < WINDOW_BYTES) {
        struct pending_call *call = client->pending.queued;
        client->pending.queued = call->next;
        call->is_queued = false;
        call->first_byte = client->output.sent_total + output_unsent(&client->output);
        write_object(&client->output.buffer, buffer_span(&call->frame));
        /* Past the bound it goes without, and is refused. */
        if (call->file >= 0)
            (void)output_attach(&client->output, call->frame.size, call->file);
        call->file = -1;
        if (!(call->flags & RPC_RETRY))
            buffer_close(&call->frame);
    }
}

static void watch(struct rpc_client *client)
{
    int events = EV_READ | (output_unsent(&client->output) > 0 ? EV_WRITE : 0);
    if (client->state == CLIENT_AWAY || (client->watcher.events & (EV_READ | EV_WRITE)) == events)
        return;
    ev_io_stop(client->loop, &client->watcher);
    ev_io_set(&client->watcher, client->fd, events);
    ev_io_start(client->loop, &client->watcher);
}

static void client_step(struct rpc_client *client)
{
    if (client->state == CLIENT_AWAY && wants_connection(client))
        connect_now(client);
    if (client->is_closed)
        return;
    if (client->state == CLIENT_READY)
        hand_over(client);
    if (client->state != CLIENT_AWAY && output_send(&client->output, client->fd) != STATUS_OK) {
        /* What the server still said is read first, then the end of the connection; sent_total says
         * which calls it may have seen. */
        output_drop(&client->output);
    }
    watch(client);
}

static void before_sleep(struct ev_loop *loop, struct ev_prepare *watcher, int events)
{
    (void)events;
    struct rpc_client *client = watcher->data;
    if (!ev_is_active(&client->wake))
        return;
    ev_idle_stop(loop, &client->wake);
    client_enter(client);
    client_step(client);
    client_leave(client);
}

static void on_wake(struct ev_loop *loop, struct ev_idle *watcher, int events)
{
    /* Its being active is enough: the loop does not sleep, and before_sleep comes by. */
    (void)loop;
    (void)watcher;
    (void)events;
}

static void on_backoff_over(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    struct rpc_client *client = watcher->data;
    client_enter(client);
    if (client->state == CLIENT_AWAY)
        connect_now(client);
    client_wake(client);
    client_leave(client);
}

/* ---- receiving ---- */

static void on_greeted(struct rpc_client *client, const struct message *message)
{
    if (client->state != CLIENT_GREETING)
        return;
    if (message->error.size == 0) {
        on_ready(client);
        return;
    }
    enum status status = message_parse_error(message->error, &client->away);
    client->was_turned_away = true;
    if (status != STATUS_RESOURCE_EXHAUSTED && status != STATUS_UNAVAILABLE)
        client_end_calls(client, ends_as_away);
    if (!client->is_closed)
        on_broken(client);
}

static void on_reply_message(struct rpc_client *client, const struct message *message)
{
    struct problem problem;
    if (message->msgid == hello_msgid) {
        on_greeted(client, message);
        return;
    }
    if (message->msgid == 0 && message->error.size > 0) {
        /* About the connection; its end follows. */
        message_parse_error(message->error, &client->away);
        client->was_turned_away =
            !client->has_answered && client->away.code == STATUS_RESOURCE_EXHAUSTED;
        return;
    }
    struct pending_call *call = pending_find(&client->pending, message->msgid);
    if (call == NULL)
        return; /* cancelled, or past its deadline */
    if (message->error.size > 0) {
        message_parse_error(message->error, &problem);
        end_with_problem(client, call, &problem);
    } else {
        end_with_result(client, call, message->result);
    }
}

static void on_notify_message(struct rpc_client *client, const struct message *message)
{
    uint64_t msgid;
    struct span map;
    if (message_parse_notify(message->params, &msgid, &map) != STATUS_OK)
        return;
    struct pending_call *call = pending_find(&client->pending, msgid);
    char method[METHOD_NAME_BYTES_MAX + 1];
    if (call == NULL || call->on_notify == NULL || message->method.size >= sizeof method)
        return;
    memcpy(method, message->method.data, message->method.size);
    method[message->method.size] = '\0';
    call->on_notify(call->context, method, map);
}

static enum status on_frame(struct rpc_client *client, struct span frame)
{
    struct message message;
    fd_close(&client->reply_file);
    client->reply_file = passed_take(&client->passed, frame.size);
    TRY(message_parse(frame, &message));
    if (message.kind == MESSAGE_REPLY)
        on_reply_message(client, &message);
    else if (message.kind == MESSAGE_NOTIFY)
        on_notify_message(client, &message);
    client->has_answered = true;
    client->backoff_s = backoff_first_s;
    return STATUS_OK;
}

/* False when the bytes are no messages. */
static bool run_frames(struct rpc_client *client)
{
    size_t done = 0;
    bool is_sound = true;
    while (client->state != CLIENT_AWAY && done < client->input.size) {
        struct span rest = span_of(client->input.data + done, client->input.size - done);
        bool is_complete;
        const char *rule;
        is_sound = frame_scan(&client->scanner, rest, CLIENT_REPLY_BYTES_MAX, &is_complete,
                              &rule) == STATUS_OK;
        if (!is_sound || !is_complete)
            break;
        size_t size = client->scanner.position;
        client->scanner = (struct frame_scanner){ 0 };
        is_sound = on_frame(client, span_of(rest.data, size)) == STATUS_OK;
        if (!is_sound || client->is_closed)
            break;
        done += size;
    }
    if (!client->is_closed && client->state != CLIENT_AWAY) {
        buffer_consume(&client->input, done);
        buffer_shrink(&client->input, 0);
    }
    return is_sound;
}

static void on_readable(struct rpc_client *client)
{
    /* Nothing is kept between two messages, so most of the room would be allocated in vain. */
    size_t wanted =
        client->input.size == 0 ? CLIENT_RECEIVE_BYTES_FIRST : (size_t)CLIENT_RECEIVE_BYTES;
    uint8_t *room = buffer_reserve(&client->input, wanted);
    ssize_t size = room == NULL ? 0 : passed_receive(&client->passed, client->fd, room, wanted);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        buffer_shrink(&client->input, client->input.size);
        return;
    }
    if (size <= 0) {
        on_broken(client);
        return;
    }
    client->input.size += (size_t)size;
    if (!run_frames(client) && !client->is_closed && client->state != CLIENT_AWAY) {
        problem_set(&client->away, STATUS_UNAVAILABLE, "", "%s does not speak this protocol",
                    client->path);
        on_broken(client);
    }
}

static void on_io(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop;
    struct rpc_client *client = watcher->data;
    client_enter(client);
    if (events & EV_READ)
        on_readable(client);
    if (events & EV_WRITE)
        client_wake(client);
    client_leave(client);
}

/* ---- opening and closing ---- */

void client_link_open(struct rpc_client *client)
{
    client->fd = -1;
    client->reply_file = -1;
    client->backoff_s = backoff_first_s;
    client->input.limit = CLIENT_REPLY_BYTES_MAX + CLIENT_RECEIVE_BYTES;
    client->output.buffer.limit = 4 * (size_t)FRAME_BYTES_MAX;
    client->arena.limit = 4 * (size_t)FRAME_BYTES_MAX;
    ev_io_init(&client->watcher, on_io, -1, EV_READ);
    ev_timer_init(&client->backoff, on_backoff_over, 0, 0);
    ev_idle_init(&client->wake, on_wake);
    ev_set_priority(&client->wake, EV_MAXPRI);
    ev_prepare_init(&client->before_sleep, before_sleep);
    /* Before the answers of a server in the same loop, which others may be waiting behind. */
    ev_set_priority(&client->before_sleep, EV_MINPRI + 1);
    client->watcher.data = client->backoff.data = client;
    client->wake.data = client->before_sleep.data = client;
    ev_prepare_start(client->loop, &client->before_sleep);
}

void client_link_close(struct rpc_client *client)
{
    ev_io_stop(client->loop, &client->watcher);
    ev_timer_stop(client->loop, &client->backoff);
    ev_idle_stop(client->loop, &client->wake);
    ev_prepare_stop(client->loop, &client->before_sleep);
    fd_close(&client->fd);
    client->state = CLIENT_AWAY;
    pending_close(&client->pending);
    client->is_closed = true;
    if (client->callbacks == 0)
        free_client(client);
}
