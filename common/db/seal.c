/* Seals of rows and sums of seals. Small rows, which is nearly all of them, are hashed in one call.
 */
#include "common/db/seal.h"

#include "common/base/ensure.h"

enum { ONE_CALL_BYTES = 512, TABLE_NAME_BYTES_MAX = 64 };

struct hash row_seal(const struct store_identity *identity, const char *table, struct span key,
                     struct span value)
{
    uint8_t all[ONE_CALL_BYTES];
    size_t name_size = strlen(table) + 1, size = sizeof identity->id;
    ensure(name_size <= TABLE_NAME_BYTES_MAX);
    memcpy(all, identity->id, size);
    memcpy(all + size, table, name_size);
    size += name_size;
    /* The key's length stands before it, so that no byte can move between key and value. */
    all[size++] = (uint8_t)(key.size >> 8);
    all[size++] = (uint8_t)key.size;

    if (size + key.size + value.size <= sizeof all) {
        memcpy(all + size, key.data, key.size);
        if (value.size > 0)
            memcpy(all + size + key.size, value.data, value.size);
        return hash_of(span_of(all, size + key.size + value.size));
    }
    struct hash_state state;
    hash_begin(&state);
    hash_add(&state, span_of(all, size));
    hash_add(&state, key);
    hash_add(&state, value);
    return hash_end(&state);
}

bool row_unseal(const struct store_identity *identity, const char *table, struct span key,
                struct span stored, struct span *value, struct hash *seal)
{
    if (stored.size < HASH_BYTES)
        return false;
    struct span content = { stored.data, stored.size - HASH_BYTES };
    memcpy(seal->bytes, stored.data + content.size, HASH_BYTES);
    struct hash expected = row_seal(identity, table, key, content);
    if (memcmp(expected.bytes, seal->bytes, HASH_BYTES) != 0)
        return false;
    *value = content;
    return true;
}

void seal_sum_add(uint8_t sum[HASH_BYTES], const struct hash *seal)
{
    unsigned carry = 0;
    for (int i = 0; i < HASH_BYTES; i++) {
        carry += (unsigned)sum[i] + seal->bytes[i];
        sum[i] = (uint8_t)carry;
        carry >>= 8;
    }
}

void seal_sum_subtract(uint8_t sum[HASH_BYTES], const struct hash *seal)
{
    int borrow = 0;
    for (int i = 0; i < HASH_BYTES; i++) {
        int difference = (int)sum[i] - seal->bytes[i] - borrow;
        borrow = difference < 0;
        sum[i] = (uint8_t)difference;
    }
}
