#ifndef SOLO_COMMON_RPC_SERVER_H
#define SOLO_COMMON_RPC_SERVER_H

#include <ev.h>
#include <sys/types.h>

#include "common/base/arena.h"
#include "common/base/hash.h"
#include "common/base/limits.h"
#include "common/base/memory.h"
#include "common/base/name.h"
#include "common/base/problem.h"
#include "common/base/uuid.h"
#include "common/rpc/method.h"

/* MessagePack-RPC over a Unix stream socket. The normal path of a request: bytes are read, the
 * scanner finds a frame, the method is looked up, the caller is authorised, the fields are checked,
 * the handler runs. Methods that write run inside one transaction per turn of the loop: begun with
 * the first of them, committed before the loop sleeps, and only then answered.
 *
 * Everything is bounded (common/base/limits.h); a connection that breaks the protocol gets an error
 * with msgid 0 where that is possible and is closed. */

/* Who shows a token with the permission `admin` is an operator. */
enum caller_kind { CALLER_NOBODY, CALLER_OPERATOR, CALLER_DAEMON, CALLER_TOKEN };

struct caller {
    enum caller_kind kind;
    uid_t uid;
    pid_t pid;
    char daemon[16];                 /* "deployd", for CALLER_DAEMON */
    char tenant[NAME_BYTES_MAX + 1]; /* for CALLER_TOKEN: the one whose things it may touch */
    uint32_t permissions;            /* for CALLER_TOKEN: see permission_bit */
    char accessor[32];               /* of the token that was sent; "" without one */
    struct hash token;               /* SHA-256 of that token's text, to look at it again */
};

/* One call, from its request until its answer. Belongs to the server; a deferred call stays valid
 * until it is answered, also when its connection has gone. */
struct rpc_call {
    const struct method *method;
    struct caller caller;
    struct uuid request_id; /* as sent, or drawn here: then !has_request_id */
    bool has_request_id;
    bool has_token; /* a token was sent, good or bad */
    /* Method and params without request_id and token; METHOD_MUTATES only, and not METHOD_SECRET.
     */
    struct hash body_hash;
    struct problem problem; /* filled by a handler that refuses */
    struct arena *arena;    /* for the reply's strings; lives until the handler returns */
    void *user;             /* free for the handler of a deferred call */
    /* Called once if the connection goes before the answer; may be NULL. The call must still be
     * answered (which then sends nothing) or dropped with rpc_call_drop. */
    void (*on_gone)(struct rpc_call *call);
    struct rpc_connection *connection;
    uint64_t msgid;
    /* A descriptor that came with the request, or -1; a handler that keeps it sets this to -1. */
    int file;
};

/* Returns STATUS_OK with `reply` filled, or a status with call->problem filled (rpc fills in a
 * plain one otherwise), or STATUS_OK after rpc_call_defer. Request strings live until it returns.
 */
typedef enum status (*rpc_handler)(void *context, struct rpc_call *call, const void *request,
                                   void *reply);

struct rpc_route {
    const struct method *method;
    rpc_handler handle;
};

/* Groups whose members are preferred: operators, and daemons that run as users of their own. */
struct rpc_groups {
    gid_t gids[2];
    size_t count;
};

struct rpc_service {
    /* Where everything that clients send, and what they are answered, lies meanwhile, when that is
     * not the heap: locked, and wiped as soon as it was sent on. */
    struct memory *memory;
    bool takes_files;               /* some requests come with a descriptor */
    const struct rpc_route *routes; /* ended by a NULL method */
    void *context;
    /* Who may use what is kept free, besides root and our own uid; NULL: nobody. */
    const struct rpc_groups *privileged;
    /* Who is calling, and may they? Fills call->caller or refuses; runs for every request, when its
     * id is known and its fields are not. `token` is what was sent; its data is NULL when nothing
     * was. */
    enum status (*authorise)(void *access, struct rpc_call *call, struct span token);
    /* Whose things does the request name? Runs when its fields have been read; refuses, or narrows
     * `request` to what the caller may ask about. May be NULL. */
    enum status (*narrow)(void *access, struct rpc_call *call, void *request);
    /* Can it be served? Runs before the handler of a method that is not METHOD_COMMON, and before
     * the turn's transaction begins; fills call->problem when it refuses. May be NULL. */
    enum status (*may_serve)(void *context, struct rpc_call *call);
    /* Runs with every answer that is a refusal, the handler's own and those of deferred calls too:
     * for who counts them. May be NULL. */
    void (*refused)(void *access, const struct rpc_call *call, enum status status);
    void *access;
    /* For METHOD_WRITES; NULL where no method writes. A failed commit (its status is logged by it)
     * is answered as `unknown`, or as data_loss when commit says so: then nothing happened.
     * resource_exhausted: there is no room, nothing happened either. Then what did not carry a
     * secret or a descriptor is handled once more, between another begin and commit, and should be
     * refused if it makes the store grow. */
    enum status (*begin)(void *context);
    enum status (*commit)(void *context);
    void (*abort)(void *context);
    /* Runs after a commit's answers were queued: the place to wake watches. May be NULL. */
    void (*committed)(void *context);
};

struct rpc_server;

/* Listens on `listener` (owned by the server from now on). The service must outlive the server. */
enum status rpc_server_open(struct rpc_server **server, struct ev_loop *loop,
                            const struct rpc_service *service, int listener);

/* The bounds of one server; each starts as common/base/limits.h has it. Times in milliseconds. */
struct rpc_limits {
    size_t connections_max, connections_reserved, connections_per_uid_max;
    size_t calls_per_connection_max;
    size_t calls_max, calls_reserved; /* the reserve is for METHOD_URGENT */
    size_t big_frames_max;            /* requests over FRAME_BYTES_SMALL that arrive at once */
    size_t unread_bytes_max, unread_bytes_total_max;
    size_t batch_answer_bytes_max; /* answers that wait for a commit, together */
    uint64_t frame_complete_ms, idle_ms, unread_ms;
    bool only_groups_are_privileged; /* root and our own uid are strangers, too */
};
struct rpc_limits rpc_limits_default(void);
/* With other bounds, for tests; `listener` may be -1. */
enum status rpc_server_open_with(struct rpc_server **server, struct ev_loop *loop,
                                 const struct rpc_service *service, int listener,
                                 const struct rpc_limits *limits);
/* Serves a socket that is connected already; owned by the server from now on, also on failure. */
enum status rpc_server_adopt(struct rpc_server *server, int fd);

struct rpc_server_stats {
    uint64_t connections, accepted, refused, cut_off;
    uint64_t requests, notifications_ignored, commits;
};
struct rpc_server_stats rpc_server_stats(const struct rpc_server *server);
/* Closes connections and listener; deferred calls become orphans that may still be answered. */
void rpc_server_close(struct rpc_server **server);

/* Stops accepting and reading; answers still go out. For the drain at shutdown. NULL, here and in
 * rpc_server_owed, is a server that was not opened yet. */
void rpc_server_stop_intake(struct rpc_server *server);
/* Calls that have a request but no answer yet, and bytes not yet sent. */
size_t rpc_server_owed(const struct rpc_server *server);
size_t rpc_server_connections(const struct rpc_server *server);

/* Inside a handler: the answer comes by way of rpc_call_reply or rpc_call_fail. Copy what is needed
 * of the request. */
void rpc_call_defer(struct rpc_call *call);
void rpc_call_reply(struct rpc_call *call, const void *reply);
/* The answer, when it is no refusal, goes out with this descriptor; the call's from now on. */
void rpc_call_give(struct rpc_call *call, int fd);
void rpc_call_fail(struct rpc_call *call, enum status status, const struct problem *problem);
/* Forgets a call whose connection has gone, without an answer. */
void rpc_call_drop(struct rpc_call *call);

/* METHOD_STREAMS, while the call is deferred: sends [2, method, [msgid, params]] with `params` one
 * packed map. resource_exhausted when the client is more than UNREAD_BYTES_MAX behind: end the
 * call. */
enum status rpc_call_notify(struct rpc_call *call, const char *method, struct span params);
/* Bytes that wait for this client to read. */
size_t rpc_call_unread(const struct rpc_call *call);
/* Runs `on_drained` once, when all that waits has been sent. */
void rpc_call_on_drained(struct rpc_call *call, void (*on_drained)(struct rpc_call *call));

/* Inside `authorise`, which then returns OK: whether the caller may is not known yet. The request
 * is kept, and goes on with rpc_call_authorised; if its connection goes before, on_gone tells. Not
 * for METHOD_WRITES. */
void rpc_call_authorise_later(struct rpc_call *call);
/* OK: the request goes on, with what call->caller says now. Otherwise call->problem is its refusal.
 */
void rpc_call_authorised(struct rpc_call *call, enum status status);

/* Whether a line about this call may be logged: what comes from outside must not fill the log. Ten
 * a second for all calls together, the server's own lines included. */
bool rpc_call_may_log(const struct rpc_call *call);

/* Marks the connection's peer as a daemon (daemon.hello). */
void rpc_call_set_daemon(struct rpc_call *call, const char *daemon);

/* SO_PEERCRED of the connection; and whether the peer is in `group` (SO_PEERGROUPS). */
bool rpc_call_peer_in_group(const struct rpc_call *call, gid_t group);

#endif
