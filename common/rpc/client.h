#ifndef SOLO_COMMON_RPC_CLIENT_H
#define SOLO_COMMON_RPC_CLIENT_H

#include <ev.h>

#include "common/base/problem.h"
#include "common/base/uuid.h"
#include "common/rpc/method.h"

/* A connection to one daemon, kept for as long as the client lives: it is made at the first call
 * and made again (with backoff, 10 ms to 1 s) when it breaks. Calls are pipelined.
 *
 * A call with RPC_RETRY stays queued while the daemon is away and is sent again after a reconnect,
 * up to its deadline; use it for reads and for mutations with a request_id or source number.
 * Without it a broken connection ends the call with `unavailable` (not sent) or `unknown` (sent, no
 * answer). */
enum { RPC_RETRY = 1 };

/* What a call has done, as far as its status tells:
 *
 *   ok                          it was done
 *   unknown                     it may have been done: the connection broke after it was sent, or
 * the daemon could not tell deadline_exceeded           it may have been done, or be done yet: no
 * answer came in time cancelled, internal         it may have been done: nobody waited, or the
 * answer cannot be read unavailable                 nothing was done: it was not sent, or the
 * daemon refused it every other                 nothing was done: the daemon refused it
 *
 * This holds over all sendings of a call with RPC_RETRY: one whose method mutates and that was sent
 * over a connection that broke ends with `unknown` where a later sending was merely not possible or
 * not admitted. Repeat what is unknown with the same request_id. */
enum rpc_effect { RPC_DONE, RPC_NOT_DONE, RPC_UNKNOWN };
enum rpc_effect rpc_effect_of(enum status status);

struct rpc_client;

struct rpc_client_options {
    const char *path; /* of the socket; copied */
    /* Presented in daemon.hello on each connection, when not NULL: our name, and the run's key. */
    const char *daemon;
    struct span key;
    struct span token; /* sent with every call, when not empty; copied */
    /* For how long nobody may listen at the socket (a parent keeps it open over a restart) before
     * calls with RPC_RETRY are given up, too; 0: until their time is over. */
    uint64_t absence_ms_max;
    /* May be NULL. Runs when the connection was made or has broken. */
    void (*on_connection)(void *context, bool is_connected);
    void *context;
};

enum status rpc_client_open(struct rpc_client **client, struct ev_loop *loop,
                            const struct rpc_client_options *options);
/* Ends every pending call with `cancelled`, without calling back, and closes. */
void rpc_client_close(struct rpc_client **client);
size_t rpc_client_pending(const struct rpc_client *client);

/* Called once per call, never from within rpc_client_call. `reply` is NULL on failure; it and the
 * problem live until the callback returns. */
typedef void (*rpc_on_reply)(void *context, enum status status, const struct problem *problem,
                             const void *reply);
/* For streams: each notification, before the call's reply. */
typedef void (*rpc_on_notify)(void *context, const char *method, struct span params);

struct rpc_call_options {
    unsigned flags;
    uint64_t timeout_ms;           /* 0: none */
    const struct uuid *request_id; /* sent when not NULL */
    rpc_on_reply on_reply;
    rpc_on_notify on_notify; /* streams only */
    void *context;
    /* Goes with the request when has_file, without RPC_RETRY only: the client's from the call on,
     * also when that fails. */
    int file;
    bool has_file;
};

/* resource_exhausted when CLIENT_PENDING_MAX calls are pending; then on_reply is not called.
 * `handle` (may be NULL) names the call for rpc_client_cancel. */
enum status rpc_client_call(struct rpc_client *client, const struct method *method,
                            const void *request, const struct rpc_call_options *options,
                            uint64_t *handle);
/* Forgets a call; its callback will not run. A stream's connection is left open. */
void rpc_client_cancel(struct rpc_client *client, uint64_t handle);
/* Inside on_reply: the descriptor that came with the answer, the caller's from now on; -1 when none
 * did, or it was taken. */
int rpc_client_take_file(struct rpc_client *client);

/* Calls and waits, running the client's loop until the answer is there. For one-shot programs; the
 * client must have been opened on a loop that nobody else runs. The reply is decoded into `reply`,
 * with its strings in `arena`. */
enum status rpc_client_call_wait(struct rpc_client *client, const struct method *method,
                                 const void *request, const struct rpc_call_options *options,
                                 struct arena *arena, void *reply, struct problem *problem);

#endif
