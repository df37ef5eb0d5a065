#ifndef SOLO_VAULTD_NEW_KEYS_H
#define SOLO_VAULTD_NEW_KEYS_H

#include "vaultd/vault.h"

/* The next data key of a tenant, for new versions from now on: where each rotation begins. All are
 * called within a turn. */

/* A tenant that was compared with its manifest; adds its versions to *versions. */
enum status new_keys_for(struct vault *vault, const char *tenant, uint64_t *versions);
/* All tenants, by new_keys_go_on; one that is under way begins again. */
enum status new_keys_for_all(struct db_txn *txn);
/* For about two milliseconds, if that is under way. A damaged tenant keeps its key. */
enum status new_keys_go_on(struct vault *vault, bool *is_going);
/* Tenants that have an old key, or are to have a new one. */
enum status new_keys_left(struct db_txn *txn, uint64_t *tenants);

#endif
