/* Making calls, waiting for them and giving up on them. How they travel is client_link's part. */
#include "common/rpc/client.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "common/rpc/client_link.h"
#include "common/rpc/message.h"

/* ---- deadlines ---- */

static bool ends_past_deadline(struct rpc_client *client, struct pending_call *call,
                               struct problem *problem)
{
    if (call->due == 0 || call->due > clock_boottime_s() + 0.0005)
        return false;
    if (call->is_queued && client->state == CLIENT_AWAY)
        *problem = client->away;
    else
        problem_set(problem, STATUS_DEADLINE_EXCEEDED, "", "%s: no answer from %s within %llu ms",
                    call->method->name, client->path, (unsigned long long)call->timeout_ms);
    return true;
}

static void arm_deadline(struct rpc_client *client, double due)
{
    if (ev_is_active(&client->deadline) && client->deadline_due <= due)
        return;
    double delay = due - clock_boottime_s();
    ev_timer_stop(client->loop, &client->deadline);
    ev_timer_set(&client->deadline, delay > 0 ? delay : 0, 0);
    ev_timer_start(client->loop, &client->deadline);
    client->deadline_due = due;
}

static void on_deadline(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    struct rpc_client *client = watcher->data;
    client_enter(client);
    client_end_calls(client, ends_past_deadline);
    struct pending_call *call;
    if (!client->is_closed)
        DL_FOREACH(client->pending.first, call)
    if (call->due != 0)
        arm_deadline(client, call->due);
    client_leave(client);
}

/* ---- the public half ---- */

enum rpc_effect rpc_effect_of(enum status status)
{
    switch (status) {
    case STATUS_OK:
        return RPC_DONE;
    case STATUS_UNKNOWN:
    case STATUS_DEADLINE_EXCEEDED:
    case STATUS_CANCELLED:
    case STATUS_INTERNAL:
        return RPC_UNKNOWN;
    default:
        return RPC_NOT_DONE;
    }
}

enum status rpc_client_open(struct rpc_client **client, struct ev_loop *loop,
                            const struct rpc_client_options *options)
{
    struct rpc_client *opened = calloc(1, sizeof *opened);
    ensure(opened != NULL);
    opened->loop = loop;
    opened->options = *options;
    opened->path = strdup(options->path);
    ensure(opened->path != NULL);
    opened->token.limit = MESSAGE_OVERHEAD_BYTES;
    opened->scratch.limit = FRAME_BYTES_MAX + MESSAGE_OVERHEAD_BYTES;
    problem_set(&opened->away, STATUS_UNAVAILABLE, "", "not connected to %s", options->path);
    buffer_append(&opened->token, options->token.data, options->token.size);
    if (options->daemon != NULL) {
        ensure(strlen(options->daemon) < sizeof opened->daemon);
        ensure(options->key.size <= sizeof opened->key);
        memcpy(opened->daemon, options->daemon, strlen(options->daemon) + 1);
        if (options->key.size > 0)
            memcpy(opened->key, options->key.data, options->key.size);
        opened->key_bytes = options->key.size;
    }
    ev_timer_init(&opened->deadline, on_deadline, 0, 0);
    opened->deadline.data = opened;
    client_link_open(opened);
    *client = opened;
    return STATUS_OK;
}

void rpc_client_close(struct rpc_client **client)
{
    struct rpc_client *closed = *client;
    if (closed == NULL)
        return;
    *client = NULL;
    ev_timer_stop(closed->loop, &closed->deadline);
    client_link_close(closed);
}

size_t rpc_client_pending(const struct rpc_client *client)
{
    return client->pending.count;
}

/* The request as it travels; checked as the server will, so that a bad one fails here and alone. */
static enum status pack(struct rpc_client *client, struct pending_call *call, const void *request,
                        const struct uuid *request_id)
{
    char id[UUID_TEXT_BYTES];
    struct span id_text = { 0 };
    if (request_id != NULL)
        id_text = span_of_text(uuid_text(id, request_id));
    size_t bytes_max = call->method->flags & METHOD_BIG ? FRAME_BYTES_MAX : FRAME_BYTES_SMALL;
    call->frame.limit = bytes_max;
    buffer_clear(&client->scratch);
    fields_encode(call->method->request, request, &client->scratch);
    message_write_request(&call->frame, call->msgid, call->method->name,
                          buffer_span(&client->scratch), id_text, buffer_span(&client->token));
    bool is_whole = !client->scratch.is_exhausted && !call->frame.is_exhausted;
    buffer_clear(&client->scratch);
    buffer_shrink(&client->scratch, MESSAGE_OVERHEAD_BYTES);
    const char *rule;
    return is_whole ? frame_check(buffer_span(&call->frame), bytes_max, &rule)
                    : STATUS_INVALID_ARGUMENT;
}

static enum status make_call(struct rpc_client *client, const struct method *method,
                             const void *request, const struct rpc_call_options *options,
                             struct waiter *waiter, uint64_t *handle)
{
    struct pending_call *call;
    AUTO(fd_close) int file = options->has_file ? options->file : -1;
    ensure(file < 0 || (options->flags & RPC_RETRY) == 0);
    TRY(pending_add(&client->pending, &call));
    call->file = file;
    file = -1;
    call->method = method;
    call->flags = options->flags;
    call->timeout_ms = options->timeout_ms;
    call->on_reply = options->on_reply;
    call->on_notify = options->on_notify;
    call->context = options->context;
    call->waiter = waiter;
    call->is_queued = true;
    enum status status = pack(client, call, request, options->request_id);
    if (status != STATUS_OK) {
        pending_take(&client->pending, call);
        pending_free(call);
        return status;
    }
    if (options->timeout_ms != 0) {
        call->due = clock_boottime_s() + (double)options->timeout_ms / 1000;
        arm_deadline(client, call->due);
    }
    if (handle != NULL)
        *handle = call->handle;
    client_wake(client);
    return STATUS_OK;
}

enum status rpc_client_call(struct rpc_client *client, const struct method *method,
                            const void *request, const struct rpc_call_options *options,
                            uint64_t *handle)
{
    return make_call(client, method, request, options, NULL, handle);
}

void rpc_client_cancel(struct rpc_client *client, uint64_t handle)
{
    struct pending_call *call = pending_find_handle(&client->pending, handle);
    if (call == NULL)
        return;
    pending_take(&client->pending, call);
    pending_free(call);
}

int rpc_client_take_file(struct rpc_client *client)
{
    int file = client->reply_file;
    client->reply_file = -1;
    return file;
}

enum status rpc_client_call_wait(struct rpc_client *client, const struct method *method,
                                 const void *request, const struct rpc_call_options *options,
                                 struct arena *arena, void *reply, struct problem *problem)
{
    struct waiter waiter = { .arena = arena, .reply = reply, .problem = problem };
    ensure(client->callbacks == 0);
    ev_now_update(client->loop);
    enum status status = make_call(client, method, request, options, &waiter, NULL);
    if (status != STATUS_OK)
        return problem_set(problem, status, "", "%s: %s", method->name,
                           status == STATUS_INVALID_ARGUMENT ? "the request is too big or too deep"
                                                             : "too many calls are waiting");
    while (!waiter.is_done)
        ev_run(client->loop, EVRUN_ONCE);
    return waiter.status;
}
