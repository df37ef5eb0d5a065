#ifndef SOLO_VAULTD_OPENING_H
#define SOLO_VAULTD_OPENING_H

#include "common/api/api.h"
#include "common/rpc/server.h"
#include "vaultd/passphrase.h"
#include "vaultd/vault.h"

/* What opens the vault, and what changes its key: one request at a time.
 *
 *     nothing -> deriving (a passphrase, on its thread) -> due -> nothing
 *
 * What is due waits until no turn is open: it is a transaction of its own. */
enum opening_state { OPENING_NOTHING, OPENING_DERIVING, OPENING_DUE };

struct opening {
    struct vault *vault;
    struct ev_loop *loop;
    enum opening_state state;
    struct derivation derivation;
    struct ev_timer again;
    struct rpc_call *call; /* that asked; NULL when it has gone */
    bool is_rekey;
    struct secret kek; /* empty: the one that there is */
    struct master_row parameters;
    void (*on_open)(void *context); /* each time it opens; set by the owner */
    void *context;
};

void opening_open(struct opening *opening, struct vault *vault, struct ev_loop *loop);
void opening_close(struct opening *opening);

/* At the start of vaultd: with the key file or credential, when the vault opens so and was not
 * sealed on purpose. It stays sealed with a reason otherwise. */
void opening_begin(struct opening *opening);

/* Answer later. resource_exhausted while another one is under way. */
enum status opening_unseal(struct opening *opening, struct rpc_call *call,
                           const struct vault_unseal_request *request,
                           struct vault_unseal_reply *reply);
enum status opening_rekey(struct opening *opening, struct rpc_call *call,
                          const struct vault_rekey_request *request);

#endif
