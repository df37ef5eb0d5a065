/* Thin over libsodium, so that one hash and one source of randomness are used everywhere. */
#include "common/base/hash.h"

#include "common/base/ensure.h"

static void sodium_ready(void)
{
    static bool is_ready;
    if (!is_ready) {
        ensure(sodium_init() >= 0);
        is_ready = true;
    }
}

struct hash hash_of(struct span data)
{
    struct hash hash;
    crypto_generichash(hash.bytes, sizeof hash.bytes, data.data, data.size, NULL, 0);
    return hash;
}

void hash_begin(struct hash_state *state)
{
    crypto_generichash_init(&state->state, NULL, 0, HASH_BYTES);
}

void hash_add(struct hash_state *state, struct span data)
{
    crypto_generichash_update(&state->state, data.data, data.size);
}

struct hash hash_end(struct hash_state *state)
{
    struct hash hash;
    crypto_generichash_final(&state->state, hash.bytes, sizeof hash.bytes);
    return hash;
}

bool hash_equal(const struct hash *a, const struct hash *b)
{
    _Static_assert((int)HASH_BYTES == crypto_verify_32_BYTES, "it compares in constant time");
    return crypto_verify_32(a->bytes, b->bytes) == 0;
}

char *hex_text(char *text, const void *data, size_t size)
{
    return sodium_bin2hex(text, 2 * size + 1, data, size);
}

bool hex_parse(const char *text, void *data, size_t size)
{
    size_t parsed;
    const char *end;
    return strlen(text) == 2 * size &&
           sodium_hex2bin(data, size, text, 2 * size, NULL, &parsed, &end) == 0 && parsed == size &&
           *end == '\0';
}

void random_fill(void *data, size_t size)
{
    sodium_ready();
    randombytes_buf(data, size);
}
