/* A wave goes over all tenants, a few in each slice of a rotation: one transaction for all would
 * keep readers waiting. How far it is stands in meta. */
#include "vaultd/new_keys.h"

#include <string.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/log.h"

static const uint64_t work_ns_max = 2 * 1000 * 1000;
/* While it goes on: 1, and the name of the last tenant that was given a key. Otherwise 0. */
static const char wave_key[] = "vault.rotation";

enum status new_keys_for(struct vault *vault, const char *tenant, uint64_t *versions)
{
    struct db_txn *txn = &vault->store.txn;
    struct vault_tenant row;
    uint8_t key[EPOCH_KEY_BYTES], wrapped[WRAPPED_KEY_BYTES];
    TRY(manifest_load(txn, tenant, &row));
    row.epoch++;
    keyring_draw_data_key(&vault->keyring, tenant, row.epoch, wrapped);
    TRY(manifest_put(&vault->manifests, txn, tenant, &row, VAULT_KEYS,
                     epoch_key(key, tenant, row.epoch), span_of(wrapped, sizeof wrapped)));
    *versions += row.versions[0] + row.versions[1];
    return manifest_save(&vault->manifests, txn, tenant, &row);
}

struct wave {
    bool is_going;
    char after[NAME_BYTES_MAX + 1]; /* the tenant that was given its key last; "" for none */
};

static enum status wave_read(struct db_txn *txn, struct wave *wave)
{
    struct span row;
    *wave = (struct wave){ .is_going = false };
    enum status status = db_meta_get(txn, wave_key, &row);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    if (row.size == 0 || row.size > 1 + NAME_BYTES_MAX)
        return log_failure(STATUS_DATA_LOSS, "read how far a rotation is", "dir", txn->db->dir,
                           "reason", "not the form of its row");
    wave->is_going = row.data[0] == 1;
    memcpy(wave->after, row.data + 1, row.size - 1);
    return STATUS_OK;
}

static enum status wave_write(struct db_txn *txn, const struct wave *wave)
{
    uint8_t row[1 + NAME_BYTES_MAX];
    size_t size = strlen(wave->after);
    row[0] = wave->is_going;
    memcpy(row + 1, wave->after, size);
    return db_meta_put(txn, wave_key, span_of(row, 1 + size));
}

/* not_found: there is none after it. A broken row has a name, too. */
static enum status next_tenant(struct db_txn *txn, const char *after, char name[NAME_BYTES_MAX + 1])
{
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct span before = span_of_text(after), key = { 0 }, value;
    TRY(table_cursor_open(txn, VAULT_TENANTS, &cursor));
    enum status status = table_cursor_seek(&cursor, before, &key, &value);
    if (before.size > 0 && key.data != NULL && span_equal(key, before)) {
        key = (struct span){ 0 };
        status = table_cursor_next(&cursor, &key, &value);
    }
    if (key.data == NULL || key.size > NAME_BYTES_MAX)
        return status == STATUS_OK ? STATUS_DATA_LOSS : status;
    memcpy(name, key.data, key.size);
    name[key.size] = '\0';
    return STATUS_OK;
}

enum status new_keys_for_all(struct db_txn *txn)
{
    return wave_write(txn, &(struct wave){ .is_going = true });
}

struct left {
    const char *after; /* NULL: nobody waits for a new key */
    uint64_t tenants;
};

static enum status count_left(void *context, const char *tenant, const struct vault_tenant *row)
{
    struct left *left = context;
    bool is_waiting = left->after != NULL && strcmp(tenant, left->after) > 0;
    left->tenants += is_waiting || (row != NULL && row->oldest_epoch < row->epoch);
    return STATUS_OK;
}

enum status new_keys_left(struct db_txn *txn, uint64_t *tenants)
{
    struct wave wave;
    struct left left = { .after = NULL };
    TRY(wave_read(txn, &wave));
    if (wave.is_going)
        left.after = wave.after;
    TRY(manifests_each(txn, count_left, &left));
    *tenants = left.tenants;
    return STATUS_OK;
}

enum status new_keys_go_on(struct vault *vault, bool *is_going)
{
    struct wave wave;
    struct db_txn *txn = &vault->store.txn;
    uint64_t versions = 0, until_ns = clock_boottime_ns() + work_ns_max;
    TRY(wave_read(txn, &wave));
    *is_going = wave.is_going;
    if (!wave.is_going)
        return STATUS_OK;
    do {
        char name[NAME_BYTES_MAX + 1];
        enum status status = next_tenant(txn, wave.after, name);
        wave.is_going = status != STATUS_NOT_FOUND;
        if (!wave.is_going)
            break;
        TRY(status);
        memcpy(wave.after, name, sizeof name);
        status = manifest_check(&vault->manifests, txn, name);
        if (status == STATUS_OK)
            status = new_keys_for(vault, name, &versions);
        if (status == STATUS_DATA_LOSS)
            log_warning("a damaged tenant keeps its key", "tenant", name);
        else
            TRY(status);
    } while (clock_boottime_ns() < until_ns);
    return wave_write(txn, &wave);
}
