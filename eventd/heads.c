/* A direct-mapped cache over the heads table. A slot that is wanted by another key is written back
 * first, so any number of tenants, types and subjects works; few of them work without reading. */
#include "eventd/heads.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/records/schemas.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/db/table.h"

_Static_assert(HEAD_KEY_BYTES <= UINT8_MAX, "a key's size fits into its slot");
_Static_assert(HEAD_SLOTS <= UINT16_MAX, "a slot's number fits into the list of changed ones");

enum status heads_init(struct heads *heads)
{
    memset(heads, 0, sizeof *heads);
    random_fill(heads->hash_key, sizeof heads->hash_key);
    heads->slots = calloc(HEAD_SLOTS, sizeof *heads->slots);
    return heads->slots == NULL ? log_failure(STATUS_RESOURCE_EXHAUSTED, "allocate heads")
                                : STATUS_OK;
}

void heads_reset(struct heads *heads)
{
    free(heads->slots);
    heads->slots = NULL;
}

static size_t make_key(uint8_t key[HEAD_KEY_BYTES], enum head_kind kind, const char *text)
{
    size_t size = strlen(text);
    ensure(size + 1 <= HEAD_KEY_BYTES);
    key[0] = (uint8_t)kind;
    memcpy(key + 1, text, size);
    return size + 1;
}

static enum status read_head(struct db_txn *txn, struct span key, uint64_t *id)
{
    struct span value;
    enum status status = table_get(txn, EVENTS_HEADS, key, &value);
    if (status == STATUS_NOT_FOUND) {
        *id = 0;
        return STATUS_OK;
    }
    TRY(status);
    *id = table_number_value(value);
    return STATUS_OK;
}

static enum status write_slot(struct db_txn *txn, struct head_slot *slot)
{
    struct table_number number = table_number(slot->id);
    TRY(table_put(txn, EVENTS_HEADS, span_of(slot->key, slot->key_size),
                  table_number_key(&number)));
    slot->is_dirty = false;
    return STATUS_OK;
}

/* Tenants choose the keys: with a secret key they cannot choose the slots. */
static size_t slot_number(const struct heads *heads, struct span key)
{
    uint64_t hash;
    crypto_shorthash((unsigned char *)&hash, key.data, key.size, heads->hash_key);
    return hash % HEAD_SLOTS;
}

enum status heads_advance(struct heads *heads, struct db_txn *txn, enum head_kind kind,
                          const char *text, uint64_t id, uint64_t *previous)
{
    uint8_t bytes[HEAD_KEY_BYTES];
    struct span key = { bytes, make_key(bytes, kind, text) };
    size_t number = slot_number(heads, key);
    struct head_slot *slot = &heads->slots[number];
    if (!span_equal(span_of(slot->key, slot->key_size), key)) {
        uint64_t found;
        TRY(read_head(txn, key, &found));
        bool was_listed = slot->is_dirty;
        if (slot->is_dirty)
            TRY(write_slot(txn, slot));
        memcpy(slot->key, key.data, key.size);
        slot->key_size = (uint8_t)key.size;
        slot->id = found;
        slot->is_dirty = was_listed; /* it stays in the list */
    }
    *previous = slot->id;
    slot->id = id;
    if (!slot->is_dirty) {
        ensure(heads->dirty_count < HEAD_SLOTS);
        heads->dirty[heads->dirty_count++] = (uint16_t)number;
        slot->is_dirty = true;
    }
    return STATUS_OK;
}

enum status heads_write(struct heads *heads, struct db_txn *txn)
{
    for (size_t i = 0; i < heads->dirty_count; i++)
        TRY(write_slot(txn, &heads->slots[heads->dirty[i]]));
    heads->dirty_count = 0;
    return STATUS_OK;
}

void heads_forget(struct heads *heads)
{
    memset(heads->slots, 0, HEAD_SLOTS * sizeof *heads->slots);
    heads->dirty_count = 0;
}

enum status heads_find(struct db_txn *txn, enum head_kind kind, const char *text, uint64_t *id)
{
    uint8_t bytes[HEAD_KEY_BYTES];
    struct span key = { bytes, make_key(bytes, kind, text) };
    return read_head(txn, key, id);
}
