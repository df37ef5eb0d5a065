/* Walks VAULT_SECRETS and packs what it finds: names, versions, times. */
#include "vaultd/listing.h"

#include <string.h>

#include "common/api/api.h"
#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/wire/writer.h"
#include "vaultd/secrets.h"

enum { ITEM_BYTES_MAX = 512 };

void listing_item(const char *tenant, const char *name, const struct secret_row *row,
                  bool is_damaged, struct buffer *items)
{
    const struct secret_item item = {
        .tenant = tenant,
        .name = name,
        .state = is_damaged || row == NULL ? "damaged" : secret_state(row),
        .version = row == NULL ? 0 : row->latest,
        .created_ns = row == NULL ? 0 : row->created_ns,
        .updated_ns = row == NULL ? 0 : row->updated_ns,
        .versions = row == NULL ? 0 : secret_stored_count(row),
    };
    fields_encode(&record_secret_item, &item, items);
}

void listing_versions(const struct secret_row *row, struct buffer *list)
{
    write_array(list, row->count);
    for (size_t i = 0; i < row->count; i++) {
        const struct secret_version *version = &row->versions[i];
        const struct secret_version_item item = {
            .version = version->version,
            .state = secret_version_state(row, version),
            .stored_ns = version->stored_ns,
            .bytes = version->bytes,
            .epoch = version->epoch,
            .cipher = cipher_name(version->cipher),
        };
        fields_encode(&record_secret_version_item, &item, list);
    }
}

static enum status find_start(const struct listing *listing, uint8_t bytes[SECRET_KEY_BYTES],
                              struct span *start)
{
    char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
    *start = (struct span){ 0 };
    if (listing->after[0] != '\0') {
        TRY(secret_path_split(listing->after, tenant, name));
        if (listing->tenant[0] != '\0' && strcmp(tenant, listing->tenant) != 0)
            return STATUS_INVALID_ARGUMENT;
        *start = secret_key(bytes, tenant, name);
    } else if (listing->tenant[0] != '\0') {
        *start = secret_key(bytes, listing->tenant, "");
    }
    return STATUS_OK;
}

/* --- what is not found --- */

struct looking {
    struct db_txn *txn;
    char *missing;
};

static enum status look_for_secrets(void *context, const char *tenant,
                                    const struct vault_tenant *row)
{
    const struct looking *looking = context;
    uint8_t bytes[SECRET_KEY_BYTES];
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct span prefix = secret_key(bytes, tenant, ""), key = { 0 }, value;
    if (row != NULL && row->secrets == 0)
        return STATUS_OK;
    TRY(table_cursor_open(looking->txn, VAULT_SECRETS, &cursor));
    enum status status = table_cursor_seek(&cursor, prefix, &key, &value);
    if (status != STATUS_DATA_LOSS && status != STATUS_NOT_FOUND) /* a broken row has a key, too */
        TRY(status);
    if (key.size >= prefix.size && span_equal(span_of(key.data, prefix.size), prefix))
        return STATUS_OK;
    memcpy(looking->missing, tenant, strlen(tenant) + 1);
    return log_failure(STATUS_DATA_LOSS, "list secrets", "dir", looking->txn->db->dir, "tenant",
                       tenant, "reason", "none of its secrets is found");
}

/* All that were found are in the list; what no row leads to is known to the list of tenants. */
static enum status end_list(struct vault *vault, struct db_txn *txn, struct listing *listing)
{
    struct looking looking = { txn, listing->missing };
    listing->next[0] = '\0';
    if (listing->tenant[0] != '\0')
        return STATUS_OK;
    TRY(manifests_check_list_lately(&vault->manifests, txn));
    return manifests_each(txn, look_for_secrets, &looking);
}

enum status listing_read(struct vault *vault, struct db_txn *txn, struct listing *listing)
{
    uint8_t bytes[SECRET_KEY_BYTES];
    char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
    struct span start, key = { 0 }, value;
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    TRY(find_start(listing, bytes, &start));
    TRY(table_cursor_open(txn, VAULT_SECRETS, &cursor));
    if (listing->tenant[0] != '\0' &&
        manifest_check_lately(&vault->manifests, txn, listing->tenant) == STATUS_DATA_LOSS)
        return STATUS_DATA_LOSS;
    enum status status = table_cursor_seek(&cursor, start, &key, &value);
    while (status == STATUS_OK || (status == STATUS_DATA_LOSS && key.data != NULL)) {
        struct secret_row row;
        if (!secret_key_read(key, tenant, name))
            return log_failure(STATUS_DATA_LOSS, "list secrets", "dir", txn->db->dir, "reason",
                               "not the form of its key");
        if (listing->tenant[0] != '\0' && strcmp(tenant, listing->tenant) != 0)
            break;
        if (listing->after[0] == '\0' || !span_equal(key, start)) {
            if (listing->count >= listing->count_max ||
                listing->items->size + ITEM_BYTES_MAX > listing->bytes_max)
                return STATUS_OK;
            bool is_good = status == STATUS_OK && secret_row_decode(value, &row) == STATUS_OK;
            bool is_whole = manifest_check_lately(&vault->manifests, txn, tenant) == STATUS_OK;
            listing_item(tenant, name, is_good ? &row : NULL, !is_whole, listing->items);
            listing->count++;
            service_key(listing->next, tenant, name);
        }
        key = (struct span){ 0 };
        status = table_cursor_next(&cursor, &key, &value);
    }
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return status;
    return end_list(vault, txn, listing);
}
