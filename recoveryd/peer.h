#ifndef SOLO_RECOVERYD_PEER_H
#define SOLO_RECOVERYD_PEER_H

#include "common/api/api.h"
#include "common/rpc/client.h"

/* A daemon that is asked one thing after the other, each answer waited for. */
struct peer {
    struct ev_loop *loop;
    struct rpc_client *client;
};

/* `options` without identity: ours is added by who opens it. */
enum status peer_open(struct peer *peer, const struct rpc_client_options *options);
/* The daemon of this name in RUN, as recoveryd. unavailable, not logged, when nobody listens. */
enum status peer_open_daemon(struct peer *peer, const char *run_dir, const char *daemon);
enum status peer_ask(struct peer *peer, uint64_t timeout_ms, const struct method *method,
                     const void *request, struct arena *arena, void *reply,
                     struct problem *problem);
void peer_close(struct peer *peer); /* a zeroed one is fine */

#endif
