/* A secret's rows, and the way between a value and its ciphertext. */
#include <string.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "vaultd/secrets.h"

enum status secret_find(struct vault *vault, struct db_txn *txn, const char *tenant,
                        const char *name, struct secret_row *row)
{
    uint8_t key[SECRET_KEY_BYTES];
    struct span value;
    enum status status = table_get(txn, VAULT_SECRETS, secret_key(key, tenant, name), &value);
    if (status == STATUS_NOT_FOUND)
        return manifest_check_lately(&vault->manifests, txn, tenant) == STATUS_OK
                   ? STATUS_NOT_FOUND
                   : STATUS_DATA_LOSS;
    TRY(status);
    return secret_row_decode(value, row);
}

enum status secret_save(struct vault *vault, const char *tenant, const char *name,
                        struct vault_tenant *tenant_row, const struct secret_row *row)
{
    uint8_t key[SECRET_KEY_BYTES], bytes[SECRET_ROW_BYTES_MAX];
    return manifest_put(&vault->manifests, &vault->store.txn, tenant, tenant_row, VAULT_SECRETS,
                        secret_key(key, tenant, name), secret_row_encode(row, bytes));
}

size_t secret_stored_count(const struct secret_row *row)
{
    size_t count = 0;
    for (size_t i = 0; i < row->count; i++)
        count += row->versions[i].state == VERSION_STORED;
    return count;
}

const char *secret_state(const struct secret_row *row)
{
    if (row->deleted_up_to < row->latest)
        return "stored";
    return secret_stored_count(row) > 0 ? "deleted" : "destroyed";
}

const char *secret_version_state(const struct secret_row *row, const struct secret_version *version)
{
    if (version->state == VERSION_DESTROYED)
        return "destroyed";
    return version->version <= row->deleted_up_to ? "deleted" : "stored";
}

enum status secret_refuse_damaged(struct problem *problem, const char *field, const char *name)
{
    return problem_set(problem, STATUS_DATA_LOSS, field,
                       "%s is damaged in the vault's store: a row is missing, changed or from "
                       "another time; `soloctl vault verify` lists what is, restore a backup",
                       name);
}

/* The wrapped key of an epoch, out of the map: a put may move it. */
static enum status load_key(struct db_txn *txn, const char *tenant, uint32_t epoch,
                            uint8_t wrapped[WRAPPED_KEY_BYTES])
{
    uint8_t key[EPOCH_KEY_BYTES];
    struct span value = { 0 };
    enum status status = table_get(txn, VAULT_KEYS, epoch_key(key, tenant, epoch), &value);
    if (status == STATUS_NOT_FOUND || (status == STATUS_OK && value.size != WRAPPED_KEY_BYTES))
        return log_failure(STATUS_DATA_LOSS, "read a data key", "tenant", tenant, "epoch",
                           NUMBER(epoch), "reason", "it is not there");
    TRY(status);
    memcpy(wrapped, value.data, WRAPPED_KEY_BYTES);
    return STATUS_OK;
}

static enum status damaged(const struct version_place *place, const char *reason)
{
    return log_failure(STATUS_DATA_LOSS, "open a secret", "tenant", place->tenant, "name",
                       place->name, "version", NUMBER(place->version), "reason", reason);
}

enum status secret_value(struct vault *vault, struct db_txn *txn, const struct version_place *place,
                         const struct secret_version *version, uint8_t *value)
{
    uint8_t bytes[VERSION_KEY_BYTES], wrapped[WRAPPED_KEY_BYTES];
    struct span key = version_key(bytes, place->tenant, place->name, place->version), stored;
    struct version_row row;
    struct hash seal;
    enum status status = table_get_with_seal(txn, VAULT_VERSIONS, key, &stored, &seal);
    if (status == STATUS_NOT_FOUND)
        return damaged(place, "its row is missing");
    TRY(status);
    if (!hash_equal(&seal, &version->seal))
        return damaged(place, "its row is not the one that was put");
    TRY(version_row_decode(stored, &row));
    if (row.cipher != version->cipher || row.epoch != version->epoch ||
        row.stored_ns != version->stored_ns ||
        row.ciphertext.size != (size_t)version->bytes + TAG_BYTES)
        return damaged(place, "its row and its secret's row differ");
    TRY(load_key(txn, place->tenant, row.epoch, wrapped));
    return keyring_unseal(&vault->keyring, wrapped, place, &row, value)
               ? STATUS_OK
               : damaged(place, "it was not sealed by this vault, or not at this place");
}

enum status secret_store(struct vault *vault, const struct version_place *place, uint32_t epoch,
                         struct span value, struct secret_version *version)
{
    uint8_t bytes[VERSION_KEY_BYTES], wrapped[WRAPPED_KEY_BYTES];
    struct db_txn *txn = &vault->store.txn;
    struct span key = version_key(bytes, place->tenant, place->name, place->version);
    struct version_row head = {
        .cipher = vault->cipher,
        .epoch = epoch,
        .stored_ns = version->stored_ns,
    };
    size_t size = VERSION_HEAD_BYTES + value.size + TAG_BYTES;
    TRY(load_key(txn, place->tenant, epoch, wrapped));
    buffer_clear(&vault->row);
    uint8_t *row = buffer_reserve(&vault->row, size);
    if (row == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "seal a secret", "reason", "no memory");
    if (!keyring_seal(&vault->keyring, wrapped, place, &head, value, row))
        return damaged(place, "the data key does not open");
    TRY(table_put(txn, VAULT_VERSIONS, key, span_of(row, size)));
    version->version = place->version;
    version->cipher = head.cipher;
    version->epoch = epoch;
    version->bytes = (uint32_t)value.size;
    version->state = VERSION_STORED;
    version->seal = table_seal_of(txn, VAULT_VERSIONS, key, span_of(row, size));
    return STATUS_OK;
}
