/* Rows: sealed on the way in, checked on the way out. A failed write is remembered in the
 * transaction, whose commit then refuses. */
#include "common/db/table.h"

#include <endian.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/db/digest.h"
#include "common/db/lmdb_status.h"
#include "common/db/seal.h"

static const struct table_schema *schema_of(const struct db_txn *txn, unsigned table)
{
    ensure(table < txn->db->schema->table_count);
    return &txn->db->schema->tables[table];
}

/* LMDB gives a transaction up when it meets a page that cannot be, and may say so only at the next
 * question. */
static enum status judge(const struct db_txn *txn, int rc)
{
    return rc == MDB_BAD_TXN && txn->status == STATUS_OK ? STATUS_DATA_LOSS : status_from_lmdb(rc);
}

static enum status failure(struct db_txn *txn, unsigned table, const char *what, int rc)
{
    enum status status = log_failure(judge(txn, rc), what, "dir", txn->db->dir, "table",
                                     schema_of(txn, table)->name, "reason", mdb_strerror(rc));
    (void)db_note(txn->db, status);
    if (txn->is_write && txn->status == STATUS_OK)
        txn->status = status;
    return status;
}

static enum status broken_row(struct db_txn *txn, unsigned table, struct span key)
{
    char hex[2 * 64 + 1];
    size_t size = key.size < 64 ? key.size : 64;
    return db_note(txn->db,
                   log_failure(STATUS_DATA_LOSS, "read row", "dir", txn->db->dir, "table",
                               schema_of(txn, table)->name, "key", hex_text(hex, key.data, size),
                               "reason", "the row's seal is broken"));
}

static enum status unseal(struct db_txn *txn, unsigned table, struct span key, struct span stored,
                          struct span *value, struct hash *seal)
{
    if (schema_of(txn, table)->flags & TABLE_UNSEALED) {
        *value = stored;
        return STATUS_OK;
    }
    if (!row_unseal(&txn->db->identity, schema_of(txn, table)->name, key, stored, value, seal))
        return broken_row(txn, table, key);
    return STATUS_OK;
}

static enum status get_row(struct db_txn *txn, unsigned table, struct span key, struct span *value,
                           struct hash *seal)
{
    MDB_val k = { key.size, (void *)(uintptr_t)key.data }, v;
    int rc = mdb_get(txn->txn, txn->db->tables[table], &k, &v);
    if (rc == MDB_NOTFOUND)
        return STATUS_NOT_FOUND;
    if (rc != 0)
        return failure(txn, table, "read row", rc);
    return unseal(txn, table, key, span_of(v.mv_data, v.mv_size), value, seal);
}

enum status table_get(struct db_txn *txn, unsigned table, struct span key, struct span *value)
{
    struct hash seal;
    return get_row(txn, table, key, value, &seal);
}

enum status table_get_with_seal(struct db_txn *txn, unsigned table, struct span key,
                                struct span *value, struct hash *seal)
{
    ensure((schema_of(txn, table)->flags & TABLE_UNSEALED) == 0);
    return get_row(txn, table, key, value, seal);
}

static enum status broken_size(struct db_txn *txn, unsigned table)
{
    return db_note(txn->db,
                   log_failure(STATUS_DATA_LOSS, "read row", "dir", txn->db->dir, "table",
                               schema_of(txn, table)->name, "reason", "too short for its seal"));
}

enum status table_seal(struct db_txn *txn, unsigned table, struct span key, struct hash *seal)
{
    MDB_val k = { key.size, (void *)(uintptr_t)key.data }, v;
    int rc = mdb_get(txn->txn, txn->db->tables[table], &k, &v);
    if (rc == MDB_NOTFOUND)
        return STATUS_NOT_FOUND;
    if (rc != 0)
        return failure(txn, table, "read row", rc);
    if (v.mv_size < HASH_BYTES)
        return broken_size(txn, table);
    memcpy(seal->bytes, (const uint8_t *)v.mv_data + v.mv_size - HASH_BYTES, HASH_BYTES);
    return STATUS_OK;
}

struct hash table_seal_of(const struct db_txn *txn, unsigned table, struct span key,
                          struct span value)
{
    return row_seal(&txn->db->identity, schema_of(txn, table)->name, key, value);
}

/* Takes the row at `key`, if there is one, out of the table's digest. */
static enum status forget_row(struct db_txn *txn, unsigned table, struct span key)
{
    struct span value;
    struct hash seal;
    TRY(digest_load(txn, table));
    enum status status = get_row(txn, table, key, &value, &seal);
    if (status == STATUS_OK)
        digest_subtract(txn, table, &seal);
    if (status == STATUS_DATA_LOSS && txn->status == STATUS_OK &&
        (schema_of(txn, table)->flags & TABLE_DERIVED))
        return STATUS_OK; /* whoever compares next makes the table anew */
    return status;
}

/* `cursor`: where to look first; NULL is a look from the root. */
static enum status put_row(struct db_txn *txn, unsigned table, struct span key, struct span value,
                           unsigned flags, MDB_cursor *cursor)
{
    ensure(txn->is_write);
    const struct table_schema *schema = schema_of(txn, table);
    if (key.size == 0 || key.size > DB_KEY_BYTES_MAX || value.size > DB_VALUE_BYTES_MAX)
        return log_failure(STATUS_INVALID_ARGUMENT, "write row", "table", schema->name, "reason",
                           "key or value is out of bounds");
    bool is_sealed = (schema->flags & TABLE_UNSEALED) == 0;
    struct hash seal;
    if (is_sealed)
        seal = row_seal(&txn->db->identity, schema->name, key, value);
    if (schema->flags & TABLE_DIGEST) {
        ensure(is_sealed);
        /* What is appended has no row before. */
        enum status status =
            (flags & MDB_APPEND) != 0 ? digest_load(txn, table) : forget_row(txn, table, key);
        if (status != STATUS_NOT_FOUND)
            TRY(status);
        digest_add(txn, table, &seal);
    }
    MDB_val k = { key.size, (void *)(uintptr_t)key.data };
    MDB_val v = { value.size + (is_sealed ? HASH_BYTES : 0), NULL };
    txn->is_changed = true;
    int rc = cursor == NULL ? mdb_put(txn->txn, txn->db->tables[table], &k, &v, MDB_RESERVE | flags)
                            : mdb_cursor_put(cursor, &k, &v, MDB_RESERVE | flags);
    if (rc != 0)
        return failure(txn, table, "write row", rc);
    if (value.size > 0)
        memcpy(v.mv_data, value.data, value.size);
    if (is_sealed)
        memcpy((uint8_t *)v.mv_data + value.size, seal.bytes, HASH_BYTES);
    return STATUS_OK;
}

enum status table_put(struct db_txn *txn, unsigned table, struct span key, struct span value)
{
    return put_row(txn, table, key, value, 0, NULL);
}

enum status table_append(struct db_txn *txn, unsigned table, struct span key, struct span value)
{
    return put_row(txn, table, key, value, MDB_APPEND, NULL);
}

enum status table_delete(struct db_txn *txn, unsigned table, struct span key)
{
    ensure(txn->is_write);
    if (schema_of(txn, table)->flags & TABLE_DIGEST)
        TRY(forget_row(txn, table, key));
    MDB_val k = { key.size, (void *)(uintptr_t)key.data };
    txn->is_changed = true;
    int rc = mdb_del(txn->txn, txn->db->tables[table], &k, NULL);
    if (rc == MDB_NOTFOUND)
        return STATUS_NOT_FOUND;
    return rc == 0 ? STATUS_OK : failure(txn, table, "delete row", rc);
}

enum status table_clear(struct db_txn *txn, unsigned table)
{
    ensure(txn->is_write);
    txn->is_changed = true;
    int rc = mdb_drop(txn->txn, txn->db->tables[table], 0);
    if (rc != 0)
        return failure(txn, table, "clear table", rc);
    if (schema_of(txn, table)->flags & TABLE_DIGEST)
        digest_reset(txn, table);
    return STATUS_OK;
}

static enum status count_by_lmdb(struct db_txn *txn, unsigned table, uint64_t *count)
{
    MDB_stat stat;
    int rc = mdb_stat(txn->txn, txn->db->tables[table], &stat);
    if (rc != 0)
        return failure(txn, table, "count rows", rc);
    *count = stat.ms_entries;
    return STATUS_OK;
}

enum status table_count(struct db_txn *txn, unsigned table, uint64_t *count)
{
    if ((schema_of(txn, table)->flags & TABLE_DIGEST) == 0)
        return count_by_lmdb(txn, table, count);
    TRY(digest_load(txn, table));
    *count = txn->digests[table].count;
    return STATUS_OK;
}

enum status table_compare_count(struct db_txn *txn, unsigned table)
{
    uint64_t count = 0, expected = 0;
    ensure(schema_of(txn, table)->flags & TABLE_DIGEST);
    TRY(count_by_lmdb(txn, table, &count));
    TRY(table_count(txn, table, &expected));
    return count == expected
               ? STATUS_OK
               : log_failure(STATUS_DATA_LOSS, "compare table with its digest", "dir", txn->db->dir,
                             "table", schema_of(txn, table)->name, "rows", NUMBER(count),
                             "expected", NUMBER(expected), "reason", "a row is missing or extra");
}

/* --- cursors --- */

enum status table_cursor_open(struct db_txn *txn, unsigned table, struct table_cursor *cursor)
{
    *cursor = (struct table_cursor){ .txn = txn, .table = table };
    ensure(table < txn->db->schema->table_count);
    int rc = mdb_cursor_open(txn->txn, txn->db->tables[table], &cursor->cursor);
    return rc == 0 ? STATUS_OK : failure(txn, table, "open cursor", rc);
}

void table_cursor_close(struct table_cursor *cursor)
{
    if (cursor->cursor != NULL)
        mdb_cursor_close(cursor->cursor);
    cursor->cursor = NULL;
}

enum status table_cursor_renew(struct db_txn *txn, unsigned table, struct table_cursor *cursor)
{
    ensure(!txn->is_write);
    if (cursor->cursor == NULL)
        return table_cursor_open(txn, table, cursor);
    ensure(cursor->table == table);
    cursor->txn = txn;
    int rc = mdb_cursor_renew(txn->txn, cursor->cursor);
    return rc == 0 ? STATUS_OK : failure(txn, table, "renew cursor", rc);
}

static enum status move(struct table_cursor *cursor, MDB_cursor_op operation, MDB_val *k,
                        struct span *key, struct span *value, struct hash *seal)
{
    MDB_val v;
    int rc = mdb_cursor_get(cursor->cursor, k, &v, operation);
    if (rc == MDB_NOTFOUND)
        return STATUS_NOT_FOUND;
    if (rc != 0)
        return failure(cursor->txn, cursor->table, "walk table", rc);
    *key = span_of(k->mv_data, k->mv_size);
    return unseal(cursor->txn, cursor->table, *key, span_of(v.mv_data, v.mv_size), value, seal);
}

enum status table_cursor_seek(struct table_cursor *cursor, struct span at, struct span *key,
                              struct span *value)
{
    MDB_val k = { at.size, (void *)(uintptr_t)at.data };
    struct hash seal;
    return move(cursor, at.size == 0 ? MDB_FIRST : MDB_SET_RANGE, &k, key, value, &seal);
}

enum status table_cursor_last(struct table_cursor *cursor, struct span *key, struct span *value)
{
    MDB_val k;
    struct hash seal;
    return move(cursor, MDB_LAST, &k, key, value, &seal);
}

enum status table_cursor_next(struct table_cursor *cursor, struct span *key, struct span *value)
{
    MDB_val k;
    struct hash seal;
    return move(cursor, MDB_NEXT, &k, key, value, &seal);
}

enum status table_cursor_put(struct table_cursor *cursor, struct span key, struct span value)
{
    return put_row(cursor->txn, cursor->table, key, value, 0, cursor->cursor);
}

enum status table_cursor_append(struct table_cursor *cursor, struct span key, struct span value)
{
    return put_row(cursor->txn, cursor->table, key, value, MDB_APPEND, cursor->cursor);
}

enum status table_cursor_seals(struct table_cursor *cursor, struct hash *stored,
                               struct hash *expected)
{
    MDB_val k, v;
    int rc = mdb_cursor_get(cursor->cursor, &k, &v, MDB_GET_CURRENT);
    if (rc != 0)
        return failure(cursor->txn, cursor->table, "walk table", rc);
    if (v.mv_size < HASH_BYTES)
        return broken_size(cursor->txn, cursor->table);
    struct span content = span_of(v.mv_data, v.mv_size - HASH_BYTES);
    memcpy(stored->bytes, content.data + content.size, HASH_BYTES);
    *expected = table_seal_of(cursor->txn, cursor->table, span_of(k.mv_data, k.mv_size), content);
    return STATUS_OK;
}

/* The sum of the rows does not tell in which order they are found. */
static bool is_behind(struct span key, const struct table_walk *walk)
{
    size_t both = key.size < walk->at_size ? key.size : walk->at_size;
    int order = both == 0 ? 0 : memcmp(key.data, walk->at, both);
    return walk->count == 0 || order > 0 || (order == 0 && key.size > walk->at_size);
}

enum status table_verify_some(struct db_txn *txn, unsigned table, size_t rows_max,
                              struct table_walk *walk)
{
    ensure(schema_of(txn, table)->flags & TABLE_DIGEST);
    TRY(digest_load(txn, table));
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    TRY(table_cursor_open(txn, table, &cursor));
    MDB_val k = { walk->at_size, walk->at };
    struct span key, value;
    struct hash seal;
    enum status status =
        move(&cursor, walk->at_size == 0 ? MDB_FIRST : MDB_SET_RANGE, &k, &key, &value, &seal);
    if (status == STATUS_OK && span_equal(key, span_of(walk->at, walk->at_size)))
        status = move(&cursor, MDB_NEXT, &k, &key, &value, &seal);
    size_t rows = 0;
    for (; status == STATUS_OK && rows < rows_max; rows++) {
        if (!is_behind(key, walk))
            return log_failure(STATUS_DATA_LOSS, "walk table", "dir", txn->db->dir, "table",
                               schema_of(txn, table)->name, "reason", "its rows are out of order");
        walk->count++;
        seal_sum_add(walk->sum, &seal);
        memcpy(walk->at, key.data, key.size);
        walk->at_size = key.size;
        status = move(&cursor, MDB_NEXT, &k, &key, &value, &seal);
    }
    if (status != STATUS_NOT_FOUND)
        return status;
    if (walk->count != txn->digests[table].count ||
        memcmp(walk->sum, txn->digests[table].sum, sizeof walk->sum) != 0)
        return log_failure(STATUS_DATA_LOSS, "compare table with its digest", "dir", txn->db->dir,
                           "table", schema_of(txn, table)->name, "rows", NUMBER(walk->count),
                           "expected", NUMBER(txn->digests[table].count), "reason",
                           "a row is missing, extra or changed");
    walk->is_done = true;
    return STATUS_OK;
}

enum status table_verify(struct db_txn *txn, unsigned table)
{
    struct table_walk walk = { 0 };
    return table_verify_some(txn, table, SIZE_MAX, &walk);
}

/* --- numbers as keys --- */

struct table_number table_number(uint64_t value)
{
    struct table_number number;
    value = htobe64(value);
    memcpy(number.bytes, &value, sizeof number.bytes);
    return number;
}

uint64_t table_number_value(struct span key)
{
    uint64_t value;
    if (key.size != sizeof value)
        return 0;
    memcpy(&value, key.data, sizeof value);
    return be64toh(value);
}
