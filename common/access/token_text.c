/* Texts of tokens and of their accessors. Nothing here looks anything up. */
#include "common/access/token_text.h"

#include <endian.h>
#include <nettle/sha2.h>
#include <string.h>

#include "common/base/ensure.h"

static const char token_prefix[] = "solo_", accessor_prefix[] = "tok_";
static const char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char base32[] = "0123456789abcdefghjkmnpqrstvwxyz";

enum {
    TOKEN_RANDOM_BYTES = 32,
    RANDOM_AT = sizeof token_prefix - 1,
    RANDOM_CHARACTERS = 43,
    CHECKED_CHARACTERS = RANDOM_AT + RANDOM_CHARACTERS,
    CHECKSUM_AT = CHECKED_CHARACTERS + 1,
    CHECKSUM_CHARACTERS = TOKEN_TEXT_SIZE - CHECKSUM_AT,
    ACCESSOR_AT = sizeof accessor_prefix - 1,
    ACCESSOR_CHARACTERS = ACCESSOR_TEXT_SIZE - ACCESSOR_AT,
};
_Static_assert((int)CHECKSUM_CHARACTERS == 6, "36 bits");
_Static_assert((int)ACCESSOR_CHARACTERS == 26, "128 bits in groups of five, the first with two");

static void make_checksum(const void *checked, char checksum[CHECKSUM_CHARACTERS])
{
    static const unsigned char no_key[crypto_shorthash_KEYBYTES];
    uint64_t bits;
    _Static_assert(sizeof bits == crypto_shorthash_BYTES, "it fits a number");
    crypto_shorthash((unsigned char *)&bits, checked, CHECKED_CHARACTERS, no_key);
    bits = be64toh(bits) >> 28;
    for (int i = CHECKSUM_CHARACTERS - 1; i >= 0; i--, bits >>= 6)
        checksum[i] = base64url[bits & 63];
}

void token_text_draw(char text[TOKEN_TEXT_BYTES])
{
    uint8_t drawn[TOKEN_RANDOM_BYTES];
    random_fill(drawn, sizeof drawn);
    memcpy(text, token_prefix, RANDOM_AT);
    sodium_bin2base64(text + RANDOM_AT, RANDOM_CHARACTERS + 1, drawn, sizeof drawn,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(drawn, sizeof drawn);
    text[CHECKED_CHARACTERS] = '_';
    make_checksum(text, text + CHECKSUM_AT);
    text[TOKEN_TEXT_SIZE] = '\0';
}

/* What stands before the checksum needs no look of its own: only a drawn text has this checksum, or
 * one that somebody made to have it, and neither that nor its hash is a key of the store. */
bool token_text_is_valid(struct span text)
{
    if (text.size != TOKEN_TEXT_SIZE || memcmp(text.data, token_prefix, RANDOM_AT) != 0 ||
        text.data[CHECKED_CHARACTERS] != '_')
        return false;
    char checksum[CHECKSUM_CHARACTERS];
    make_checksum(text.data, checksum);
    return memcmp(checksum, text.data + CHECKSUM_AT, CHECKSUM_CHARACTERS) == 0; /* no secret */
}

/* By nettle, which uses the instructions that processors have for it: libsodium's takes seven times
 * as long, which was a third of a check. */
struct hash token_text_hash(struct span text)
{
    struct sha256_ctx state;
    struct hash hash;
    _Static_assert(sizeof hash.bytes == SHA256_DIGEST_SIZE, "a hash is 256 bits");
    sha256_init(&state);
    sha256_update(&state, text.size, text.data);
    sha256_digest(&state, sizeof hash.bytes, hash.bytes);
    sodium_memzero(&state, sizeof state); /* the text stood in it */
    return hash;
}

/* --- accessors --- */

char *accessor_text(char text[ACCESSOR_TEXT_BYTES], const struct uuid *accessor)
{
    uint64_t high, low;
    memcpy(&high, accessor->bytes, 8);
    memcpy(&low, accessor->bytes + 8, 8);
    high = be64toh(high);
    low = be64toh(low);
    /* Two digits of the first 8 bits, then twelve of 60, twice: none waits for another. */
    uint64_t middle = high << 4 | low >> 60;
    char *digits = text + ACCESSOR_AT;
    memcpy(text, accessor_prefix, ACCESSOR_AT);
    digits[0] = base32[high >> 61];
    digits[1] = base32[high >> 56 & 31];
    for (int i = 0; i < 12; i++) {
        digits[2 + i] = base32[middle >> (55 - 5 * i) & 31];
        digits[14 + i] = base32[low >> (55 - 5 * i) & 31];
    }
    text[ACCESSOR_TEXT_SIZE] = '\0';
    return text;
}

enum status accessor_parse(const char *text, struct uuid *accessor)
{
    if (strlen(text) != ACCESSOR_TEXT_SIZE || memcmp(text, accessor_prefix, ACCESSOR_AT) != 0)
        return STATUS_INVALID_ARGUMENT;
    struct uuid read = { 0 };
    for (int i = 0; i < ACCESSOR_CHARACTERS; i++) {
        const char *digit = strchr(base32, text[ACCESSOR_AT + i]);
        if (digit == NULL)
            return STATUS_INVALID_ARGUMENT;
        unsigned value = (unsigned)(digit - base32);
        if (i == 0 && value > 7)
            return STATUS_INVALID_ARGUMENT;
        for (int j = 0; j < 5; j++) {
            int bit = 5 * i + j - 2;
            if (bit >= 0)
                read.bytes[bit / 8] |= (uint8_t)((value >> (4 - j) & 1) << (7 - bit % 8));
        }
    }
    *accessor = read;
    return STATUS_OK;
}
