#ifndef SOLO_VAULTD_DELIVERY_H
#define SOLO_VAULTD_DELIVERY_H

#include <ev.h>

#include "common/api/api.h"
#include "common/rpc/server.h"
#include "vaultd/vault.h"

/* The secrets of services that are being started: each start has its values in a memfd of its own,
 * sealed, that goes with the answer. */
struct delivery {
    struct vault *vault;
    struct ev_loop *loop; /* NULL: closed */
    struct ev_prepare before_sleep;
    uint64_t begun;                            /* another one in each vaultd */
    uint64_t told;                             /* the change that was told last */
    struct rpc_call *awaits[VAULT_AWAITS_MAX]; /* of secret.await; NULL where nobody waits */
};

void delivery_open(struct delivery *delivery, struct vault *vault, struct ev_loop *loop);
/* Refuses who waits. */
void delivery_close(struct delivery *delivery);

/* Within a turn. A refusal has the name of the secret that it is about in `name`, if it is about
 * one, and says it; nothing was told to the log then. */
enum status delivery_make(struct delivery *delivery, struct rpc_call *call,
                          const struct secret_deliver_request *request,
                          char name[NAME_BYTES_MAX + 1], uint64_t *count);

/* Answers at once, or later. */
enum status delivery_await(struct delivery *delivery, struct rpc_call *call, uint64_t change,
                           uint64_t *present);

#endif
