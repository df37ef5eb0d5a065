#ifndef SOLO_VAULTD_ROWS_H
#define SOLO_VAULTD_ROWS_H

#include "common/base/buffer.h"
#include "common/base/hash.h"
#include "common/base/limits.h"
#include "common/base/name.h"

/* The rows of the vault, packed and unpacked: fixed places, numbers big-endian. What is read was
 * written by these functions, or is data_loss (logged). Nothing here knows a key. */

enum {
    KEY_BYTES = 32,
    NONCE_BYTES = 24,
    TAG_BYTES = 16,
    WRAPPED_KEY_BYTES = NONCE_BYTES + KEY_BYTES + TAG_BYTES,
};

/* A byte of each version row; never reused for another meaning. */
enum cipher { CIPHER_XCHACHA20POLY1305 = 1, CIPHER_AES256GCM = 2, CIPHERS = 2 };
const char *cipher_name(enum cipher cipher);
/* By its name; 0 when there is none. */
enum cipher cipher_parse(const char *name);

/* --- keys of tables --- */

enum {
    TENANT_KEY_BYTES = NAME_BYTES_MAX + 1,
    EPOCH_KEY_BYTES = TENANT_KEY_BYTES + 4,
    SECRET_KEY_BYTES = TENANT_KEY_BYTES + NAME_BYTES_MAX,
    VERSION_KEY_BYTES = SECRET_KEY_BYTES + 1 + 8,
};
/* tenant NUL epoch [4] */
struct span epoch_key(uint8_t key[EPOCH_KEY_BYTES], const char *tenant, uint32_t epoch);
/* tenant NUL name; with the name "" where a tenant's secrets begin */
struct span secret_key(uint8_t key[SECRET_KEY_BYTES], const char *tenant, const char *name);
bool secret_key_read(struct span key, char tenant[NAME_BYTES_MAX + 1],
                     char name[NAME_BYTES_MAX + 1]);
/* tenant NUL name NUL version [8] */
struct span version_key(uint8_t key[VERSION_KEY_BYTES], const char *tenant, const char *name,
                        uint64_t version);

/* --- the master key, in meta --- */

enum key_source { KEY_SOURCE_KEY = 1, KEY_SOURCE_PASSPHRASE = 2 };
const char *key_source_name(enum key_source source);

enum { SALT_BYTES = 16, MASTER_HEAD_BYTES = 32, MASTER_ROW_BYTES = 32 + WRAPPED_KEY_BYTES };

/* 0 format u8 (1)  1 source u8  2 zero u16  4 operations u32  8 memory bytes u64  16 salt [16]
 * 32 wrapped master key. The last three are Argon2id's, zero without a passphrase. */
struct master_row {
    enum key_source source;
    uint32_t operations;
    uint64_t memory_bytes;
    uint8_t salt[SALT_BYTES];
    uint8_t wrapped[WRAPPED_KEY_BYTES];
};
void master_row_encode(const struct master_row *row, uint8_t bytes[MASTER_ROW_BYTES]);
enum status master_row_decode(struct span bytes, struct master_row *row);

/* --- tenants --- */

enum { TENANT_ROW_BYTES = 208 };

/* 0 format u8 (1)  1 zero [3]  4 epoch u32  8 oldest epoch u32  12 zero u32  16 generation u64
 * 24 secrets u64  32 versions u64 of each cipher  48 wrapped manifest key [72]  120 zero [24]
 * 144 sum [32]  176 authentication [32] */
struct vault_tenant {
    uint32_t epoch;             /* of new versions */
    uint32_t oldest_epoch;      /* whose key is still there; less while a rotation goes on */
    uint64_t generation;        /* counts changes */
    uint64_t secrets;           /* rows of VAULT_SECRETS */
    uint64_t versions[CIPHERS]; /* with a ciphertext, by cipher - 1 */
    uint8_t wrapped[WRAPPED_KEY_BYTES]; /* the key of the manifest */
    uint8_t sum[HASH_BYTES];            /* of the rows, see manifest.h */
    uint8_t mac[HASH_BYTES];            /* over all before, tenant and store */
};
void vault_tenant_encode(const struct vault_tenant *row, uint8_t bytes[TENANT_ROW_BYTES]);
enum status vault_tenant_decode(struct span bytes, struct vault_tenant *row);

/* --- secrets --- */

enum version_state { VERSION_STORED = 1, VERSION_DESTROYED = 2 };

struct secret_version {
    uint64_t version;
    uint64_t stored_ns;
    uint32_t bytes; /* of the value */
    uint32_t epoch;
    enum cipher cipher;
    enum version_state state;
    struct hash seal; /* of its row in VAULT_VERSIONS; zero when destroyed */
};

/* 0 format u8 (1)  1 zero u8  2 count u16  4 zero u32  8 created ns  16 updated ns  24 latest
 * 32 deleted up to  then for each version, ascending: version u64, stored ns u64, bytes u32, epoch
 * u32, cipher u8, state u8, zero u16, seal [32] */
struct secret_row {
    uint64_t created_ns, updated_ns;
    uint64_t latest;        /* the greatest version that there ever was */
    uint64_t deleted_up_to; /* no version up to this one can be read */
    size_t count;
    struct secret_version versions[SECRET_VERSIONS_MAX];
};
enum {
    SECRET_HEAD_BYTES = 40,
    SECRET_VERSION_BYTES = 60,
    SECRET_ROW_BYTES_MAX = SECRET_HEAD_BYTES + SECRET_VERSIONS_MAX * SECRET_VERSION_BYTES,
};
struct span secret_row_encode(const struct secret_row *row, uint8_t bytes[SECRET_ROW_BYTES_MAX]);
enum status secret_row_decode(struct span bytes, struct secret_row *row);
/* NULL when there is no such version. */
struct secret_version *secret_row_find(struct secret_row *row, uint64_t version);

/* --- versions --- */

/* 0 format u8 (1)  1 cipher u8  2 zero u16  4 epoch u32  8 stored ns u64  16 nonce [24]
 * 40 ciphertext and tag */
enum {
    VERSION_HEAD_BYTES = 40,
    VERSION_ROW_BYTES_MAX = VERSION_HEAD_BYTES + SECRET_VALUE_BYTES_MAX + TAG_BYTES,
};
struct version_row {
    enum cipher cipher;
    uint32_t epoch;
    uint64_t stored_ns;
    uint8_t nonce[NONCE_BYTES];
    struct span ciphertext; /* with its tag; of a decoded row: points into it */
};
/* The head only: the ciphertext is made behind it. */
void version_row_encode(const struct version_row *row, uint8_t head[VERSION_HEAD_BYTES]);
enum status version_row_decode(struct span bytes, struct version_row *row);

#endif
