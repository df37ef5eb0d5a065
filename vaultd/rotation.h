#ifndef SOLO_VAULTD_ROTATION_H
#define SOLO_VAULTD_ROTATION_H

#include <ev.h>

#include "common/api/api.h"
#include "common/rpc/server.h"
#include "vaultd/vault.h"

/* New data keys. A rotation begins with a new epoch for new versions; what is there is sealed again
 * in slices between the turns of callers, and a tenant's old keys are destroyed in the transaction
 * of its last slice. That of all tenants begins tenant by tenant, in slices, too. Where it stands
 * is in the rows: after a crash it goes on by itself.
 *
 * A version that does not open keeps its old key and its tenant's rotation unfinished, until it is
 * destroyed or a backup is restored. */

/* How much a slice does follows from how long those before it took, with their commits. */
enum { ROTATION_SLICE_VERSIONS_MAX = 64, ROTATION_SLICE_BYTES = 128 * 1024 };

struct rotation {
    struct vault *vault;
    struct ev_loop *loop;
    struct ev_timer slice;
    char tenant[NAME_BYTES_MAX + 1]; /* that is being worked on; "" for none */
    char after[NAME_BYTES_MAX + 1];  /* the secret that was done last */
    bool has_leftover;               /* versions of it that did not open */
    size_t at_once;                  /* versions in the next slice, at most */
    struct manifests_names {
        char names[TENANTS_MAX][NAME_BYTES_MAX + 1]; /* passed over until something changes */
        size_t count;
    } unfinished;
};

void rotation_open(struct rotation *rotation, struct vault *vault, struct ev_loop *loop);
void rotation_close(struct rotation *rotation);

/* Looks for old keys and goes on: after the vault was opened, and after a destruction. */
void rotation_wake(struct rotation *rotation);

/* vault.rotate, within a turn. */
enum status rotation_begin(struct rotation *rotation, struct rpc_call *call,
                           const struct vault_rotate_request *request,
                           struct vault_rotate_reply *reply);

/* One slice, in a turn of its own; *is_more when another is due. For the timer, and for tests. */
enum status rotation_slice(struct rotation *rotation, bool *is_more);

#endif
