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

enum status digest_load(struct db_txn *txn, unsigned table)
{
    if (txn->digests[table].is_loaded)
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
    txn->digests[table].is_loaded = true;
    return STATUS_OK;
}

void digest_reset(struct db_txn *txn, unsigned table)
{
    memset(&txn->digests[table], 0, sizeof txn->digests[table]);
    txn->digests[table].is_loaded = true;
    txn->digests[table].is_dirty = true;
}

void digest_add(struct db_txn *txn, unsigned table, const struct hash *seal)
{
    ensure(txn->digests[table].is_loaded);
    txn->digests[table].count++;
    txn->digests[table].is_dirty = true;
    seal_sum_add(txn->digests[table].sum, seal);
}

void digest_subtract(struct db_txn *txn, unsigned table, const struct hash *seal)
{
    ensure(txn->digests[table].is_loaded);
    txn->digests[table].count--;
    txn->digests[table].is_dirty = true;
    seal_sum_subtract(txn->digests[table].sum, seal);
}

enum status digest_write_all(struct db_txn *txn)
{
    for (unsigned i = 0; i < txn->db->schema->table_count; i++) {
        if (!txn->digests[i].is_dirty)
            continue;
        uint8_t row[ROW_BYTES];
        struct table_number count = table_number(txn->digests[i].count);
        memcpy(row, count.bytes, sizeof count.bytes);
        memcpy(row + 8, txn->digests[i].sum, HASH_BYTES);
        char key[KEY_BYTES];
        TRY(db_meta_put(txn, digest_key(key, txn, i), span_of(row, sizeof row)));
        txn->digests[i].is_dirty = false;
    }
    return STATUS_OK;
}
