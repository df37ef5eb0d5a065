#ifndef SOLO_RECOVERYD_VAULT_CHECK_H
#define SOLO_RECOVERYD_VAULT_CHECK_H

#include "common/base/buffer.h"
#include "common/daemon/settings.h"
#include "recoveryd/findings.h"

/* The vault as vaultd, which alone may read it, tells of it. */
enum { VAULT_STATE_BYTES = 17 };
struct vault_view {
    char state[VAULT_STATE_BYTES]; /* "open", "sealed", "damaged", "not running", "not shown" */
    uint64_t secrets, versions;    /* while it is open: as their lists say */
    bool is_verified;              /* each version was opened for this report */
    uint64_t verified_ns;          /* wall clock: when it was done last; 0: never */
    uint64_t readable, damaged;    /* then: versions */
};

/* How much of it is looked at: what vaultd knows, or every version of every secret; at a recovery
 * only as long as nobody minds the wait. */
enum vault_depth { VAULT_LOOK, VAULT_VERIFY_SOON, VAULT_VERIFY };

/* `secret_damaged` for each name that cannot be opened, `vault_damaged` for the whole of it. A
 * vault that is sealed or not there finds nothing: its state says so. */
enum status vault_check(const struct settings *settings, enum vault_depth depth,
                        struct findings *findings, struct vault_view *view);

/* "Vault    open, 12 secrets, 15 versions: all readable" and a line end; of an earlier verification
 * it says when that was. */
void vault_view_write_text(const struct vault_view *view, struct buffer *text);
/* A key and its map. */
void vault_view_write_map(const struct vault_view *view, struct buffer *map);

#endif
