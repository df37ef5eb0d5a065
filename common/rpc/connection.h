#ifndef SOLO_COMMON_RPC_CONNECTION_H
#define SOLO_COMMON_RPC_CONNECTION_H

#include <sys/socket.h>

#include "common/rpc/output.h"
#include "common/rpc/passed.h"
#include "common/rpc/turn.h"
#include "common/wire/frame_scanner.h"

/* One client: its bytes in and out, its bounds and its time limits. Idle it owns no buffer.
 *
 * open -> closing (broke the protocol: what is queued goes out, nothing is read) -> doomed (closed
 * before the loop sleeps). Only connection_close frees it, and only the turn calls that. */
struct rpc_connection {
    struct rpc_server *server;
    struct rpc_connection *next, *previous; /* server->connections */
    struct rpc_connection *next_attended, *next_resumed;
    int fd;
    uid_t uid;
    gid_t gid;
    pid_t pid;
    bool is_privileged; /* may use what is kept free: see connection_peer_is_privileged */
    char daemon[16];
    bool has_group, is_in_group; /* what was asked last, and the answer */
    gid_t group;

    struct ev_io watcher;
    struct ev_timer timer;
    double timer_due; /* when it fires */

    struct buffer input; /* of a frame that is not complete, or of requests that wait */
    struct frame_scanner scanner;
    struct output output;
    struct passed passed; /* where the service takes descriptors */

    size_t unsent_before; /* at the end of the last turn: counted in server->unsent_bytes */

    struct call_entry *calls; /* deferred */
    size_t call_count;        /* deferred and held */
    uint64_t batch_number;    /* the last batch that it had a part in; 0: none */

    double frame_since; /* first byte of an incomplete frame; 0 without one */
    double active_at;   /* something came */
    double progress_at; /* something went out, or began to wait */
    double closing_at;
    bool is_attended, is_resumed, is_paused, is_closing, is_doomed, holds_big_frame;
};

/* Takes the descriptor; it is closed on failure. */
enum status connection_open(struct rpc_server *server, int fd, const struct ucred *peer,
                            bool is_privileged);
/* Tells deferred calls that their connection has gone. */
void connection_close(struct rpc_connection *connection);

/* Runs the requests that are buffered, as far as the bounds allow. */
void connection_process(struct rpc_connection *connection);

/* Sends once; then on_drained, resuming, watchers and times. */
void connection_flush(struct rpc_connection *connection);

/* Whether something that a client caused may be logged: ten times a second. */
bool connection_may_log(struct rpc_server *server);
void connection_doom(struct rpc_connection *connection, const char *why);
/* One line in the diagnostics for a request that got no further than its checks, if one may be
 * logged. `method` may be "". */
void connection_log_refusal(struct rpc_connection *connection, const char *method,
                            const struct problem *problem);

/* An error that speaks of the connection (or of the one request that broke the protocol), then the
 * end. */
void connection_refuse(struct rpc_connection *connection, uint64_t msgid,
                       const struct problem *problem);

/* Whether who connected may use what is kept free: root, our own uid, and the members of the
 * service's groups. Asked once: the bit is the connection's. */
bool connection_peer_is_privileged(const struct rpc_server *server, int fd,
                                   const struct ucred *peer);
bool connection_peer_in_group(int fd, gid_t own, gid_t group);
void connection_watch(struct rpc_connection *connection);

#endif
