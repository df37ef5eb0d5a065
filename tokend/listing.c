/* Walks the index by tenant and packs what it leads to. */
#include "tokend/listing.h"

#include <stdio.h>
#include <string.h>

#include "common/access/token_text.h"
#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/db/table.h"
#include "tokend/changes.h"

static const uint64_t minute_ns = 60ull * 1000000000u;

static size_t permission_names_of(uint32_t bits, const char *names[PERMISSION_COUNT])
{
    size_t count = 0;
    for (int permission = PERMISSION_ANY_TOKEN + 1; permission < PERMISSION_COUNT; permission++)
        if (bits & permission_bit((enum permission)permission))
            names[count++] = permission_name((enum permission)permission);
    return count;
}

enum status listing_item(struct db_txn *txn, const struct token_record *record, uint64_t now_ns,
                         struct buffer *items)
{
    char accessor[ACCESSOR_TEXT_BYTES], parent[ACCESSOR_TEXT_BYTES] = "";
    const char *names[PERMISSION_COUNT];
    uint64_t minute;
    struct token_record above;
    TRY(token_used(txn, &record->accessor, &minute));
    if (record->depth > 0) {
        enum status status = token_find(txn, &record->parent, &above);
        if (status == STATUS_OK)
            accessor_text(parent, &above.accessor);
        else if (status != STATUS_NOT_FOUND)
            return status;
    }
    const struct token_item item = {
        .accessor = accessor_text(accessor, &record->accessor),
        .tenant = record->tenant,
        .permissions = { names, permission_names_of(record->permissions, names) },
        .granted_ns = record->granted_ns,
        .expires_ns = record->expires_ns,
        .renewed_ns = record->renewed_ns,
        .last_used_ns = minute * minute_ns,
        .is_expired = token_record_is_expired(record, now_ns),
        .depth = record->depth,
        .parent = parent,
        .metadata = record->metadata,
    };
    fields_encode(&record_token_item, &item, items);
    return STATUS_OK;
}

/* A key of by_tenant: tenant NUL accessor. */
struct position {
    uint8_t bytes[NAME_BYTES_MAX + 1 + UUID_BYTES];
    size_t size;
};

static bool position_read(struct span key, char tenant[NAME_BYTES_MAX + 1], struct uuid *accessor)
{
    if (key.size <= UUID_BYTES + 1 || key.size > NAME_BYTES_MAX + 1 + UUID_BYTES)
        return false;
    size_t size = key.size - UUID_BYTES;
    memcpy(tenant, key.data, size);
    if (strnlen(tenant, size) != size - 1)
        return false;
    memcpy(accessor->bytes, key.data + size, UUID_BYTES);
    return true;
}

static bool position_parse(const char *after, struct position *position)
{
    struct uuid accessor;
    const char *slash = strchr(after, '/');
    size_t size = slash == NULL ? 0 : (size_t)(slash - after);
    if (size == 0 || size > NAME_BYTES_MAX || accessor_parse(slash + 1, &accessor) != STATUS_OK)
        return false;
    memcpy(position->bytes, after, size);
    position->bytes[size] = '\0';
    memcpy(position->bytes + size + 1, accessor.bytes, UUID_BYTES);
    position->size = size + 1 + UUID_BYTES;
    return name_is_valid((const char *)position->bytes);
}

static enum status damaged(const struct db_txn *txn, const char *reason)
{
    return log_failure(STATUS_DATA_LOSS, "list tokens", "dir", txn->db->dir, "reason", reason);
}

static enum status add_row(struct db_txn *txn, struct listing *listing, struct span value)
{
    struct hash hash;
    struct token_record record;
    if (value.size != HASH_BYTES)
        return damaged(txn, "not the size of its row");
    memcpy(hash.bytes, value.data, HASH_BYTES);
    enum status status = token_find(txn, &hash, &record);
    if (status == STATUS_NOT_FOUND)
        return damaged(txn, "the index names no token");
    TRY(status);
    listing->looked++;
    if (!change_is_within(listing->caller, &record))
        return STATUS_OK;
    TRY(listing_item(txn, &record, listing->now_ns, listing->items));
    listing->count++;
    return STATUS_OK;
}

static bool is_full(const struct listing *listing)
{
    return listing->looked >= listing->count_max ||
           listing->items->size + TOKEN_RECORD_BYTES_MAX + 1024 > listing->bytes_max;
}

enum status listing_read(struct db_txn *txn, struct listing *listing)
{
    struct position from = { .size = 0 };
    if (listing->after[0] != '\0') {
        if (!position_parse(listing->after, &from) ||
            (listing->tenant[0] != '\0' && strcmp((char *)from.bytes, listing->tenant) != 0))
            return STATUS_INVALID_ARGUMENT;
    } else if (listing->tenant[0] != '\0') {
        from.size = strlen(listing->tenant) + 1;
        memcpy(from.bytes, listing->tenant, from.size);
    }
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    TRY(table_cursor_open(txn, TOKENS_BY_TENANT, &cursor));
    struct span start = span_of(from.bytes, from.size), key, value;
    char tenant[NAME_BYTES_MAX + 1], text[ACCESSOR_TEXT_BYTES];
    struct uuid accessor;
    enum status status = table_cursor_seek(&cursor, start, &key, &value);
    for (; status == STATUS_OK; status = table_cursor_next(&cursor, &key, &value)) {
        if (listing->after[0] != '\0' && span_equal(key, start))
            continue;
        if (!position_read(key, tenant, &accessor))
            return damaged(txn, "not the form of its key");
        if (listing->tenant[0] != '\0' && strcmp(tenant, listing->tenant) != 0)
            break;
        if (is_full(listing))
            return STATUS_OK;
        TRY(add_row(txn, listing, value));
        snprintf(listing->next, sizeof listing->next, "%s/%s", tenant,
                 accessor_text(text, &accessor));
    }
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return status;
    listing->next[0] = '\0';
    return STATUS_OK;
}
