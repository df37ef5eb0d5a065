#ifndef SOLO_TESTS_UNIT_COMMON_RPC_CLIENT_SCENE_H
#define SOLO_TESTS_UNIT_COMMON_RPC_CLIENT_SCENE_H

#include "common/base/auto.h"
#include "tests/unit/common/rpc/fixture.h"

/* What became of the calls that were given this as their context. */
struct outcome {
    unsigned count, notified;
    enum status status;
    struct problem problem;
    uint64_t number, last_notified;
    struct rpc_client **close_in_reply, **call_in_reply;
    const struct method *next_method;
};

void outcome_reply(void *context, enum status status, const struct problem *problem,
                   const void *reply);
void outcome_notify(void *context, const char *method, struct span params);

/* The caller closes it. */
struct rpc_client *client_open_at(struct ev_loop *loop, const char *path);
#define CLIENT(fixture)                                                                            \
    AUTO(rpc_client_close)                                                                         \
    struct rpc_client *client = client_open_at((fixture)->loop, (fixture)->path)

/* The handle of an echo request that was given to the client; its answer goes to `outcome`. */
uint64_t client_ask(struct rpc_client *client, const struct method *method, unsigned flags,
                    uint64_t timeout_ms, struct outcome *outcome);

#endif
