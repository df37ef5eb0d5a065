#ifndef SOLO_COMMON_RPC_CLIENT_LINK_H
#define SOLO_COMMON_RPC_CLIENT_LINK_H

#include "common/base/limits.h"
#include "common/rpc/output.h"
#include "common/rpc/passed.h"
#include "common/rpc/pending.h"
#include "common/wire/frame_scanner.h"

/* The inside of a client: its connection, and how calls end.
 *
 * away -> (greeting ->) ready -> away. In `greeting` daemon.hello has been sent and nothing else.
 */
enum {
    CLIENT_RECEIVE_BYTES = 64 * 1024,
    CLIENT_RECEIVE_BYTES_FIRST = 8 * 1024, /* while no frame is incomplete */
    CLIENT_REPLY_BYTES_MAX = FRAME_BYTES_MAX + 2 * MESSAGE_OVERHEAD_BYTES,
    CLIENT_DAEMON_BYTES = 16,
    CLIENT_KEY_BYTES_MAX = 64,
};

enum client_state { CLIENT_AWAY, CLIENT_GREETING, CLIENT_READY };

struct rpc_client {
    struct ev_loop *loop;
    struct rpc_client_options options;
    char *path;
    char daemon[CLIENT_DAEMON_BYTES];
    uint8_t key[CLIENT_KEY_BYTES_MAX];
    size_t key_bytes;
    struct buffer token;

    enum client_state state;
    int fd;
    struct ev_io watcher;
    struct ev_prepare before_sleep;
    struct ev_idle wake;
    struct ev_timer deadline, backoff;
    double backoff_s;
    double deadline_due;
    struct problem away;  /* why there is no connection */
    uint64_t absent_ns;   /* when first nobody listened; 0: somebody does */
    bool was_turned_away; /* the server refused the connection before it took anything */
    bool has_answered;    /* a frame came over this connection */

    struct buffer input;
    struct frame_scanner scanner;
    struct output output;
    struct passed passed;
    int reply_file; /* came with the answer that is being told */
    struct pending pending;
    struct arena arena;
    struct buffer scratch;
    unsigned callbacks; /* on the stack */
    bool is_closed;     /* by one of those: freed when the last returns */
};

/* Sets the watchers up; nothing is connected yet. */
void client_link_open(struct rpc_client *client);
/* Stops everything. Inside a callback the memory is kept until the last callback returns. */
void client_link_close(struct rpc_client *client);

/* Has the loop take a step of this client before it sleeps: connect, send. */
void client_wake(struct rpc_client *client);

/* Around everything that may call back: a callback may close its client. */
void client_enter(struct rpc_client *client);
void client_leave(struct rpc_client *client);

/* Ends those of the calls made until now for which `ends` fills in a problem. */
void client_end_calls(struct rpc_client *client,
                      bool (*ends)(struct rpc_client *, struct pending_call *, struct problem *));

#endif
