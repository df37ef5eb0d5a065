#ifndef SOLO_COMMON_BASE_HASH_H
#define SOLO_COMMON_BASE_HASH_H

#include <stdint.h>
#include <string.h>

#include <sodium.h>

#include "common/base/span.h"

/* BLAKE2b-256, libsodium's generic hash (RFC 7693). */
enum { HASH_BYTES = 32, HASH_TEXT_BYTES = 2 * HASH_BYTES + 1 };

struct hash {
    uint8_t bytes[HASH_BYTES];
};

struct hash hash_of(struct span data);

/* In parts: hash_begin, hash_add as often as needed, hash_end. */
struct hash_state {
    crypto_generichash_state state;
};
void hash_begin(struct hash_state *state);
void hash_add(struct hash_state *state, struct span data);
struct hash hash_end(struct hash_state *state);

bool hash_equal(const struct hash *a, const struct hash *b);

/* All zero: there is none. */
static inline bool hash_is_zero(const struct hash *hash)
{
    static const struct hash zero;
    return memcmp(hash, &zero, sizeof zero) == 0;
}

/* Lower-case hexadecimal; `text` has room for 2 * size + 1. */
char *hex_text(char *text, const void *data, size_t size);
/* Exactly 2 * size hexadecimal digits; false otherwise. */
bool hex_parse(const char *text, void *data, size_t size);

/* Random bytes from the kernel by way of libsodium; sodium is initialised on first use. */
void random_fill(void *data, size_t size);

#endif
