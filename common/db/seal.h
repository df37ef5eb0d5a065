#ifndef SOLO_COMMON_DB_SEAL_H
#define SOLO_COMMON_DB_SEAL_H

#include "common/db/db.h"

/* What proves a row, and what proves a table. */

/* BLAKE2b-256 over store id, table name, key and value: a row that was changed, or moved to another
 * key, table or store, does not match. */
struct hash row_seal(const struct store_identity *identity, const char *table, struct span key,
                     struct span value);

/* Splits a stored row into value and seal, and compares; false when it is broken. */
bool row_unseal(const struct store_identity *identity, const char *table, struct span key,
                struct span stored, struct span *value, struct hash *seal);

/* Adds to, or takes from, a sum of seals mod 2^256 (little-endian): the order of rows does not
 * matter, and one more or less shows. */
void seal_sum_add(uint8_t sum[HASH_BYTES], const struct hash *seal);
void seal_sum_subtract(uint8_t sum[HASH_BYTES], const struct hash *seal);

#endif
