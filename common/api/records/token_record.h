#ifndef SOLO_COMMON_API_RECORDS_TOKEN_RECORD_H
#define SOLO_COMMON_API_RECORDS_TOKEN_RECORD_H

#include "common/api/api.h"
#include "common/base/buffer.h"
#include "common/base/uuid.h"

/* A row of the table `tokens`, by the SHA-256 of its token. Fixed places, numbers big-endian, so
 * that a check reads it without parsing:
 *
 *   0 format u8 (1)   1 depth u8   2 bytes of tenant u8   3 zero u8   4 permissions u32
 *   8 granted ns u64   16 expires ns u64   24 renewed ns u64   32 ttl ms u64   40 accessor [16]
 *
 * then, of depth > 0 only, the parent's SHA-256 [32] and that of the granted token it descends from
 * [32]; then the tenant, then the metadata, a msgpack map or nothing. What the seal of a granted
 * token without metadata covers is one block of BLAKE2b, unless its tenant has a long name. */
enum {
    TOKEN_RECORD_FORMAT = 1,
    TOKEN_RECORD_FIXED_BYTES = 56,
    TOKEN_RECORD_PARENTS_BYTES = 2 * HASH_BYTES,
    TOKEN_RECORD_BYTES_MAX = TOKEN_RECORD_FIXED_BYTES + TOKEN_RECORD_PARENTS_BYTES +
                             NAME_BYTES_MAX + TOKEN_METADATA_BYTES_MAX,
};

/* In the payload of its events: it was granted while tokens are kept in RUN (see
 * token_persistence_enabled), so that its end need not be told. */
#define TOKEN_IS_OF_BOOT "of_boot"

struct token_record {
    struct uuid accessor;
    char tenant[NAME_BYTES_MAX + 1];
    uint32_t permissions; /* see permission_bit */
    unsigned depth;       /* of attenuation; 0: granted */
    uint64_t granted_ns;  /* times are trusted ones: token_clock.h */
    uint64_t expires_ns;  /* from this moment on it is void; 0: never */
    uint64_t renewed_ns;  /* 0: never */
    uint64_t ttl_ms;      /* it was asked for; 0: without end, or as its parent */
    struct hash parent;   /* of depth > 0, otherwise all zero */
    struct hash root;     /* of depth > 0: the granted token, otherwise all zero */
    struct span metadata; /* of a decoded record: points into it */
};

/* Replaces what is in `row`. invalid_argument for what decoding would not accept. */
enum status token_record_encode(const struct token_record *record, struct buffer *row);

/* data_loss (logged) for anything that token_record_encode does not write. */
enum status token_record_decode(struct span row, struct token_record *record);

static inline bool token_record_is_expired(const struct token_record *record, uint64_t now_ns)
{
    return record->expires_ns != 0 && now_ns >= record->expires_ns;
}

#endif
