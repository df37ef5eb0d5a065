#ifndef SOLO_COMMON_DB_TABLE_H
#define SOLO_COMMON_DB_TABLE_H

#include "common/db/db.h"

/* Rows of one table of an open transaction. Values are sealed on the way in and checked on the way
 * out: BLAKE2b-256 over key, value and store id behind each value. A row whose seal is broken is
 * data_loss, never "not found". `table` is the index in the schema. Keys and values that are put
 * must not point into the map of the same transaction: a put may move pages. */

/* not_found is not logged. The value is without its seal. */
enum status table_get(struct db_txn *txn, unsigned table, struct span key, struct span *value);
enum status table_put(struct db_txn *txn, unsigned table, struct span key, struct span value);
/* As put, for a key greater than all before it (MDB_APPEND). */
enum status table_append(struct db_txn *txn, unsigned table, struct span key, struct span value);
/* not_found when there is no such row. */
enum status table_delete(struct db_txn *txn, unsigned table, struct span key);
/* As table_get, and the seal, which is good. Not of TABLE_UNSEALED. */
enum status table_get_with_seal(struct db_txn *txn, unsigned table, struct span key,
                                struct span *value, struct hash *seal);
/* The seal as it stands behind a row, whether the row is whole or not; not_found when there is no
 * row. For who keeps proofs of rows elsewhere. Not of TABLE_UNSEALED. */
enum status table_seal(struct db_txn *txn, unsigned table, struct span key, struct hash *seal);
/* The seal that a row with this content has. */
struct hash table_seal_of(const struct db_txn *txn, unsigned table, struct span key,
                          struct span value);
/* Removes every row, broken ones too. */
enum status table_clear(struct db_txn *txn, unsigned table);

/* Rows of a TABLE_DIGEST table by its digest, of others by LMDB's count. */
enum status table_count(struct db_txn *txn, unsigned table, uint64_t *count);
/* Whether both counts of a TABLE_DIGEST table are the same, which costs nothing: data_loss when a
 * row was removed or added behind its digest's back. A page that was damaged may have kept LMDB's.
 */
enum status table_compare_count(struct db_txn *txn, unsigned table);
/* Walks a TABLE_DIGEST table and compares with its digest: data_loss when a row is missing, extra
 * or broken. */
enum status table_verify(struct db_txn *txn, unsigned table);

/* The same in slices, for a table that is too large to be compared at once, within one open read
 * transaction. Zeroed it is at the beginning. */
struct table_walk {
    uint64_t count;
    uint8_t sum[HASH_BYTES];
    uint8_t at[DB_KEY_BYTES_MAX]; /* the row that was met last */
    size_t at_size;
    bool is_done; /* and the table is whole */
};
enum status table_verify_some(struct db_txn *txn, unsigned table, size_t rows_max,
                              struct table_walk *walk);

struct table_cursor {
    struct db_txn *txn;
    unsigned table;
    MDB_cursor *cursor;
};

enum status table_cursor_open(struct db_txn *txn, unsigned table, struct table_cursor *cursor);
void table_cursor_close(struct table_cursor *cursor);
/* For readers that keep a cursor from one transaction to the next: opens a zeroed one, and makes an
 * open one look at `txn`, of the same database. Its owner closes it. */
enum status table_cursor_renew(struct db_txn *txn, unsigned table, struct table_cursor *cursor);
/* The first row at or after `key`; an empty key is the first row. not_found past the end. */
enum status table_cursor_seek(struct table_cursor *cursor, struct span at, struct span *key,
                              struct span *value);
enum status table_cursor_last(struct table_cursor *cursor, struct span *key, struct span *value);
/* After data_loss from one of these the cursor stands at the broken row, whose key is set: its seal
 * as it stands there, and the one that its content should have. */
enum status table_cursor_seals(struct table_cursor *cursor, struct hash *stored,
                               struct hash *expected);
enum status table_cursor_next(struct table_cursor *cursor, struct span *key, struct span *value);
/* As table_put, and the cursor stands there: the next one is found quickly when it is near. */
enum status table_cursor_put(struct table_cursor *cursor, struct span key, struct span value);
enum status table_cursor_append(struct table_cursor *cursor, struct span key, struct span value);

/* A number as a key that sorts: 8 bytes, big-endian. */
struct table_number {
    uint8_t bytes[8];
};
struct table_number table_number(uint64_t value);
uint64_t table_number_value(struct span key); /* 0 when it is no such key */
static inline struct span table_number_key(const struct table_number *number)
{
    return span_of(number->bytes, sizeof number->bytes);
}

#endif
