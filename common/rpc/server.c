/* Opening, accepting and closing. A connection past a bound is told so and closed; when descriptors
 * run out the spare one makes room to do that, and accepting pauses for a moment. */
#include "common/rpc/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/rpc/call.h"
#include "common/rpc/message.h"

enum {
    ACCEPTED_PER_TURN_MAX = 64,
    RETRY_AFTER_CONNECTIONS_MS = 1000,
    ARENA_BYTES_MAX = 4 * FRAME_BYTES_MAX,
};
static const double accept_pause_s = 0.1;

struct rpc_limits rpc_limits_default(void)
{
    return (struct rpc_limits){
        .connections_max = CONNECTIONS_MAX,
        .connections_reserved = CONNECTIONS_RESERVED,
        .connections_per_uid_max = CONNECTIONS_PER_UID_MAX,
        .calls_per_connection_max = CALLS_PER_CONNECTION_MAX,
        .calls_max = CALLS_MAX,
        .calls_reserved = CALLS_RESERVED,
        .big_frames_max = BIG_FRAMES_MAX,
        .unread_bytes_max = UNREAD_BYTES_MAX,
        .unread_bytes_total_max = UNREAD_BYTES_TOTAL_MAX,
        .batch_answer_bytes_max = BATCH_ANSWER_BYTES_MAX,
        .frame_complete_ms = FRAME_COMPLETE_MS_MAX,
        .idle_ms = CONNECTION_IDLE_MS_MAX,
        .unread_ms = UNREAD_MS_MAX,
    };
}

/* ---- accepting ---- */

/* Why this peer may not have one more connection; NULL when it may. */
static const char *too_many(const struct rpc_server *server, uid_t uid, bool is_privileged)
{
    const struct rpc_limits *limits = &server->limits;
    size_t count = server->stats.connections, of_uid = 0;
    if (count >= limits->connections_max)
        return "too many connections";
    if (is_privileged)
        return NULL;
    if (count + limits->connections_reserved >= limits->connections_max)
        return "too many connections";
    const struct rpc_connection *connection;
    DL_FOREACH(server->connections, connection)
    of_uid += connection->uid == uid;
    return of_uid >= limits->connections_per_uid_max ? "too many connections of this user" : NULL;
}

static void refuse(struct rpc_server *server, int fd, const char *rule)
{
    struct problem problem;
    struct output output = { .buffer.limit = MESSAGE_OVERHEAD_BYTES };
    problem_set(&problem, STATUS_RESOURCE_EXHAUSTED, "", "%s", rule);
    problem.retry_after_ms = RETRY_AFTER_CONNECTIONS_MS;
    message_write_error(&output.buffer, 0, &problem);
    /* The result does not matter: the connection ends either way. */
    (void)output_send(&output, fd);
    output_close(&output);
    server->stats.refused++;
}

enum status rpc_server_adopt(struct rpc_server *server, int fd)
{
    struct ucred peer = { 0 };
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
        enum status status =
            log_failure(status_from_errno(errno), "SO_PEERCRED", "reason", strerror(errno));
        fd_close(&fd);
        return status;
    }
    bool is_privileged = connection_peer_is_privileged(server, fd, &peer);
    const char *rule = too_many(server, peer.uid, is_privileged);
    if (rule != NULL) {
        refuse(server, fd, rule);
        fd_close(&fd);
        return STATUS_RESOURCE_EXHAUSTED;
    }
    return connection_open(server, fd, &peer, is_privileged);
}

static void open_spare(struct rpc_server *server)
{
    if (server->spare < 0)
        server->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void pause_accepting(struct rpc_server *server)
{
    ev_io_stop(server->loop, &server->on_accept);
    ev_timer_set(&server->accept_pause, accept_pause_s, 0);
    ev_timer_start(server->loop, &server->accept_pause);
}

/* One client is told to come back, by way of the spare descriptor. */
static void on_descriptors_gone(struct rpc_server *server, int error)
{
    log_failure(status_from_errno(error), "accept", "reason", strerror(error));
    fd_close(&server->spare);
    int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        refuse(server, fd, "out of descriptors");
    fd_close(&fd);
    open_spare(server);
    pause_accepting(server);
}

static void on_accept(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop;
    (void)events;
    struct rpc_server *server = watcher->data;
    for (int i = 0; i < ACCEPTED_PER_TURN_MAX; i++) {
        int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            (void)rpc_server_adopt(server, fd); /* a refusal was sent to the one it concerns */
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            on_descriptors_gone(server, errno);
        else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            log_failure(status_from_errno(errno), "accept", "reason", strerror(errno));
            pause_accepting(server);
        }
        return;
    }
}

static void on_accept_pause_over(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)events;
    struct rpc_server *server = watcher->data;
    open_spare(server);
    if (!server->is_stopped)
        ev_io_start(loop, &server->on_accept);
}

/* ---- opening and closing ---- */

static void receive_free(const struct rpc_service *service, uint8_t *receive)
{
    if (service->memory == NULL)
        free(receive);
    else if (receive != NULL)
        service->memory->give(service->memory, receive, RECEIVE_BYTES);
}

enum status rpc_server_open_with(struct rpc_server **server, struct ev_loop *loop,
                                 const struct rpc_service *service, int listener,
                                 const struct rpc_limits *limits)
{
    struct rpc_server *opened = calloc(1, sizeof *opened);
    struct memory *memory = service->memory;
    uint8_t *receive = memory == NULL ? malloc(RECEIVE_BYTES) : memory->take(memory, RECEIVE_BYTES);
    if (opened == NULL || receive == NULL) {
        free(opened);
        receive_free(service, receive);
        fd_close(&listener);
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "open server", "reason", "out of memory");
    }
    opened->loop = loop;
    opened->service = service;
    opened->limits = *limits;
    opened->listener = listener;
    opened->spare = -1;
    opened->receive = receive;
    opened->arena.limit = ARENA_BYTES_MAX;
    opened->arena.memory = opened->params.memory = opened->canonical.memory = memory;
    opened->params.limit = opened->canonical.limit = FRAME_BYTES_MAX + MESSAGE_OVERHEAD_BYTES;
    turn_open(opened);
    open_spare(opened);
    ev_timer_init(&opened->accept_pause, on_accept_pause_over, 0, 0);
    opened->accept_pause.data = opened;
    ev_io_init(&opened->on_accept, on_accept, listener, EV_READ);
    opened->on_accept.data = opened;
    if (listener >= 0)
        ev_io_start(loop, &opened->on_accept);
    *server = opened;
    return STATUS_OK;
}

enum status rpc_server_open(struct rpc_server **server, struct ev_loop *loop,
                            const struct rpc_service *service, int listener)
{
    const struct rpc_limits limits = rpc_limits_default();
    return rpc_server_open_with(server, loop, service, listener, &limits);
}

void rpc_server_close(struct rpc_server **server)
{
    struct rpc_server *closed = *server;
    if (closed == NULL)
        return;
    *server = NULL;
    rpc_server_stop_intake(closed);
    turn_close(closed);
    while (closed->connections != NULL)
        connection_close(closed->connections);
    while (closed->orphans != NULL)
        call_outlive(closed->orphans);
    fd_close(&closed->listener);
    fd_close(&closed->spare);
    free(closed->spare_call);
    arena_close(&closed->arena);
    buffer_close(&closed->params);
    buffer_close(&closed->canonical);
    receive_free(closed->service, closed->receive);
    free(closed);
}

void rpc_server_stop_intake(struct rpc_server *server)
{
    if (server == NULL || server->is_stopped)
        return;
    server->is_stopped = true;
    ev_io_stop(server->loop, &server->on_accept);
    ev_timer_stop(server->loop, &server->accept_pause);
    struct rpc_connection *connection;
    DL_FOREACH(server->connections, connection)
    connection_watch(connection);
}

size_t rpc_server_owed(const struct rpc_server *server)
{
    size_t unsent = 0;
    if (server == NULL)
        return 0;
    const struct rpc_connection *connection;
    DL_FOREACH(server->connections, connection)
    unsent += output_unsent(&connection->output);
    return turn_calls(server) + unsent;
}

size_t rpc_server_connections(const struct rpc_server *server)
{
    return server->stats.connections;
}

struct rpc_server_stats rpc_server_stats(const struct rpc_server *server)
{
    return server->stats;
}
