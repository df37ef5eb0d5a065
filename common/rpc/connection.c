/* Bytes of one client. Reading goes through the server's one receive buffer: a connection keeps
 * bytes of its own only while a frame is incomplete or requests have to wait, so idle ones cost a
 * struct.
 *
 * Bounds: a frame over FRAME_BYTES_SMALL is taken only when its header names a METHOD_BIG method
 * and a place for big frames is free. Too many open calls or unread answers stop the reading (the
 * socket then pushes back); unread answers past the bound end the connection, as do a frame that
 * does not complete, answers that nobody takes, and silence. */
#include "common/rpc/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/rpc/call.h"
#include "common/rpc/request.h"

enum { LOGGED_PER_SECOND_MAX = 10, RETRY_AFTER_BIG_FRAMES_MS = 500 };

bool connection_may_log(struct rpc_server *server)
{
    if (server->now_s - server->log_second >= 1) {
        server->log_second = server->now_s;
        server->logged = 0;
    }
    return server->logged++ < LOGGED_PER_SECOND_MAX;
}

void connection_log_refusal(struct rpc_connection *connection, const char *method,
                            const struct problem *problem)
{
    if (connection_may_log(connection->server))
        log_info("request refused", "method", method, "status", status_name(problem->code), "field",
                 problem->field, "rule", problem->message, "uid", NUMBER(connection->uid), "pid",
                 NUMBER(connection->pid));
}

void connection_doom(struct rpc_connection *connection, const char *why)
{
    struct rpc_server *server = connection->server;
    if (connection->is_doomed)
        return;
    connection->is_doomed = true;
    turn_attend(connection);
    if (why == NULL)
        return;
    server->stats.cut_off++;
    if (connection_may_log(server))
        log_info("connection closed", "why", why, "uid", NUMBER(connection->uid), "pid",
                 NUMBER(connection->pid));
}

void connection_refuse(struct rpc_connection *connection, uint64_t msgid,
                       const struct problem *problem)
{
    message_write_error(&connection->output.buffer, msgid, problem);
    connection->is_closing = true;
    connection->closing_at = connection->server->now_s;
    connection->server->stats.cut_off++;
    connection_log_refusal(connection, "", problem);
    turn_attend(connection);
}

bool connection_peer_in_group(int fd, gid_t own, gid_t group)
{
    gid_t groups[1024];
    socklen_t size = sizeof groups;
    if (own == group)
        return true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
        return false;
    for (size_t i = 0; i < size / sizeof groups[0]; i++)
        if (groups[i] == group)
            return true;
    return false;
}

bool connection_peer_is_privileged(const struct rpc_server *server, int fd,
                                   const struct ucred *peer)
{
    const struct rpc_groups *groups = server->service->privileged;
    bool is_own = peer->uid == 0 || peer->uid == geteuid();
    if (is_own && !server->limits.only_groups_are_privileged)
        return true;
    for (size_t i = 0; groups != NULL && i < groups->count; i++)
        if (connection_peer_in_group(fd, peer->gid, groups->gids[i]))
            return true;
    return false;
}

/* ---- requests ---- */

static bool must_pause(const struct rpc_connection *connection)
{
    const struct rpc_limits *limits = &connection->server->limits;
    return connection->call_count >= limits->calls_per_connection_max ||
           output_unsent(&connection->output) > limits->unread_bytes_max / 2;
}

static void free_big_frame(struct rpc_connection *connection)
{
    if (connection->holds_big_frame)
        connection->server->big_frames--;
    connection->holds_big_frame = false;
}

/* Whether the frame that has just outgrown the small bound may go on to the big one. */
static enum status take_big_frame(struct rpc_connection *connection, struct span data,
                                  struct problem *problem)
{
    struct rpc_server *server = connection->server;
    uint64_t msgid;
    struct span method;
    if (!message_peek_request(data, &msgid, &method))
        return STATUS_INVALID_ARGUMENT;
    const struct rpc_route *route = request_route(server, method);
    if (route == NULL || !(route->method->flags & METHOD_BIG))
        return STATUS_INVALID_ARGUMENT;
    size_t most = server->limits.big_frames_max;
    if (!connection->is_privileged)
        most = (most + 1) / 2;
    if (server->big_frames >= most) {
        problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "frame",
                    "too many big requests arrive at once");
        problem->retry_after_ms = RETRY_AFTER_BIG_FRAMES_MS;
        return STATUS_RESOURCE_EXHAUSTED;
    }
    server->big_frames++;
    connection->holds_big_frame = true;
    return STATUS_OK;
}

static enum status scan(struct rpc_connection *connection, struct span data, bool *is_complete,
                        struct problem *problem)
{
    const char *rule = "";
    size_t bytes_max = connection->holds_big_frame ? FRAME_BYTES_MAX : FRAME_BYTES_SMALL;
    enum status status = frame_scan(&connection->scanner, data, bytes_max, is_complete, &rule);
    if (status != STATUS_OK && !connection->holds_big_frame) {
        problem->code = STATUS_OK;
        if (take_big_frame(connection, data, problem) == STATUS_OK)
            status = frame_scan(&connection->scanner, data, FRAME_BYTES_MAX, is_complete, &rule);
        else if (problem->code != STATUS_OK)
            return problem->code;
    }
    if (status != STATUS_OK)
        problem_set(problem, status, "frame", "%s", rule);
    return status;
}

static void run_frame(struct rpc_connection *connection, struct span frame)
{
    struct message message;
    struct problem problem;
    AUTO(fd_close) int file = passed_take(&connection->passed, frame.size);
    if (message_parse(frame, &message) != STATUS_OK || message.kind == MESSAGE_REPLY) {
        problem_set(&problem, STATUS_INVALID_ARGUMENT, "frame",
                    "is no request: must be [0, msgid, method, [params]]");
        connection_refuse(connection, 0, &problem);
    } else if (message.kind == MESSAGE_NOTIFY) {
        connection->server->stats.notifications_ignored++;
    } else {
        request_run(connection, &message, frame.size, &file);
    }
}

static void refuse_frame(struct rpc_connection *connection, struct span data,
                         const struct problem *problem)
{
    uint64_t msgid;
    struct span method;
    /* The client's call ends with the reason when we know which one it was. */
    if (!message_peek_request(data, &msgid, &method))
        msgid = 0;
    connection_refuse(connection, msgid, problem);
}

/* Runs the complete frames at the front of `data`; returns how many bytes they took. */
static size_t run_frames(struct rpc_connection *connection, struct span data)
{
    size_t done = 0;
    connection->is_paused = false;
    while (done < data.size && !connection->is_closing && !connection->is_doomed) {
        if (must_pause(connection)) {
            connection->is_paused = true;
            break;
        }
        struct span rest = span_of(data.data + done, data.size - done);
        struct problem problem;
        bool is_complete;
        if (scan(connection, rest, &is_complete, &problem) != STATUS_OK) {
            refuse_frame(connection, rest, &problem);
            break;
        }
        if (!is_complete)
            break;
        struct span frame = span_of(rest.data, connection->scanner.position);
        done += frame.size;
        connection->scanner = (struct frame_scanner){ 0 };
        connection->frame_since = 0;
        run_frame(connection, frame);
        free_big_frame(connection);
    }
    return connection->is_closing || connection->is_doomed ? data.size : done;
}

static void after_run(struct rpc_connection *connection)
{
    bool is_waiting = connection->input.size > 0 && !connection->is_paused;
    if (!is_waiting)
        connection->frame_since = 0;
    else if (connection->frame_since == 0)
        connection->frame_since = connection->server->now_s;
    buffer_shrink(&connection->input, 0);
    connection_watch(connection);
}

void connection_process(struct rpc_connection *connection)
{
    size_t done = run_frames(connection, buffer_span(&connection->input));
    buffer_consume(&connection->input, done);
    after_run(connection);
}

static void on_received(struct rpc_connection *connection, struct span data)
{
    connection->active_at = connection->server->now_s;
    size_t done = 0;
    if (connection->input.size == 0)
        done = run_frames(connection, data);
    if (done < data.size &&
        buffer_append(&connection->input, data.data + done, data.size - done) != STATUS_OK) {
        connection_doom(connection, "no memory for its request");
        return;
    }
    if (done == 0)
        connection_process(connection);
    else
        after_run(connection);
}

static void on_readable(struct rpc_connection *connection)
{
    struct rpc_server *server = connection->server;
    ssize_t size =
        server->service->takes_files
            ? passed_receive(&connection->passed, connection->fd, server->receive, RECEIVE_BYTES)
            : recv(connection->fd, server->receive, RECEIVE_BYTES, MSG_DONTWAIT);
    if (size > 0) {
        on_received(connection, span_of(server->receive, (size_t)size));
        if (server->service->memory != NULL)
            sodium_memzero(server->receive, (size_t)size);
    } else if (size == 0 || errno == ECONNRESET) {
        connection_doom(connection, NULL);
    } else if (errno != EAGAIN && errno != EINTR) {
        connection_doom(connection, strerror(errno));
    }
}

static void on_io(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop;
    struct rpc_connection *connection = watcher->data;
    if (events & EV_READ && !connection->is_doomed && !connection->is_closing)
        on_readable(connection);
    if (events & EV_WRITE)
        turn_attend(connection);
}

/* ---- sending ---- */

static void run_on_drained(struct rpc_connection *connection)
{
    for (size_t left = connection->call_count; left > 0; left--) {
        struct call_entry *entry;
        DL_FOREACH(connection->calls, entry)
        if (entry->on_drained != NULL)
            break;
        if (entry == NULL || output_unsent(&connection->output) > 0)
            return;
        void (*on_drained)(struct rpc_call *) = entry->on_drained;
        entry->on_drained = NULL;
        on_drained(&entry->call);
    }
}

static void resume(struct rpc_connection *connection)
{
    struct rpc_server *server = connection->server;
    if (!connection->is_paused || connection->is_resumed || must_pause(connection))
        return;
    connection->is_resumed = true;
    connection->next_resumed = server->resumed;
    server->resumed = connection;
    turn_attend(connection); /* keeps the loop awake until the requests have run */
}

void connection_flush(struct rpc_connection *connection)
{
    struct rpc_server *server = connection->server;
    struct output *output = &connection->output;
    uint64_t sent_before = output->sent_total;
    if (output->buffer.is_exhausted)
        connection_doom(connection, "its unread answers are too many");
    if (output_send(output, connection->fd) != STATUS_OK)
        connection_doom(connection, NULL);
    if (output->sent_total != sent_before || connection->unsent_before == 0)
        connection->progress_at = server->now_s;
    if (output_unsent(output) > server->limits.unread_bytes_max)
        connection_doom(connection, "its unread answers are too many");
    if (output_unsent(output) == 0) {
        if (connection->is_closing)
            connection_doom(connection, NULL);
        else
            run_on_drained(connection);
    }
    server->unsent_bytes += output_unsent(output) - connection->unsent_before;
    connection->unsent_before = output_unsent(output);
    resume(connection);
    connection_watch(connection);
}

/* ---- watchers and times ---- */

/* When the next time limit is over, and which one. */
static double due_at(const struct rpc_connection *connection, const char **why)
{
    const struct rpc_limits *limits = &connection->server->limits;
    double complete_s = (double)limits->frame_complete_ms / 1000;
    double due = connection->server->now_s + (double)limits->idle_ms / 1000;
    *why = NULL;
    if (connection->call_count == 0) {
        due = connection->active_at + (double)limits->idle_ms / 1000;
        *why = "idle";
    }
    if (connection->frame_since > 0 && connection->frame_since + complete_s < due) {
        due = connection->frame_since + complete_s;
        *why = "its request did not complete in time";
    }
    if (connection->is_closing && connection->closing_at + complete_s < due) {
        due = connection->closing_at + complete_s;
        *why = "it does not read why it was refused";
    }
    double unread_s = (double)limits->unread_ms / 1000;
    if (output_unsent(&connection->output) > 0 && connection->progress_at + unread_s < due) {
        due = connection->progress_at + unread_s;
        *why = "it does not read its answers";
    }
    return due;
}

static void rearm(struct rpc_connection *connection)
{
    const char *why;
    double due = due_at(connection, &why);
    /* Later is left to the timer itself: most moves are to later. */
    if (ev_is_active(&connection->timer) && connection->timer_due <= due)
        return;
    ev_timer_stop(connection->server->loop, &connection->timer);
    ev_timer_set(&connection->timer, due - connection->server->now_s, 0);
    ev_timer_start(connection->server->loop, &connection->timer);
    connection->timer_due = due;
}

static void on_timer(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    struct rpc_connection *connection = watcher->data;
    const char *why;
    double due = due_at(connection, &why);
    if (due > connection->server->now_s + 0.0005 || why == NULL || connection->server->is_stopped) {
        rearm(connection);
        return;
    }
    if (connection->frame_since > 0 && !connection->is_closing) {
        struct problem problem;
        problem_set(&problem, STATUS_DEADLINE_EXCEEDED, "frame", "%s", "did not complete in time");
        refuse_frame(connection, buffer_span(&connection->input), &problem);
        connection->frame_since = 0;
    } else {
        connection_doom(connection, why);
    }
    rearm(connection);
}

void connection_watch(struct rpc_connection *connection)
{
    struct rpc_server *server = connection->server;
    bool is_read = !connection->is_paused && !connection->is_closing && !connection->is_doomed &&
                   !server->is_stopped;
    bool is_written = output_unsent(&connection->output) > 0 && !connection->is_attended;
    int events = (is_read ? EV_READ : 0) | (is_written ? EV_WRITE : 0);
    if (events != (connection->watcher.events & (EV_READ | EV_WRITE)) ||
        !ev_is_active(&connection->watcher)) {
        ev_io_stop(server->loop, &connection->watcher);
        ev_io_set(&connection->watcher, connection->fd, events);
        if (events != 0)
            ev_io_start(server->loop, &connection->watcher);
    }
    rearm(connection);
}

enum status connection_open(struct rpc_server *server, int fd, const struct ucred *peer,
                            bool is_privileged)
{
    struct rpc_connection *opened = calloc(1, sizeof *opened);
    if (opened == NULL) {
        fd_close(&fd);
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "accept", "reason", "out of memory");
    }
    opened->server = server;
    opened->fd = fd;
    opened->uid = peer->uid;
    opened->gid = peer->gid;
    opened->pid = peer->pid;
    opened->is_privileged = is_privileged;
    opened->input.limit = FRAME_BYTES_MAX + RECEIVE_BYTES;
    opened->output.buffer.limit = server->limits.unread_bytes_max + 4 * (size_t)FRAME_BYTES_MAX;
    opened->input.memory = opened->output.buffer.memory = server->service->memory;
    opened->active_at = server->now_s;
    ev_io_init(&opened->watcher, on_io, fd, 0);
    opened->watcher.data = opened;
    ev_timer_init(&opened->timer, on_timer, 0, 0);
    opened->timer.data = opened;
    DL_APPEND2(server->connections, opened, previous, next);
    server->stats.connections++;
    server->stats.accepted++;
    connection_watch(opened);
    return STATUS_OK;
}

static void unlink_attention(struct rpc_connection *connection)
{
    struct rpc_server *server = connection->server;
    for (struct rpc_connection **link = &server->attention; *link != NULL;
         link = &(*link)->next_attended)
        if (*link == connection) {
            *link = connection->next_attended;
            break;
        }
    for (struct rpc_connection **link = &server->resumed; *link != NULL;
         link = &(*link)->next_resumed)
        if (*link == connection) {
            *link = connection->next_resumed;
            break;
        }
}

void connection_close(struct rpc_connection *connection)
{
    struct rpc_server *server = connection->server;
    ev_io_stop(server->loop, &connection->watcher);
    ev_timer_stop(server->loop, &connection->timer);
    while (connection->calls != NULL)
        call_orphan(connection->calls);
    if (connection->call_count > 0)
        turn_forget(connection);
    if (connection->is_attended || connection->is_resumed)
        unlink_attention(connection);
    DL_DELETE2(server->connections, connection, previous, next);
    free_big_frame(connection);
    server->unsent_bytes -= connection->unsent_before;
    server->stats.connections--;
    fd_close(&connection->fd);
    buffer_close(&connection->input);
    output_close(&connection->output);
    passed_close(&connection->passed);
    free(connection);
}
