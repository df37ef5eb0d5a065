/* Digests live in struct db_txn while a transaction is open: one read and one write of `meta` per
 * table and transaction, however many rows it changes. */
#include "common/db/digest.h"

#include <stdio.h>

#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/db/seal.h"
#include "common/db/table.h"

enum { KEY_BYTES = 80, ROW_BYTES = 8 + HASH_BYTES };

static const char *digest_key(char key[KEY_BYTES], struct db_txn *txn, unsigned table)
{
    int length = snprintf(key, KEY_BYTES, "db.digest.%s", txn->db->schema->tables[table].name);
    ensure(length < KEY_BYTES);
    return key;
}

_Static_assert(DB_TABLES_MAX <= 16, "a bit for each table");

static uint16_t bit(unsigned table)
{
    return (uint16_t)(1u << table);
}

static bool is_loaded(const struct db_txn *txn, unsigned table)
{
    return (txn->digests_loaded & bit(table)) != 0;
}

enum status digest_load(struct db_txn *txn, unsigned table)
{
    if (is_loaded(txn, table))
        return STATUS_OK;
    char key[KEY_BYTES];
    struct span row;
    enum status status = db_meta_get(txn, digest_key(key, txn, table), &row);
    if (status == STATUS_NOT_FOUND || (status == STATUS_OK && row.size != ROW_BYTES))
        return log_failure(STATUS_DATA_LOSS, "read digest", "dir", txn->db->dir, "table",
                           txn->db->schema->tables[table].name, "reason", "it is missing");
    TRY(status);
    txn->digests[table].count = table_number_value(span_of(row.data, 8));
    memcpy(txn->digests[table].sum, row.data + 8, HASH_BYTES);
    txn->digests_loaded |= bit(table);
    return STATUS_OK;
}

void digest_reset(struct db_txn *txn, unsigned table)
{
    memset(&txn->digests[table], 0, sizeof txn->digests[table]);
    txn->digests_loaded |= bit(table);
    txn->digests_dirty |= bit(table);
}

void digest_add(struct db_txn *txn, unsigned table, const struct hash *seal)
{
    ensure(is_loaded(txn, table));
    txn->digests[table].count++;
    txn->digests_dirty |= bit(table);
    seal_sum_add(txn->digests[table].sum, seal);
}

void digest_subtract(struct db_txn *txn, unsigned table, const struct hash *seal)
{
    ensure(is_loaded(txn, table));
    txn->digests[table].count--;
    txn->digests_dirty |= bit(table);
    seal_sum_subtract(txn->digests[table].sum, seal);
}

enum status digest_write_all(struct db_txn *txn)
{
    for (unsigned i = 0; i < txn->db->schema->table_count; i++) {
        if ((txn->digests_dirty & bit(i)) == 0)
            continue;
        uint8_t row[ROW_BYTES];
        struct table_number count = table_number(txn->digests[i].count);
        memcpy(row, count.bytes, sizeof count.bytes);
        memcpy(row + 8, txn->digests[i].sum, HASH_BYTES);
        char key[KEY_BYTES];
        TRY(db_meta_put(txn, digest_key(key, txn, i), span_of(row, sizeof row)));
    }
    txn->digests_dirty = 0;
    return STATUS_OK;
}
