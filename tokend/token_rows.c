/* The rows of one token in all tables, and nothing about who may ask for them. Every change keeps
 * the tables in step within the turn's transaction. */
#include <string.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/db/table.h"
#include "tokend/token_store.h"

enum { TENANT_KEY_BYTES = NAME_BYTES_MAX + 1 + UUID_BYTES, CHILD_KEY_BYTES = 2 * HASH_BYTES };
static const uint64_t revoked_kept_ns = (uint64_t)REQUESTS_KEPT_MS * 1000000u;

static struct span hash_span(const struct hash *hash)
{
    return span_of(hash->bytes, HASH_BYTES);
}

static struct span accessor_span(const struct uuid *accessor)
{
    return span_of(accessor->bytes, UUID_BYTES);
}

static struct span tenant_key(uint8_t key[TENANT_KEY_BYTES], const struct token_record *record)
{
    size_t size = strlen(record->tenant) + 1;
    memcpy(key, record->tenant, size);
    memcpy(key + size, record->accessor.bytes, UUID_BYTES);
    return span_of(key, size + UUID_BYTES);
}

static struct span child_key(uint8_t key[CHILD_KEY_BYTES], const struct hash *parent,
                             const struct hash *child)
{
    memcpy(key, parent->bytes, HASH_BYTES);
    memcpy(key + HASH_BYTES, child->bytes, HASH_BYTES);
    return span_of(key, CHILD_KEY_BYTES);
}

void expiry_key(uint8_t key[EXPIRY_KEY_BYTES], uint64_t time_ns, const struct hash *hash)
{
    struct table_number time = table_number(time_ns);
    memcpy(key, time.bytes, sizeof time.bytes);
    memcpy(key + sizeof time.bytes, hash->bytes, HASH_BYTES);
}

bool expiry_key_read(struct span key, uint64_t *time_ns, struct hash *hash)
{
    if (key.size != EXPIRY_KEY_BYTES)
        return false;
    *time_ns = table_number_value(span_of(key.data, 8));
    memcpy(hash->bytes, key.data + 8, HASH_BYTES);
    return true;
}

/* --- finding --- */

enum status token_find(struct db_txn *txn, const struct hash *hash, struct token_record *record)
{
    struct span row;
    TRY(table_get(txn, TOKENS_TOKENS, hash_span(hash), &row));
    return token_record_decode(row, record);
}

enum status token_find_accessor(struct db_txn *txn, const struct uuid *accessor, struct hash *hash,
                                struct token_record *record)
{
    struct span row;
    TRY(table_get(txn, TOKENS_BY_ACCESSOR, accessor_span(accessor), &row));
    enum status status = STATUS_NOT_FOUND;
    if (row.size == HASH_BYTES) {
        memcpy(hash->bytes, row.data, HASH_BYTES);
        status = token_find(txn, hash, record);
    }
    if (status == STATUS_NOT_FOUND)
        return log_failure(STATUS_DATA_LOSS, "find a token by its accessor", "dir", txn->db->dir,
                           "reason", "the index names no token");
    return status;
}

enum status token_was_revoked(struct db_txn *txn, const struct hash *hash, bool *was_revoked)
{
    struct span row;
    enum status status = table_get(txn, TOKENS_REVOKED, hash_span(hash), &row);
    *was_revoked = status == STATUS_OK;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status token_count(struct db_txn *txn, uint64_t *tokens, uint64_t *revoked)
{
    TRY(table_count(txn, TOKENS_TOKENS, tokens));
    return table_count(txn, TOKENS_REVOKED, revoked);
}

/* --- families --- */

enum status token_count_descendants(struct db_txn *txn, const struct hash *root, uint64_t *count)
{
    struct span row;
    enum status status = table_get(txn, TOKENS_CHILDREN, hash_span(root), &row);
    *count = status == STATUS_OK ? table_number_value(row) : 0;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status set_descendants(struct db_txn *txn, const struct hash *root, uint64_t count)
{
    struct table_number number = table_number(count);
    if (count > 0)
        return table_put(txn, TOKENS_CHILDREN, hash_span(root), table_number_key(&number));
    enum status status = table_delete(txn, TOKENS_CHILDREN, hash_span(root));
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status token_children(struct db_txn *txn, const struct hash *parent, struct hash *children,
                           size_t count_max, size_t *count)
{
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    TRY(table_cursor_open(txn, TOKENS_CHILDREN, &cursor));
    struct span key, value;
    enum status status = table_cursor_seek(&cursor, hash_span(parent), &key, &value);
    for (; status == STATUS_OK; status = table_cursor_next(&cursor, &key, &value)) {
        if (memcmp(key.data, parent->bytes, HASH_BYTES) != 0)
            return STATUS_OK;
        if (key.size != CHILD_KEY_BYTES)
            continue; /* the number of its descendants */
        if (*count == count_max)
            return STATUS_RESOURCE_EXHAUSTED;
        memcpy(children[(*count)++].bytes, key.data + HASH_BYTES, HASH_BYTES);
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status join_family(struct db_txn *txn, const struct hash *hash,
                               const struct token_record *record)
{
    uint8_t key[CHILD_KEY_BYTES];
    uint64_t count;
    TRY(token_count_descendants(txn, &record->root, &count));
    TRY(set_descendants(txn, &record->root, count + 1));
    return table_put(txn, TOKENS_CHILDREN, child_key(key, &record->parent, hash), span_of("", 0));
}

static enum status leave_family(struct db_txn *txn, const struct hash *hash,
                                const struct token_record *record)
{
    uint8_t key[CHILD_KEY_BYTES];
    uint64_t count;
    if (record->depth == 0)
        return set_descendants(txn, hash, 0);
    TRY(token_count_descendants(txn, &record->root, &count));
    if (count > 0)
        TRY(set_descendants(txn, &record->root, count - 1));
    return table_delete(txn, TOKENS_CHILDREN, child_key(key, &record->parent, hash));
}

/* --- changing --- */

static enum status put_record(struct token_store *store, const struct hash *hash,
                              const struct token_record *record)
{
    TRY(token_record_encode(record, &store->row));
    return table_put(&store->txn, TOKENS_TOKENS, hash_span(hash), buffer_span(&store->row));
}

static enum status put_expiry(struct token_store *store, const struct hash *hash, uint64_t time_ns,
                              const char *what)
{
    uint8_t key[EXPIRY_KEY_BYTES];
    if (time_ns == 0)
        return STATUS_OK;
    expiry_key(key, time_ns, hash);
    return table_put(&store->txn, TOKENS_BY_EXPIRY, span_of(key, sizeof key), span_of_text(what));
}

static enum status delete_expiry(struct token_store *store, const struct hash *hash,
                                 uint64_t time_ns)
{
    uint8_t key[EXPIRY_KEY_BYTES];
    if (time_ns == 0)
        return STATUS_OK;
    expiry_key(key, time_ns, hash);
    return table_delete(&store->txn, TOKENS_BY_EXPIRY, span_of(key, sizeof key));
}

enum status token_add(struct token_store *store, const struct hash *hash,
                      const struct token_record *record)
{
    uint8_t key[TENANT_KEY_BYTES];
    TRY(put_record(store, hash, record));
    TRY(table_put(&store->txn, TOKENS_BY_TENANT, tenant_key(key, record), hash_span(hash)));
    TRY(table_put(&store->txn, TOKENS_BY_ACCESSOR, accessor_span(&record->accessor),
                  hash_span(hash)));
    TRY(put_expiry(store, hash, record->expires_ns, EXPIRY_OF_TOKEN));
    return record->depth == 0 ? STATUS_OK : join_family(&store->txn, hash, record);
}

enum status token_replace(struct token_store *store, const struct hash *hash,
                          const struct token_record *before, const struct token_record *after)
{
    if (before->expires_ns != after->expires_ns) {
        TRY(delete_expiry(store, hash, before->expires_ns));
        TRY(put_expiry(store, hash, after->expires_ns, EXPIRY_OF_TOKEN));
    }
    return put_record(store, hash, after);
}

enum status token_remove(struct token_store *store, const struct hash *hash,
                         const struct token_record *record)
{
    uint8_t key[TENANT_KEY_BYTES];
    struct db_txn *txn = &store->txn;
    TRY(table_delete(txn, TOKENS_BY_TENANT, tenant_key(key, record)));
    TRY(table_delete(txn, TOKENS_BY_ACCESSOR, accessor_span(&record->accessor)));
    TRY(delete_expiry(store, hash, record->expires_ns));
    TRY(leave_family(txn, hash, record));
    enum status status = table_delete(txn, TOKENS_USED, accessor_span(&record->accessor));
    if (status != STATUS_NOT_FOUND)
        TRY(status);
    return table_delete(txn, TOKENS_TOKENS, hash_span(hash));
}

enum status token_mark_revoked(struct token_store *store, const struct hash *hash)
{
    /* A suspect time may be years ahead; the mark, and what has passed since the boot, is not. */
    const struct token_anchor *anchor = &store->turning;
    uint64_t ahead_ns = anchor->is_suspect ? anchor->wall_ns - anchor->mark_ns : 0;
    uint64_t until_ns = store->now_ns - ahead_ns + revoked_kept_ns;
    struct table_number number = table_number(until_ns);
    TRY(table_put(&store->txn, TOKENS_REVOKED, hash_span(hash), table_number_key(&number)));
    return put_expiry(store, hash, until_ns, EXPIRY_OF_REVOKED);
}

enum status token_forget_revoked(struct token_store *store, const struct hash *hash)
{
    struct span row;
    TRY(table_get(&store->txn, TOKENS_REVOKED, hash_span(hash), &row));
    TRY(delete_expiry(store, hash, table_number_value(row)));
    return table_delete(&store->txn, TOKENS_REVOKED, hash_span(hash));
}

/* --- use --- */

enum status token_used(struct db_txn *txn, const struct uuid *accessor, uint64_t *minute)
{
    struct span row;
    enum status status = table_get(txn, TOKENS_USED, accessor_span(accessor), &row);
    *minute = status == STATUS_OK ? table_number_value(row) : 0;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status token_set_used(struct token_store *store, const struct uuid *accessor, uint64_t minute)
{
    uint64_t before;
    TRY(token_used(&store->txn, accessor, &before));
    if (minute <= before)
        return STATUS_OK;
    struct table_number number = table_number(minute);
    return table_put(&store->txn, TOKENS_USED, accessor_span(accessor), table_number_key(&number));
}
