#ifndef SOLO_COMMON_RPC_TURN_H
#define SOLO_COMMON_RPC_TURN_H

#include "common/rpc/server.h"
#include "common/rpc/shares.h"

/* One turn of a server's loop: requests arrive and run; then, before the loop sleeps, what they
 * wrote is committed, the answers are queued and each connection that has some is sent to once. */

/* An answer that waits for the commit: its bytes in batch.bytes. */
struct held_answer {
    struct rpc_connection *connection; /* NULL when it has gone */
    uint64_t msgid;
    size_t start, size;
    int file;                      /* goes out with it, or -1 */
    const struct rpc_route *route; /* of the request, kept to be run again; NULL: it is not */
    size_t params_start, params_size;
};

struct batch {
    bool is_open;
    struct buffer bytes;
    struct held_answer *answers;
    size_t count, capacity;
    size_t request_bytes;
    struct buffer params; /* of the requests whose answers wait */
    bool is_repeat;       /* of what did not fit */

    /* how long it may still collect: see batch_may_grow */
    uint64_t number;       /* of this batch, from 2: see rpc_connection.batch_number */
    size_t clients;        /* that asked for what is in it */
    size_t clients_before; /* in the last one */
    size_t returned;       /* of `clients`: were in the last one, too */
    size_t expected;       /* clients of the last two */
    size_t looked_clients; /* at the last look, which was at looked_ns */
    uint64_t looked_ns, waited_ns;
    uint64_t commit_ns; /* what the last commit took */
};

struct rpc_server {
    struct ev_loop *loop;
    const struct rpc_service *service;
    struct rpc_limits limits;

    int listener;
    int spare; /* given up for a moment when descriptors run out */
    struct ev_io on_accept;
    struct ev_timer accept_pause;
    bool is_stopped;

    double now_s; /* when the loop woke up: for times of connections, which need no better */
    struct ev_check after_sleep;
    struct ev_prepare before_sleep;
    struct ev_idle wake; /* runs while something is left to do: then the loop must not sleep */
    struct rpc_connection *connections;
    struct rpc_connection *attention; /* that have something to send, or must be closed */
    struct rpc_connection *resumed;   /* whose buffered requests may go on */

    struct call_entry *orphans; /* deferred calls whose connection has gone */
    struct call_entry *spare_call;
    struct shares deferred; /* calls, orphans included */
    size_t big_frames;
    size_t unsent_bytes; /* of all connections, as of the last turn */

    struct batch batch;
    struct arena arena;
    struct buffer params;    /* a request's params without request_id and token */
    struct buffer canonical; /* the same as its table writes them, for the body hash */
    uint8_t *receive;        /* RECEIVE_BYTES, for whichever connection is read */

    struct rpc_server_stats stats;
    double log_second; /* connections cut off are logged, but not without bound */
    unsigned logged;
};

enum { RECEIVE_BYTES = 64 * 1024 };

void turn_open(struct rpc_server *server);
void turn_close(struct rpc_server *server);

/* Has the connection sent to, or closed, before the loop sleeps. */
void turn_attend(struct rpc_connection *connection);

/* Commits a batch that is full. Before a request is read: a batch that finds no space is run again,
 * in the memory that holds the request which is being worked on. */
void turn_make_room(struct rpc_server *server);
/* Opens the turn's transaction with the first request that writes. */
enum status turn_begin(struct rpc_server *server, size_t request_bytes);
/* Where the answer of a call that writes is put; turn_hold_end closes it. */
struct buffer *turn_hold_begin(struct rpc_server *server);
void turn_hold_end(struct rpc_connection *connection, uint64_t msgid, size_t start, int file);
/* Whether the answer to this call is the only one that was held since there were `before`. */
bool turn_holds(const struct rpc_connection *connection, uint64_t msgid, size_t before);
/* Keeps the request of the newest held answer: should the store have no room for the batch, it is
 * run again. */
void turn_hold_request(struct rpc_server *server, const struct rpc_route *route,
                       struct span params);
/* An answer was put into the connection's output: it is sent before the loop sleeps, with `file`
 * unless that is -1. */
void turn_answer_file(struct rpc_connection *connection, size_t bytes, int file);
/* The connection goes before the commit: what waits for it is committed, but answered to nobody. */
void turn_forget(struct rpc_connection *connection);

/* Open calls, held answers included. */
size_t turn_calls(const struct rpc_server *server);

#endif
