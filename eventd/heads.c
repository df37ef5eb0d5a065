/* A cache over the heads table: each key has a few slots to choose from. One that is not written is
 * given up only when all of them are such, and written first; so any number of tenants, types and
 * subjects works, and few of them work without reading or writing. */
#include "eventd/heads.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/ensure.h"
#include "common/base/log.h"

_Static_assert(HEAD_KEY_BYTES <= UINT8_MAX, "a key's size fits into its slot");
_Static_assert(HEAD_SLOTS <= UINT16_MAX, "a slot's number fits into the list of changed ones");

enum status heads_init(struct heads *heads)
{
    memset(heads, 0, sizeof *heads);
    random_fill(heads->hash_key, sizeof heads->hash_key);
    heads->slots = calloc(HEAD_SLOTS, sizeof *heads->slots);
    heads->hashes = calloc(HEAD_SLOTS, sizeof *heads->hashes);
    return heads->slots == NULL || heads->hashes == NULL
               ? log_failure(STATUS_RESOURCE_EXHAUSTED, "allocate heads")
               : STATUS_OK;
}

void heads_reset(struct heads *heads)
{
    free(heads->slots);
    free(heads->hashes);
    heads->slots = NULL;
    heads->hashes = NULL;
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
static uint64_t hash_key(const struct heads *heads, struct span key)
{
    uint64_t hash;
    crypto_shorthash((unsigned char *)&hash, key.data, key.size, heads->hash_key);
    return hash;
}

/* Free ones go first, then written ones, then the one that was changed longest ago. */
static bool goes_before(const struct head_slot *a, const struct head_slot *b)
{
    bool a_is_used = a->key_size > 0, b_is_used = b->key_size > 0;
    if (a_is_used != b_is_used)
        return b_is_used;
    if (a->is_dirty != b->is_dirty)
        return b->is_dirty;
    return a->id < b->id;
}

static size_t first_choice(uint64_t hash)
{
    return hash % (HEAD_SLOTS / HEAD_CHOICES) * HEAD_CHOICES;
}

/* The key's slot, NULL when it has none. */
static struct head_slot *find_slot(const struct heads *heads, uint64_t hash, struct span key)
{
    size_t first = first_choice(hash);
    for (size_t i = first; i < first + HEAD_CHOICES; i++) {
        struct head_slot *slot = &heads->slots[i];
        if (heads->hashes[i] == hash && span_equal(span_of(slot->key, slot->key_size), key))
            return slot;
    }
    return NULL;
}

/* The slot that a key without one takes over. */
static struct head_slot *choose_slot(const struct heads *heads, uint64_t hash)
{
    struct head_slot *slots = &heads->slots[first_choice(hash)], *chosen = slots;
    for (size_t i = 1; i < HEAD_CHOICES; i++)
        if (goes_before(&slots[i], chosen))
            chosen = &slots[i];
    return chosen;
}

static enum status take_over(struct heads *heads, struct head_slot *slot, struct db_txn *txn,
                             uint64_t hash, struct span key)
{
    uint64_t found;
    TRY(event_log_head_row(txn, key, &found));
    bool is_listed = slot->is_dirty; /* and stays in the list */
    if (slot->is_dirty) {
        heads->is_ahead = true;
        TRY(write_slot(txn, slot));
    }
    memcpy(slot->key, key.data, key.size);
    slot->key_size = (uint8_t)key.size;
    heads->hashes[slot - heads->slots] = hash;
    slot->id = found;
    slot->is_dirty = is_listed;
    return STATUS_OK;
}

enum status heads_advance(struct heads *heads, struct db_txn *txn, enum head_kind kind,
                          const char *text, uint64_t id, uint64_t committed_id, uint64_t *previous)
{
    uint8_t bytes[HEAD_KEY_BYTES];
    struct span key = event_log_head_key(bytes, kind, text);
    uint64_t hash = hash_key(heads, key);
    struct head_slot *slot = find_slot(heads, hash, key);
    if (slot == NULL) {
        slot = choose_slot(heads, hash);
        TRY(take_over(heads, slot, txn, hash, key));
    }
    *previous = slot->id;
    if (slot->id <= committed_id)
        slot->committed = slot->id;
    slot->id = id;
    if (!slot->is_dirty) {
        ensure(heads->dirty_count < HEAD_SLOTS);
        heads->dirty[heads->dirty_count++] = (uint16_t)(slot - heads->slots);
        slot->is_dirty = true;
    }
    return STATUS_OK;
}

enum status heads_find(const struct heads *heads, struct db_txn *txn, enum head_kind kind,
                       const char *text, uint64_t committed_id, uint64_t *id)
{
    uint8_t bytes[HEAD_KEY_BYTES];
    ensure(!heads->is_ahead);
    struct span key = event_log_head_key(bytes, kind, text);
    const struct head_slot *slot = find_slot(heads, hash_key(heads, key), key);
    if (slot == NULL)
        return event_log_head_row(txn, key, id);
    *id = slot->id <= committed_id ? slot->id : slot->committed;
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
    memset(heads->hashes, 0, HEAD_SLOTS * sizeof *heads->hashes);
    heads->dirty_count = 0;
    heads->is_ahead = false;
}
