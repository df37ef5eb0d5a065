#ifndef SOLO_COMMON_DB_DIGEST_H
#define SOLO_COMMON_DB_DIGEST_H

#include "common/db/db.h"

/* The proof of a whole table: how many rows it has and the sum of their seals. Kept in `meta`,
 * loaded once per transaction, written back by its commit. */

/* data_loss when `meta` has no digest of this table. */
enum status digest_load(struct db_txn *txn, unsigned table);
/* For a table that is empty now. */
void digest_reset(struct db_txn *txn, unsigned table);
/* Call digest_load before. */
void digest_add(struct db_txn *txn, unsigned table, const struct hash *seal);
void digest_subtract(struct db_txn *txn, unsigned table, const struct hash *seal);
/* Every digest that this transaction changed. */
enum status digest_write_all(struct db_txn *txn);

#endif
