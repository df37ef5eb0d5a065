#ifndef SOLO_COMMON_ACCESS_TOKEN_TEXT_H
#define SOLO_COMMON_ACCESS_TOKEN_TEXT_H

#include "common/base/hash.h"
#include "common/base/uuid.h"

/* A token as its holder has it: "solo_", 32 random bytes in base64url (43 characters), "_", and 6
 * characters of checksum: the first 36 bits, in base64url, of the SipHash-2-4 (with a key of zeros)
 * of the 48 characters before the second underscore. Prefix and checksum let scanners for secrets
 * find it, and let mistyped ones be refused without a look into the store; nothing rests on them.
 *
 * Whoever draws one wipes it (sodium_memzero) when it was handed over. */
enum { TOKEN_TEXT_SIZE = 55, TOKEN_TEXT_BYTES = TOKEN_TEXT_SIZE + 1 };

void token_text_draw(char text[TOKEN_TEXT_BYTES]);

/* Prefix, length, characters and checksum. */
bool token_text_is_valid(struct span text);

/* SHA-256 of the whole text: what is sent to token.grant, and the key in the store. */
struct hash token_text_hash(struct span text);

/* An accessor names a token without being one: "tok_" and a UUIDv7 in Crockford's base32, lower
 * case, so that texts sort by the time at which they were drawn. */
enum { ACCESSOR_TEXT_SIZE = 30, ACCESSOR_TEXT_BYTES = ACCESSOR_TEXT_SIZE + 1 };

char *accessor_text(char text[ACCESSOR_TEXT_BYTES], const struct uuid *accessor);
/* invalid_argument for anything that accessor_text does not write. */
enum status accessor_parse(const char *text, struct uuid *accessor);

#endif
