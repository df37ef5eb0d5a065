/* Each row has one form: what decodes packs again into the same bytes. */
#include "vaultd/rows.h"

#include <string.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/log.h"

enum { FORMAT = 1 };

static void put(uint8_t *place, uint64_t value, int size)
{
    for (int i = 0; i < size; i++)
        place[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
}

static uint64_t take(const uint8_t *place, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++)
        value = value << 8 | place[i];
    return value;
}

static bool is_zero(const uint8_t *place, size_t size)
{
    return sodium_is_zero(place, size) == 1;
}

static enum status refuse(const char *what, const char *rule)
{
    return log_failure(STATUS_DATA_LOSS, what, "reason", rule);
}

/* --- names --- */

static const char *const cipher_names[CIPHERS + 1] = {
    [CIPHER_XCHACHA20POLY1305] = "xchacha20poly1305",
    [CIPHER_AES256GCM] = "aes256gcm",
};

static bool cipher_is_known(uint64_t cipher)
{
    return cipher == CIPHER_XCHACHA20POLY1305 || cipher == CIPHER_AES256GCM;
}

const char *cipher_name(enum cipher cipher)
{
    ensure(cipher_is_known(cipher));
    return cipher_names[cipher];
}

enum cipher cipher_parse(const char *name)
{
    for (unsigned cipher = 1; cipher <= CIPHERS; cipher++)
        if (strcmp(cipher_names[cipher], name) == 0)
            return (enum cipher)cipher;
    return (enum cipher)0;
}

const char *key_source_name(enum key_source source)
{
    return source == KEY_SOURCE_PASSPHRASE ? "passphrase" : "key";
}

/* --- keys of tables --- */

static size_t put_text(uint8_t *place, const char *text)
{
    size_t size = strlen(text);
    ensure(size <= NAME_BYTES_MAX);
    memcpy(place, text, size);
    return size;
}

struct span epoch_key(uint8_t key[EPOCH_KEY_BYTES], const char *tenant, uint32_t epoch)
{
    size_t size = put_text(key, tenant);
    key[size++] = '\0';
    put(key + size, epoch, 4);
    return span_of(key, size + 4);
}

struct span secret_key(uint8_t key[SECRET_KEY_BYTES], const char *tenant, const char *name)
{
    size_t size = put_text(key, tenant);
    key[size++] = '\0';
    size += put_text(key + size, name);
    return span_of(key, size);
}

bool secret_key_read(struct span key, char tenant[NAME_BYTES_MAX + 1],
                     char name[NAME_BYTES_MAX + 1])
{
    const uint8_t *nul = memchr(key.data, '\0', key.size);
    size_t tenant_size = nul == NULL ? 0 : (size_t)(nul - key.data);
    size_t name_size = nul == NULL ? 0 : key.size - tenant_size - 1;
    if (tenant_size == 0 || tenant_size > NAME_BYTES_MAX || name_size == 0 ||
        name_size > NAME_BYTES_MAX)
        return false;
    memcpy(tenant, key.data, tenant_size);
    tenant[tenant_size] = '\0';
    memcpy(name, nul + 1, name_size);
    name[name_size] = '\0';
    return name_is_valid(tenant) && strlen(name) == name_size && secret_name_is_valid(name);
}

struct span version_key(uint8_t key[VERSION_KEY_BYTES], const char *tenant, const char *name,
                        uint64_t version)
{
    size_t size = secret_key(key, tenant, name).size;
    key[size++] = '\0';
    put(key + size, version, 8);
    return span_of(key, size + 8);
}

/* --- the master key --- */

void master_row_encode(const struct master_row *row, uint8_t bytes[MASTER_ROW_BYTES])
{
    memset(bytes, 0, MASTER_ROW_BYTES);
    bytes[0] = FORMAT;
    bytes[1] = (uint8_t)row->source;
    put(bytes + 4, row->operations, 4);
    put(bytes + 8, row->memory_bytes, 8);
    memcpy(bytes + 16, row->salt, SALT_BYTES);
    memcpy(bytes + MASTER_HEAD_BYTES, row->wrapped, WRAPPED_KEY_BYTES);
}

enum status master_row_decode(struct span bytes, struct master_row *row)
{
    static const char what[] = "read the row of the master key";
    const uint8_t *data = bytes.data;
    if (bytes.size != MASTER_ROW_BYTES || data[0] != FORMAT || !is_zero(data + 2, 2))
        return refuse(what, "its format is not known here");
    struct master_row read = { .source = (enum key_source)data[1],
                               .operations = (uint32_t)take(data + 4, 4),
                               .memory_bytes = take(data + 8, 8) };
    if (read.source != KEY_SOURCE_KEY && read.source != KEY_SOURCE_PASSPHRASE)
        return refuse(what, "its source is not known here");
    bool has_cost = read.operations > 0 && read.memory_bytes >= crypto_pwhash_MEMLIMIT_MIN &&
                    read.memory_bytes <= (uint64_t)4 << 30 && read.operations <= 64;
    if (read.source == KEY_SOURCE_PASSPHRASE ? !has_cost : !is_zero(data + 4, 28))
        return refuse(what, "its parameters are out of bounds");
    memcpy(read.salt, data + 16, SALT_BYTES);
    memcpy(read.wrapped, data + MASTER_HEAD_BYTES, WRAPPED_KEY_BYTES);
    *row = read;
    return STATUS_OK;
}

/* --- tenants --- */

enum { TENANT_AT_WRAPPED = 48, TENANT_AT_SUM = 144, TENANT_AT_MAC = 176 };

void vault_tenant_encode(const struct vault_tenant *row, uint8_t bytes[TENANT_ROW_BYTES])
{
    memset(bytes, 0, TENANT_ROW_BYTES);
    bytes[0] = FORMAT;
    put(bytes + 4, row->epoch, 4);
    put(bytes + 8, row->oldest_epoch, 4);
    put(bytes + 16, row->generation, 8);
    put(bytes + 24, row->secrets, 8);
    for (int i = 0; i < CIPHERS; i++)
        put(bytes + 32 + 8 * i, row->versions[i], 8);
    memcpy(bytes + TENANT_AT_WRAPPED, row->wrapped, WRAPPED_KEY_BYTES);
    memcpy(bytes + TENANT_AT_SUM, row->sum, HASH_BYTES);
    memcpy(bytes + TENANT_AT_MAC, row->mac, HASH_BYTES);
}

enum status vault_tenant_decode(struct span bytes, struct vault_tenant *row)
{
    static const char what[] = "read a tenant's row";
    const uint8_t *data = bytes.data;
    if (bytes.size != TENANT_ROW_BYTES || data[0] != FORMAT || !is_zero(data + 1, 3) ||
        !is_zero(data + 12, 4) || !is_zero(data + 120, 24))
        return refuse(what, "its format is not known here");
    struct vault_tenant read = { .epoch = (uint32_t)take(data + 4, 4),
                                 .oldest_epoch = (uint32_t)take(data + 8, 4),
                                 .generation = take(data + 16, 8),
                                 .secrets = take(data + 24, 8) };
    if (read.oldest_epoch == 0 || read.oldest_epoch > read.epoch)
        return refuse(what, "its epochs are out of order");
    for (int i = 0; i < CIPHERS; i++)
        read.versions[i] = take(data + 32 + 8 * i, 8);
    memcpy(read.wrapped, data + TENANT_AT_WRAPPED, WRAPPED_KEY_BYTES);
    memcpy(read.sum, data + TENANT_AT_SUM, HASH_BYTES);
    memcpy(read.mac, data + TENANT_AT_MAC, HASH_BYTES);
    *row = read;
    return STATUS_OK;
}

/* --- secrets --- */

struct span secret_row_encode(const struct secret_row *row, uint8_t bytes[SECRET_ROW_BYTES_MAX])
{
    size_t size = SECRET_HEAD_BYTES + row->count * SECRET_VERSION_BYTES;
    ensure(row->count <= SECRET_VERSIONS_MAX);
    memset(bytes, 0, size);
    bytes[0] = FORMAT;
    put(bytes + 2, row->count, 2);
    put(bytes + 8, row->created_ns, 8);
    put(bytes + 16, row->updated_ns, 8);
    put(bytes + 24, row->latest, 8);
    put(bytes + 32, row->deleted_up_to, 8);
    for (size_t i = 0; i < row->count; i++) {
        const struct secret_version *version = &row->versions[i];
        uint8_t *place = bytes + SECRET_HEAD_BYTES + i * SECRET_VERSION_BYTES;
        put(place, version->version, 8);
        put(place + 8, version->stored_ns, 8);
        put(place + 16, version->bytes, 4);
        put(place + 20, version->epoch, 4);
        place[24] = (uint8_t)version->cipher;
        place[25] = (uint8_t)version->state;
        memcpy(place + 28, version->seal.bytes, HASH_BYTES);
    }
    return span_of(bytes, size);
}

static const char *broken_version(const struct secret_version *version, uint64_t after,
                                  uint64_t latest)
{
    if (version->version <= after || version->version > latest)
        return "its versions are out of order";
    if (!cipher_is_known(version->cipher) || version->epoch == 0 ||
        version->bytes > SECRET_VALUE_BYTES_MAX)
        return "a version of it is out of bounds";
    bool is_destroyed = version->state == VERSION_DESTROYED;
    if (!is_destroyed && version->state != VERSION_STORED)
        return "a version of it is in no known state";
    return is_destroyed && !is_zero(version->seal.bytes, HASH_BYTES)
               ? "a destroyed version of it has a seal"
               : NULL;
}

enum status secret_row_decode(struct span bytes, struct secret_row *row)
{
    static const char what[] = "read a secret's row";
    const uint8_t *data = bytes.data;
    if (bytes.size < SECRET_HEAD_BYTES || data[0] != FORMAT || data[1] != 0 ||
        !is_zero(data + 4, 4))
        return refuse(what, "its format is not known here");
    row->count = (size_t)take(data + 2, 2);
    if (row->count > SECRET_VERSIONS_MAX ||
        bytes.size != SECRET_HEAD_BYTES + row->count * SECRET_VERSION_BYTES)
        return refuse(what, "not the size of its versions");
    row->created_ns = take(data + 8, 8);
    row->updated_ns = take(data + 16, 8);
    row->latest = take(data + 24, 8);
    row->deleted_up_to = take(data + 32, 8);
    if (row->latest == 0 || row->deleted_up_to > row->latest)
        return refuse(what, "its numbers are out of order");
    uint64_t after = 0;
    for (size_t i = 0; i < row->count; i++) {
        const uint8_t *place = data + SECRET_HEAD_BYTES + i * SECRET_VERSION_BYTES;
        struct secret_version *version = &row->versions[i];
        *version = (struct secret_version){ .version = take(place, 8),
                                            .stored_ns = take(place + 8, 8),
                                            .bytes = (uint32_t)take(place + 16, 4),
                                            .epoch = (uint32_t)take(place + 20, 4),
                                            .cipher = (enum cipher)place[24],
                                            .state = (enum version_state)place[25] };
        memcpy(version->seal.bytes, place + 28, HASH_BYTES);
        const char *rule = broken_version(version, after, row->latest);
        if (rule == NULL && !is_zero(place + 26, 2))
            rule = "its format is not known here";
        if (rule != NULL)
            return refuse(what, rule);
        after = version->version;
    }
    return STATUS_OK;
}

struct secret_version *secret_row_find(struct secret_row *row, uint64_t version)
{
    for (size_t i = row->count; i-- > 0;)
        if (row->versions[i].version == version)
            return &row->versions[i];
    return NULL;
}

/* --- versions --- */

void version_row_encode(const struct version_row *row, uint8_t head[VERSION_HEAD_BYTES])
{
    memset(head, 0, VERSION_HEAD_BYTES);
    head[0] = FORMAT;
    head[1] = (uint8_t)row->cipher;
    put(head + 4, row->epoch, 4);
    put(head + 8, row->stored_ns, 8);
    memcpy(head + 16, row->nonce, NONCE_BYTES);
}

enum status version_row_decode(struct span bytes, struct version_row *row)
{
    static const char what[] = "read a version's row";
    const uint8_t *data = bytes.data;
    if (bytes.size < VERSION_HEAD_BYTES + TAG_BYTES || bytes.size > VERSION_ROW_BYTES_MAX ||
        data[0] != FORMAT || !is_zero(data + 2, 2))
        return refuse(what, "its format is not known here");
    if (!cipher_is_known(data[1]))
        return refuse(what, "its cipher is not known here");
    struct version_row read = { .cipher = (enum cipher)data[1],
                                .epoch = (uint32_t)take(data + 4, 4),
                                .stored_ns = take(data + 8, 8) };
    if (read.epoch == 0)
        return refuse(what, "it has no epoch");
    memcpy(read.nonce, data + 16, NONCE_BYTES);
    read.ciphertext = span_of(data + VERSION_HEAD_BYTES, bytes.size - VERSION_HEAD_BYTES);
    *row = read;
    return STATUS_OK;
}
