/* The answering half of a call: the functions of server.h that begin with rpc_call. The normal path
 * needs no memory: one spare entry serves request after request, and only a deferred call keeps its
 * own. The answer of a call that writes, given while the turn's transaction is open, waits for the
 * commit; every other one goes to its connection at once. */
#include "common/rpc/call.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "common/rpc/message.h"

enum { REPLY_BYTES_MAX = FRAME_BYTES_MAX + MESSAGE_OVERHEAD_BYTES };

static struct call_entry *entry_of(struct rpc_call *call)
{
    return OWNER_OF(call, struct call_entry, call);
}

struct call_entry *call_take(struct rpc_connection *connection, uint64_t msgid)
{
    struct rpc_server *server = connection->server;
    struct call_entry *entry = server->spare_call;
    server->spare_call = NULL;
    if (entry == NULL)
        entry = malloc(sizeof *entry);
    if (entry == NULL)
        return NULL;
    memset(entry, 0, sizeof *entry);
    entry->server = server;
    entry->is_running = true;
    entry->given = -1;
    entry->call.file = -1;
    entry->call.connection = connection;
    entry->call.msgid = msgid;
    entry->call.arena = &server->arena;
    entry->call.caller.uid = connection->uid;
    entry->call.caller.pid = connection->pid;
    if (connection->daemon[0] != '\0') {
        entry->call.caller.kind = CALLER_DAEMON;
        memcpy(entry->call.caller.daemon, connection->daemon, sizeof connection->daemon);
    }
    return entry;
}

static void unlink_deferred(struct call_entry *entry)
{
    struct rpc_connection *connection = entry->call.connection;
    if (connection != NULL) {
        DL_DELETE2(connection->calls, entry, previous, next);
        connection->call_count--;
        turn_attend(connection); /* reading may go on, or idle time begin */
    } else if (entry->server != NULL) {
        DL_DELETE2(entry->server->orphans, entry, previous, next);
    }
    if (entry->server != NULL)
        shares_give(&entry->server->deferred, entry->share);
}

static void release(struct call_entry *entry)
{
    if (entry->is_running)
        return; /* its handler is still on the stack; call_settle comes back here */
    if (entry->is_deferred)
        unlink_deferred(entry);
    buffer_close(&entry->request);
    fd_close(&entry->given);
    fd_close(&entry->call.file);
    if (entry->server != NULL && entry->server->spare_call == NULL)
        entry->server->spare_call = entry;
    else
        free(entry);
}

void call_run_again(struct call_entry *entry)
{
    ensure(entry->is_deferred);
    unlink_deferred(entry);
    entry->is_deferred = false;
    entry->is_running = true;
    entry->call.on_gone = NULL;
    entry->call.arena = &entry->server->arena;
}

/* A reply that did not fit is taken back and an error put in its place: then false, as for every
 * refusal. */
static bool write_answer(struct buffer *buffer, const struct rpc_call *call, const void *reply,
                         const struct problem *problem)
{
    size_t start = buffer->size;
    struct problem too_big;
    if (problem == NULL) {
        message_write_reply(buffer, call->msgid, call->method->reply, reply);
        if (!buffer->is_exhausted && buffer->size - start <= REPLY_BYTES_MAX)
            return true;
        buffer_cut(buffer, start);
        buffer->is_exhausted = false;
        problem_set(&too_big, STATUS_RESOURCE_EXHAUSTED, "", "the answer is too big; ask for less");
        problem = &too_big;
    }
    message_write_error(buffer, call->msgid, problem);
    return false;
}

static void answer(struct call_entry *entry, const void *reply, const struct problem *problem)
{
    ensure(!entry->is_answered);
    entry->is_answered = true;
    struct rpc_call *call = &entry->call;
    struct rpc_connection *connection = call->connection;
    if (connection != NULL) {
        const struct rpc_service *service = entry->server->service;
        if (problem != NULL && service->refused != NULL)
            service->refused(service->access, call, problem->code);
        bool is_held = entry->is_in_batch && entry->server->batch.is_open;
        struct buffer *buffer =
            is_held ? turn_hold_begin(entry->server) : &connection->output.buffer;
        size_t start = buffer->size;
        int file = -1;
        if (write_answer(buffer, call, reply, problem)) {
            file = entry->given;
            entry->given = -1;
        }
        if (is_held)
            turn_hold_end(connection, call->msgid, start, file);
        else
            turn_answer_file(connection, buffer->size - start, file);
    }
    release(entry);
}

void rpc_call_defer(struct rpc_call *call)
{
    struct call_entry *entry = entry_of(call);
    struct rpc_connection *connection = call->connection;
    ensure(entry->is_running);
    ensure(!entry->is_deferred);
    entry->is_deferred = true;
    entry->share = shares_take(&entry->server->deferred, &call->caller);
    connection->call_count++;
    DL_APPEND2(connection->calls, entry, previous, next);
}

void rpc_call_reply(struct rpc_call *call, const void *reply)
{
    ensure(entry_of(call)->is_deferred);
    answer(entry_of(call), reply, NULL);
}

void rpc_call_give(struct rpc_call *call, int fd)
{
    struct call_entry *entry = entry_of(call);
    ensure(entry->given < 0);
    entry->given = fd;
}

void rpc_call_fail(struct rpc_call *call, enum status status, const struct problem *problem)
{
    struct problem plain;
    ensure(entry_of(call)->is_deferred);
    ensure(status != STATUS_OK);
    if (problem == NULL || problem->code != status) {
        problem_set(&plain, status, problem == NULL ? "" : problem->field, "%s",
                    problem == NULL || problem->message[0] == '\0' ? status_text(status)
                                                                   : problem->message);
        plain.retry_after_ms = problem == NULL ? 0 : problem->retry_after_ms;
        problem = &plain;
    }
    answer(entry_of(call), NULL, problem);
}

void rpc_call_drop(struct rpc_call *call)
{
    ensure(call->connection == NULL);
    struct call_entry *entry = entry_of(call);
    ensure(!entry->is_answered);
    entry->is_answered = true;
    release(entry);
}

void call_settle(struct call_entry *entry, enum status status, const void *reply)
{
    struct rpc_call *call = &entry->call;
    call->arena = NULL;
    entry->is_running = false;
    if (entry->is_answered) {
        release(entry);
        return;
    }
    if (status == STATUS_OK && entry->is_deferred)
        return;
    if (status != STATUS_OK && (call->problem.code != status || call->problem.message[0] == '\0'))
        problem_set(&call->problem, status, call->problem.field, "%s", status_text(status));
    answer(entry, reply, status == STATUS_OK ? NULL : &call->problem);
}

void call_orphan(struct call_entry *entry)
{
    struct rpc_connection *connection = entry->call.connection;
    DL_DELETE2(connection->calls, entry, previous, next);
    connection->call_count--;
    entry->call.connection = NULL;
    entry->on_drained = NULL;
    DL_APPEND2(entry->server->orphans, entry, previous, next);
    void (*on_gone)(struct rpc_call *) = entry->call.on_gone;
    entry->call.on_gone = NULL;
    if (on_gone != NULL)
        on_gone(&entry->call);
}

void call_outlive(struct call_entry *entry)
{
    DL_DELETE2(entry->server->orphans, entry, previous, next);
    shares_give(&entry->server->deferred, entry->share);
    entry->server = NULL;
}

enum status rpc_call_notify(struct rpc_call *call, const char *method, struct span params)
{
    struct rpc_connection *connection = call->connection;
    ensure(call->method->flags & METHOD_STREAMS);
    ensure(params.size <= FRAME_BYTES_MAX);
    if (connection == NULL)
        return STATUS_UNAVAILABLE;
    if (output_unsent(&connection->output) + params.size + MESSAGE_OVERHEAD_BYTES >
        connection->server->limits.unread_bytes_max)
        return STATUS_RESOURCE_EXHAUSTED;
    message_write_notify(&connection->output.buffer, method, call->msgid, params);
    turn_attend(connection);
    return STATUS_OK;
}

size_t rpc_call_unread(const struct rpc_call *call)
{
    return call->connection == NULL ? 0 : output_unsent(&call->connection->output);
}

void rpc_call_on_drained(struct rpc_call *call, void (*on_drained)(struct rpc_call *call))
{
    if (call->connection == NULL)
        return;
    entry_of(call)->on_drained = on_drained;
    turn_attend(call->connection);
}

bool rpc_call_may_log(const struct rpc_call *call)
{
    struct rpc_server *server = entry_of((struct rpc_call *)call)->server;
    return server != NULL && connection_may_log(server);
}

void rpc_call_set_daemon(struct rpc_call *call, const char *daemon)
{
    struct rpc_connection *connection = call->connection;
    size_t size = strnlen(daemon, sizeof connection->daemon - 1);
    memcpy(connection->daemon, daemon, size);
    connection->daemon[size] = '\0';
}

bool rpc_call_peer_in_group(const struct rpc_call *call, gid_t group)
{
    struct rpc_connection *connection = call->connection;
    if (connection == NULL)
        return false;
    if (!connection->has_group || connection->group != group) {
        connection->is_in_group = connection_peer_in_group(connection->fd, connection->gid, group);
        connection->group = group;
        connection->has_group = true;
    }
    return connection->is_in_group;
}
