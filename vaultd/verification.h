#ifndef SOLO_VAULTD_VERIFICATION_H
#define SOLO_VAULTD_VERIFICATION_H

#include <ev.h>

#include "common/api/api.h"
#include "common/rpc/server.h"
#include "vaultd/vault.h"

/* vault.verify: every tenant is compared with its manifest, every version is opened. It walks one
 * snapshot, in slices between the turns of callers; one walk at a time. */
struct verification {
    struct vault *vault;
    struct ev_loop *loop;
    struct ev_timer slice;
    struct rpc_call *call; /* NULL while none is answered */
    struct db_txn snapshot;
    char tenant[NAME_BYTES_MAX + 1]; /* that is being walked */
    char after[NAME_BYTES_MAX + 1];  /* the secret that was done last */
    uint8_t *value;                  /* of the pool */
    struct buffer names;             /* of what is damaged */
    size_t name_count;
    struct vault_verify_reply found;
};

void verification_open(struct verification *verification, struct vault *vault,
                       struct ev_loop *loop);
void verification_close(struct verification *verification);

/* Answers later. resource_exhausted while another one is under way. */
enum status verification_begin(struct verification *verification, struct rpc_call *call);

#endif
