/* The form of a token in the store. What may be written and what may be read is one rule. */
#include "common/api/records/token_record.h"

#include <endian.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/rpc/method.h"
#include "common/wire/frame_scanner.h"
#include "common/wire/reader.h"

enum {
    AT_FORMAT = 0,
    AT_DEPTH = 1,
    AT_TENANT_SIZE = 2,
    AT_ZERO = 3,
    AT_PERMISSIONS = 4,
    AT_GRANTED = 8,
    AT_EXPIRES = 16,
    AT_RENEWED = 24,
    AT_TTL = 32,
    AT_ACCESSOR = 40,
};

static void put_u64(uint8_t *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, sizeof value);
}

static uint64_t take_u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return be64toh(value);
}

static void put_u32(uint8_t *at, uint32_t value)
{
    value = htobe32(value);
    memcpy(at, &value, sizeof value);
}

static uint32_t take_u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return be32toh(value);
}

static bool metadata_is_valid(struct span metadata)
{
    const char *rule;
    if (metadata.size == 0)
        return true;
    struct reader reader = reader_of(metadata);
    return reader_peek(&reader) == WIRE_MAP &&
           frame_check(metadata, TOKEN_METADATA_BYTES_MAX, &rule) == STATUS_OK;
}

/* Which rule a record breaks; NULL when it may stand in the store. */
static const char *broken_rule(const struct token_record *record)
{
    bool has_parent = !hash_is_zero(&record->parent);
    bool has_root = !hash_is_zero(&record->root);
    if (!name_is_valid(record->tenant))
        return "its tenant is no name";
    if (record->permissions == 0 || (record->permissions & ~(uint32_t)PERMISSION_BITS_ALL) != 0)
        return "no permissions, or unknown ones";
    if (record->depth > TOKEN_DEPTH_MAX)
        return "too deep";
    if (has_parent != (record->depth > 0) || has_root != (record->depth > 0))
        return "depth and parents do not match";
    if (record->expires_ns != 0 && record->expires_ns < record->granted_ns)
        return "it ends before it begins";
    return metadata_is_valid(record->metadata) ? NULL : "its metadata is no map";
}

enum status token_record_encode(const struct token_record *record, struct buffer *row)
{
    const char *rule = broken_rule(record);
    if (rule != NULL)
        return log_failure(STATUS_INVALID_ARGUMENT, "pack a token", "reason", rule);
    uint8_t fixed[TOKEN_RECORD_FIXED_BYTES] = { 0 };
    size_t tenant_size = strlen(record->tenant);
    fixed[AT_FORMAT] = TOKEN_RECORD_FORMAT;
    fixed[AT_DEPTH] = (uint8_t)record->depth;
    fixed[AT_TENANT_SIZE] = (uint8_t)tenant_size;
    put_u32(fixed + AT_PERMISSIONS, record->permissions);
    put_u64(fixed + AT_GRANTED, record->granted_ns);
    put_u64(fixed + AT_EXPIRES, record->expires_ns);
    put_u64(fixed + AT_RENEWED, record->renewed_ns);
    put_u64(fixed + AT_TTL, record->ttl_ms);
    memcpy(fixed + AT_ACCESSOR, record->accessor.bytes, UUID_BYTES);
    buffer_clear(row);
    TRY(buffer_append(row, fixed, sizeof fixed));
    if (record->depth > 0) {
        TRY(buffer_append(row, record->parent.bytes, HASH_BYTES));
        TRY(buffer_append(row, record->root.bytes, HASH_BYTES));
    }
    TRY(buffer_append(row, record->tenant, tenant_size));
    return record->metadata.size == 0
               ? STATUS_OK
               : buffer_append(row, record->metadata.data, record->metadata.size);
}

static enum status refuse(const char *rule)
{
    return log_failure(STATUS_DATA_LOSS, "read a token's record", "reason", rule);
}

enum status token_record_decode(struct span row, struct token_record *record)
{
    if (row.size < TOKEN_RECORD_FIXED_BYTES)
        return refuse("too short");
    const uint8_t *fixed = row.data;
    size_t tenant_size = fixed[AT_TENANT_SIZE];
    if (fixed[AT_FORMAT] != TOKEN_RECORD_FORMAT || fixed[AT_ZERO] != 0)
        return refuse("its format is not known here");
    size_t tenant_at =
        TOKEN_RECORD_FIXED_BYTES + (fixed[AT_DEPTH] > 0 ? TOKEN_RECORD_PARENTS_BYTES : 0);
    if (tenant_size > NAME_BYTES_MAX || row.size < tenant_at + tenant_size)
        return refuse("its tenant is cut off");
    struct token_record read = {
        .permissions = take_u32(fixed + AT_PERMISSIONS),
        .depth = fixed[AT_DEPTH],
        .granted_ns = take_u64(fixed + AT_GRANTED),
        .expires_ns = take_u64(fixed + AT_EXPIRES),
        .renewed_ns = take_u64(fixed + AT_RENEWED),
        .ttl_ms = take_u64(fixed + AT_TTL),
    };
    memcpy(read.accessor.bytes, fixed + AT_ACCESSOR, UUID_BYTES);
    if (read.depth > 0) {
        memcpy(read.parent.bytes, fixed + TOKEN_RECORD_FIXED_BYTES, HASH_BYTES);
        memcpy(read.root.bytes, fixed + TOKEN_RECORD_FIXED_BYTES + HASH_BYTES, HASH_BYTES);
    }
    memcpy(read.tenant, row.data + tenant_at, tenant_size);
    if (strlen(read.tenant) != tenant_size)
        return refuse("its tenant is no name");
    size_t before = tenant_at + tenant_size;
    if (row.size > before)
        read.metadata = span_of(row.data + before, row.size - before);
    const char *rule = broken_rule(&read);
    if (rule != NULL)
        return refuse(rule);
    *record = read;
    return STATUS_OK;
}
