#ifndef SOLO_VAULTD_META_ROWS_H
#define SOLO_VAULTD_META_ROWS_H

#include "common/access/access.h"
#include "common/db/db.h"
#include "vaultd/rows.h"

/* The vault's rows in `meta`, of which there is one each. */

/* The wrapped master key. not_found: the vault has none yet; data_loss: any more. */
enum status meta_master(struct db_txn *txn, struct master_row *row);
enum status meta_master_put(struct db_txn *txn, const struct master_row *row);

/* What the store was when it was opened last. */
struct vault_home {
    bool is_known;        /* it was opened */
    bool is_same;         /* it has the incarnation that it had then: not put back by restore */
    uint64_t accepted_id; /* up to there the log may tell of other stores than this one */
};

enum status meta_home(struct db_txn *txn, struct vault_home *home);
/* As it is now. */
enum status meta_home_put(struct db_txn *txn, uint64_t accepted_id);

/* Who sealed the vault on purpose; not_found when nobody did since it was opened. */
enum status meta_sealed(struct db_txn *txn, char by[CALLER_TEXT_BYTES]);
enum status meta_sealed_put(struct db_txn *txn, const char *by);
enum status meta_sealed_delete(struct db_txn *txn);

/* What the last verification to its end has found. */
struct vault_verified {
    uint64_t wall_ns; /* when; 0: never */
    uint64_t readable, damaged, damaged_tenants;
};

enum status meta_verified(struct db_txn *txn, struct vault_verified *verified);
enum status meta_verified_put(struct db_txn *txn, const struct vault_verified *verified);

#endif
