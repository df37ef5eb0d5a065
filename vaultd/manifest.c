/* Sums of keyed hashes: what a change costs does not depend on how many rows there are. A row that
 * is merely broken (its content does not match its seal) is its own affair and shall not take its
 * neighbours with it: so two sums are made of what is found, one with the seals as they stand and
 * one as the contents say, and either may match. */
#include "vaultd/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/db/seal.h"

static const char list_key[] = "vault.tenants";
static const uint64_t lately_ns = 1000000000;
enum { LIST_AT_SUM = 16, LIST_AT_MAC = 48, LIST_BYTES = 80, MANIFEST_AT_MAC = 176 };

static enum status mismatch(const struct db_txn *txn, const char *tenant, const char *reason)
{
    return log_failure(STATUS_DATA_LOSS, "compare rows of the vault with their proof", "dir",
                       txn->db->dir, "tenant", tenant, "reason", reason);
}

/* --- what was compared --- */

void manifests_reset(struct manifests *manifests)
{
    manifests->count = 0;
    manifests->list_compared_ns = 0;
}

size_t manifests_broken(const struct manifests *manifests)
{
    size_t count = 0;
    for (size_t i = 0; i < manifests->count; i++)
        count += manifests->tenants[i].state == TENANT_BROKEN;
    return count;
}

/* The place where a tenant stands, or would. */
static size_t find(const struct manifests *manifests, const char *tenant, bool *is_there)
{
    size_t low = 0, high = manifests->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(manifests->tenants[middle].name, tenant) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *is_there = low < manifests->count && strcmp(manifests->tenants[low].name, tenant) == 0;
    return low;
}

static enum tenant_state state_of(const struct manifests *manifests, const char *tenant)
{
    bool is_there;
    size_t at = find(manifests, tenant, &is_there);
    return is_there ? manifests->tenants[at].state : TENANT_UNCHECKED;
}

static void note(struct manifests *manifests, const char *tenant, enum tenant_state state)
{
    bool is_there;
    size_t at = find(manifests, tenant, &is_there);
    struct checked_tenant *place = &manifests->tenants[at];
    if (!is_there) {
        if (manifests->count == COUNT_OF(manifests->tenants))
            return; /* is compared each time */
        memmove(place + 1, place, (manifests->count - at) * sizeof *place);
        memcpy(place->name, tenant, strlen(tenant) + 1);
        manifests->count++;
    }
    place->state = state;
    place->compared_ns = clock_boottime_ns();
}

/* --- walking over broken rows --- */

static enum status walk_first(struct table_cursor *cursor, struct span at, struct span *key,
                              struct span *value)
{
    *key = (struct span){ 0 };
    return table_cursor_seek(cursor, at, key, value);
}

static enum status walk_next(struct table_cursor *cursor, struct span *key, struct span *value)
{
    *key = (struct span){ 0 };
    return table_cursor_next(cursor, key, value);
}

/* A broken row still has a key; without one the walk itself has failed. */
static bool is_row(enum status status, struct span key)
{
    return status == STATUS_OK || (status == STATUS_DATA_LOSS && key.data != NULL);
}

/* --- summing --- */

struct tally {
    uint64_t rows;
    uint8_t stored[HASH_BYTES], expected[HASH_BYTES];
};

static void tally_add(struct manifests *manifests, struct tally *tally, unsigned table,
                      const struct hash *stored, const struct hash *expected)
{
    struct hash hashes[2];
    const struct hash *seals[2] = { stored, expected };
    for (int i = 0; i < 2; i++)
        hashes[i] = table == VAULT_TENANTS
                        ? keyring_list_row(manifests->keyring, false, seals[i])
                        : keyring_manifest_row(manifests->keyring, table, seals[i]);
    seal_sum_add(tally->stored, &hashes[0]);
    seal_sum_add(tally->expected, &hashes[1]);
    tally->rows++;
}

/* All rows whose key begins with `prefix`. */
static enum status tally_rows(struct manifests *manifests, struct db_txn *txn, unsigned table,
                              struct span prefix, struct tally *tally)
{
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct span key, value;
    TRY(table_cursor_open(txn, table, &cursor));
    enum status status = walk_first(&cursor, prefix, &key, &value);
    for (; is_row(status, key); status = walk_next(&cursor, &key, &value)) {
        struct hash stored, expected;
        if (key.size < prefix.size || !span_equal(span_of(key.data, prefix.size), prefix))
            return STATUS_OK;
        TRY(table_cursor_seals(&cursor, &stored, &expected));
        tally_add(manifests, tally, table, &stored, &expected);
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static bool tally_matches(const struct tally *tally, const uint8_t sum[HASH_BYTES])
{
    return memcmp(tally->stored, sum, HASH_BYTES) == 0 ||
           memcmp(tally->expected, sum, HASH_BYTES) == 0;
}

/* --- the list of tenants --- */

struct list {
    uint64_t count, generation;
    uint8_t sum[HASH_BYTES];
};

static void list_encode(struct manifests *manifests, bool is_next, const struct list *list,
                        uint8_t bytes[LIST_BYTES])
{
    struct table_number count = table_number(list->count);
    struct table_number generation = table_number(list->generation);
    memcpy(bytes, count.bytes, 8);
    memcpy(bytes + 8, generation.bytes, 8);
    memcpy(bytes + LIST_AT_SUM, list->sum, HASH_BYTES);
    struct hash mac = keyring_list_mac(manifests->keyring, is_next, span_of(bytes, LIST_AT_MAC));
    memcpy(bytes + LIST_AT_MAC, mac.bytes, HASH_BYTES);
}

static enum status list_load(struct manifests *manifests, struct db_txn *txn, struct list *list)
{
    struct span row;
    *list = (struct list){ .count = 0 };
    enum status status = db_meta_get(txn, list_key, &row);
    if (status == STATUS_NOT_FOUND || (status == STATUS_OK && row.size != LIST_BYTES))
        return mismatch(txn, "", "the list of tenants has no proof");
    TRY(status);
    struct hash mac = keyring_list_mac(manifests->keyring, false, span_of(row.data, LIST_AT_MAC));
    if (sodium_memcmp(mac.bytes, row.data + LIST_AT_MAC, HASH_BYTES) != 0)
        return mismatch(txn, "", "the proof of the list of tenants was not written by this vault");
    list->count = table_number_value(span_of(row.data, 8));
    list->generation = table_number_value(span_of(row.data + 8, 8));
    memcpy(list->sum, row.data + LIST_AT_SUM, HASH_BYTES);
    return STATUS_OK;
}

static enum status list_save(struct manifests *manifests, struct db_txn *txn, bool is_next,
                             struct list *list)
{
    uint8_t bytes[LIST_BYTES];
    list->generation++;
    list_encode(manifests, is_next, list, bytes);
    return db_meta_put(txn, list_key, span_of(bytes, sizeof bytes));
}

enum status manifests_begin_list(struct manifests *manifests, struct db_txn *txn)
{
    struct list list = { .count = 0 };
    return list_save(manifests, txn, false, &list);
}

enum status manifests_each(struct db_txn *txn,
                           enum status (*visit)(void *context, const char *tenant,
                                                const struct vault_tenant *row),
                           void *context)
{
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct span key, value;
    char tenant[NAME_BYTES_MAX + 1];
    TRY(table_cursor_open(txn, VAULT_TENANTS, &cursor));
    enum status status = walk_first(&cursor, (struct span){ 0 }, &key, &value);
    for (; is_row(status, key); status = walk_next(&cursor, &key, &value)) {
        struct vault_tenant row;
        if (key.size == 0 || key.size > NAME_BYTES_MAX)
            return mismatch(txn, "", "a key of the list of tenants is no name");
        memcpy(tenant, key.data, key.size);
        tenant[key.size] = '\0';
        bool is_good = status == STATUS_OK && vault_tenant_decode(value, &row) == STATUS_OK;
        TRY(visit(context, tenant, is_good ? &row : NULL));
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

struct counting {
    struct manifests *manifests;
    struct vault_totals *totals;
};

static enum status count_tenant(void *context, const char *tenant, const struct vault_tenant *row)
{
    const struct counting *counting = context;
    struct vault_totals *totals = counting->totals;
    totals->tenants++;
    if (row == NULL) {
        note(counting->manifests, tenant, TENANT_BROKEN);
        return STATUS_OK;
    }
    totals->secrets += row->secrets;
    for (int i = 0; i < CIPHERS; i++)
        totals->versions[i] += row->versions[i];
    return STATUS_OK;
}

enum status manifests_check_list(struct manifests *manifests, struct db_txn *txn,
                                 struct vault_totals *totals)
{
    struct list list;
    struct tally tally = { 0 };
    *totals = (struct vault_totals){ 0 };
    TRY(list_load(manifests, txn, &list));
    TRY(tally_rows(manifests, txn, VAULT_TENANTS, (struct span){ 0 }, &tally));
    if (tally.rows != list.count || !tally_matches(&tally, list.sum))
        return mismatch(txn, "", "a tenant's row is missing, extra or from another time");
    struct counting counting = { manifests, totals };
    return manifests_each(txn, count_tenant, &counting);
}

enum status manifests_check_list_lately(struct manifests *manifests, struct db_txn *txn)
{
    struct vault_totals totals;
    uint64_t now_ns = clock_boottime_ns();
    if (manifests->list_compared_ns == 0 || now_ns - manifests->list_compared_ns >= lately_ns) {
        manifests->list_status = manifests_check_list(manifests, txn, &totals);
        manifests->list_compared_ns = now_ns;
    }
    return manifests->list_status;
}

/* --- one tenant --- */

enum status manifest_load(struct db_txn *txn, const char *tenant, struct vault_tenant *row)
{
    struct span value;
    TRY(table_get(txn, VAULT_TENANTS, span_of_text(tenant), &value));
    return vault_tenant_decode(value, row);
}

static struct hash mac_of(struct manifests *manifests, const char *tenant,
                          const struct vault_tenant *row)
{
    uint8_t bytes[TENANT_ROW_BYTES];
    vault_tenant_encode(row, bytes);
    return keyring_manifest_mac(manifests->keyring, tenant, span_of(bytes, MANIFEST_AT_MAC));
}

static enum status compare(struct manifests *manifests, struct db_txn *txn, const char *tenant,
                           const struct vault_tenant *row)
{
    uint8_t prefix[SECRET_KEY_BYTES];
    struct tally tally = { 0 };
    struct hash mac = mac_of(manifests, tenant, row);
    if (sodium_memcmp(mac.bytes, row->mac, HASH_BYTES) != 0)
        return mismatch(txn, tenant, "the manifest was not written by this vault");
    struct span keys = secret_key(prefix, tenant, "");
    TRY(tally_rows(manifests, txn, VAULT_KEYS, keys, &tally));
    uint64_t key_count = tally.rows;
    TRY(tally_rows(manifests, txn, VAULT_SECRETS, keys, &tally));
    return tally.rows - key_count == row->secrets && tally_matches(&tally, row->sum)
               ? STATUS_OK
               : mismatch(txn, tenant, "a row is missing, extra or from another time");
}

enum status manifest_check_again(struct manifests *manifests, struct db_txn *txn,
                                 const char *tenant)
{
    struct vault_tenant row;
    enum status status = manifest_load(txn, tenant, &row);
    if (status == STATUS_NOT_FOUND) {
        TRY(manifests_check_list_lately(manifests, txn));
        return status;
    }
    if (status == STATUS_OK && !keyring_manifest_begin(manifests->keyring, tenant, row.wrapped))
        status = mismatch(txn, tenant, "the key of its manifest does not open");
    else if (status == STATUS_OK) {
        status = compare(manifests, txn, tenant, &row);
        keyring_manifest_end(manifests->keyring);
    }
    if (status == STATUS_OK || status == STATUS_DATA_LOSS)
        note(manifests, tenant, status == STATUS_OK ? TENANT_WHOLE : TENANT_BROKEN);
    return status;
}

enum status manifest_check(struct manifests *manifests, struct db_txn *txn, const char *tenant)
{
    switch (state_of(manifests, tenant)) {
    case TENANT_WHOLE:
        return STATUS_OK;
    case TENANT_BROKEN:
        return STATUS_DATA_LOSS;
    default:
        return manifest_check_again(manifests, txn, tenant);
    }
}

enum status manifest_check_lately(struct manifests *manifests, struct db_txn *txn,
                                  const char *tenant)
{
    bool is_there;
    size_t at = find(manifests, tenant, &is_there);
    return is_there && clock_boottime_ns() - manifests->tenants[at].compared_ns < lately_ns
               ? manifest_check(manifests, txn, tenant)
               : manifest_check_again(manifests, txn, tenant);
}

/* --- changing --- */

enum status manifest_save(struct manifests *manifests, struct db_txn *txn, const char *tenant,
                          struct vault_tenant *row)
{
    uint8_t bytes[TENANT_ROW_BYTES];
    struct span key = span_of_text(tenant);
    struct list list;
    struct hash seal;
    TRY(list_load(manifests, txn, &list));
    if (!keyring_manifest_begin(manifests->keyring, tenant, row->wrapped))
        return mismatch(txn, tenant, "the key of its manifest does not open");
    row->generation++;
    struct hash mac = mac_of(manifests, tenant, row);
    keyring_manifest_end(manifests->keyring);
    memcpy(row->mac, mac.bytes, HASH_BYTES);
    vault_tenant_encode(row, bytes);
    enum status status = table_seal(txn, VAULT_TENANTS, key, &seal);
    if (status == STATUS_OK) {
        struct hash before = keyring_list_row(manifests->keyring, false, &seal);
        seal_sum_subtract(list.sum, &before);
    } else if (status == STATUS_NOT_FOUND) {
        list.count++;
    } else {
        return status;
    }
    seal = table_seal_of(txn, VAULT_TENANTS, key, span_of(bytes, sizeof bytes));
    struct hash after = keyring_list_row(manifests->keyring, false, &seal);
    seal_sum_add(list.sum, &after);
    TRY(table_put(txn, VAULT_TENANTS, key, span_of(bytes, sizeof bytes)));
    return list_save(manifests, txn, false, &list);
}

static enum status put_row(struct manifests *manifests, struct db_txn *txn,
                           struct vault_tenant *row, unsigned table, struct span key,
                           struct span value)
{
    struct hash seal;
    enum status status = table_seal(txn, table, key, &seal);
    if (status != STATUS_NOT_FOUND) {
        TRY(status);
        struct hash before = keyring_manifest_row(manifests->keyring, table, &seal);
        seal_sum_subtract(row->sum, &before);
    }
    if (table == VAULT_SECRETS)
        row->secrets += status == STATUS_NOT_FOUND;
    if (value.size == 0)
        return table_delete(txn, table, key);
    seal = table_seal_of(txn, table, key, value);
    struct hash after = keyring_manifest_row(manifests->keyring, table, &seal);
    seal_sum_add(row->sum, &after);
    return table_put(txn, table, key, value);
}

enum status manifest_put(struct manifests *manifests, struct db_txn *txn, const char *tenant,
                         struct vault_tenant *row, unsigned table, struct span key,
                         struct span value)
{
    ensure(value.size > 0 || table == VAULT_KEYS);
    if (!keyring_manifest_begin(manifests->keyring, tenant, row->wrapped))
        return mismatch(txn, tenant, "the key of its manifest does not open");
    enum status status = put_row(manifests, txn, row, table, key, value);
    keyring_manifest_end(manifests->keyring);
    return status;
}

enum status manifest_create(struct manifests *manifests, struct db_txn *txn, const char *tenant,
                            struct vault_tenant *row)
{
    uint8_t key[EPOCH_KEY_BYTES], wrapped[WRAPPED_KEY_BYTES];
    uint64_t count;
    TRY(table_count(txn, VAULT_TENANTS, &count));
    if (count >= TENANTS_MAX)
        return STATUS_RESOURCE_EXHAUSTED;
    *row = (struct vault_tenant){ .epoch = 1, .oldest_epoch = 1 };
    keyring_draw_manifest_key(manifests->keyring, tenant, row->wrapped);
    keyring_draw_data_key(manifests->keyring, tenant, row->epoch, wrapped);
    TRY(manifest_put(manifests, txn, tenant, row, VAULT_KEYS, epoch_key(key, tenant, row->epoch),
                     span_of(wrapped, sizeof wrapped)));
    return manifest_save(manifests, txn, tenant, row);
}

/* --- another master key --- */

struct names {
    char (*items)[NAME_BYTES_MAX + 1];
    size_t count;
};

static void names_close(struct names *names)
{
    free(names->items);
}

static enum status collect(void *context, const char *tenant, const struct vault_tenant *row)
{
    struct names *names = context;
    if (row == NULL || names->count == TENANTS_MAX)
        return log_failure(STATUS_DATA_LOSS, "wrap keys anew", "tenant", tenant, "reason",
                           "its row is broken");
    memcpy(names->items[names->count++], tenant, strlen(tenant) + 1);
    return STATUS_OK;
}

static enum status wrap_keys(struct manifests *manifests, struct db_txn *txn, const char *tenant,
                             struct vault_tenant *row)
{
    for (uint32_t epoch = row->oldest_epoch; epoch <= row->epoch; epoch++) {
        uint8_t bytes[EPOCH_KEY_BYTES], wrapped[WRAPPED_KEY_BYTES];
        struct span key = epoch_key(bytes, tenant, epoch), value;
        TRY(table_get(txn, VAULT_KEYS, key, &value));
        if (value.size != sizeof wrapped)
            return mismatch(txn, tenant, "a data key is not the size of its row");
        memcpy(wrapped, value.data, sizeof wrapped);
        if (!keyring_wrap_again(manifests->keyring, tenant, epoch, wrapped))
            return mismatch(txn, tenant, "a data key does not open");
        TRY(manifest_put(manifests, txn, tenant, row, VAULT_KEYS, key,
                         span_of(wrapped, sizeof wrapped)));
    }
    return STATUS_OK;
}

static enum status wrap_tenant(struct manifests *manifests, struct db_txn *txn, const char *tenant,
                               struct list *list)
{
    struct vault_tenant row;
    uint8_t bytes[TENANT_ROW_BYTES];
    TRY(manifest_check(manifests, txn, tenant));
    TRY(manifest_load(txn, tenant, &row));
    TRY(wrap_keys(manifests, txn, tenant, &row));
    if (!keyring_manifest_begin(manifests->keyring, tenant, row.wrapped))
        return mismatch(txn, tenant, "the key of its manifest does not open");
    ensure(keyring_wrap_again(manifests->keyring, tenant, 0, row.wrapped));
    row.generation++;
    struct hash mac = mac_of(manifests, tenant, &row);
    keyring_manifest_end(manifests->keyring);
    memcpy(row.mac, mac.bytes, HASH_BYTES);
    vault_tenant_encode(&row, bytes);
    struct span value = span_of(bytes, sizeof bytes);
    struct hash seal = table_seal_of(txn, VAULT_TENANTS, span_of_text(tenant), value);
    struct hash after = keyring_list_row(manifests->keyring, true, &seal);
    seal_sum_add(list->sum, &after);
    list->count++;
    return table_put(txn, VAULT_TENANTS, span_of_text(tenant), value);
}

enum status manifests_wrap_again(struct manifests *manifests, struct db_txn *txn)
{
    AUTO(names_close) struct names names = { .items = calloc(TENANTS_MAX, NAME_BYTES_MAX + 1) };
    struct list before, list = { .count = 0 };
    if (names.items == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "wrap keys anew", "reason", "no memory");
    TRY(list_load(manifests, txn, &before));
    TRY(manifests_each(txn, collect, &names));
    list.generation = before.generation;
    for (size_t i = 0; i < names.count; i++)
        TRY(wrap_tenant(manifests, txn, names.items[i], &list));
    return list_save(manifests, txn, true, &list);
}
