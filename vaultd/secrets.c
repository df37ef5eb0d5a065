/* The rules, in the order in which a refusal helps most: was this request carried out before, is
 * the vault open, is the tenant whole, does it make sense, is there room. */
#include "vaultd/secrets.h"

#include <stdio.h>
#include <string.h>

#include "common/api/event_types.h"
#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "vaultd/vault_events.h"

/* --- requests that are repeated --- */

enum status secrets_find_request(struct vault *vault, struct rpc_call *call,
                                 const struct hash *body, uint64_t *number)
{
    struct request_outcome recorded;
    struct vault_store *store = &vault->store;
    if (!call->has_request_id)
        return STATUS_NOT_FOUND;
    TRY(requests_find(&store->txn, VAULT_REQUESTS, &call->request_id, body,
                      clock_wall_ns() / 1000000, &store->forgotten, &recorded, &call->problem));
    *number = recorded.first_id;
    store->repeats++;
    return STATUS_OK;
}

enum status secrets_put_request(struct vault *vault, struct rpc_call *call, const struct hash *body,
                                const char *about, uint64_t number)
{
    char intent[INTENT_BYTES_MAX + 1];
    if (!call->has_request_id)
        return STATUS_OK;
    snprintf(intent, sizeof intent, "%s %s", call->method->name, about);
    const struct request_outcome recorded = {
        .body_hash = *body,
        .intent = intent,
        .first_id = number,
    };
    vault->store.requests_put++;
    return requests_put(&vault->store.txn, VAULT_REQUESTS, &call->request_id, &recorded);
}

/* --- what each of them begins with --- */

static enum status check_tenant(struct vault *vault, struct rpc_call *call, const char *tenant)
{
    if (tenant[0] == '\0')
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "tenant",
                           "must say whose secret it is");
    enum status status = manifest_check(&vault->manifests, &vault->store.txn, tenant);
    if (status == STATUS_DATA_LOSS)
        return secret_refuse_damaged(&call->problem, "tenant", tenant);
    return status;
}

static enum status refuse_unknown(struct rpc_call *call)
{
    return problem_set(&call->problem, STATUS_NOT_FOUND, "name", "there is no such secret");
}

/* The secret's row, and its tenant's when `tenant_row` is not NULL. */
static enum status find_secret(struct vault *vault, struct rpc_call *call, const char *tenant,
                               const char *name, struct vault_tenant *tenant_row,
                               struct secret_row *row)
{
    struct db_txn *txn = &vault->store.txn;
    enum status status = check_tenant(vault, call, tenant);
    if (status == STATUS_OK)
        status = secret_find(vault, txn, tenant, name, row);
    if (status == STATUS_OK && tenant_row != NULL)
        status = manifest_load(txn, tenant, tenant_row);
    if (status == STATUS_NOT_FOUND)
        return refuse_unknown(call);
    return status == STATUS_DATA_LOSS && call->problem.code != STATUS_DATA_LOSS
               ? secret_refuse_damaged(&call->problem, "name", name)
               : status;
}

/* --- put --- */

/* Destroyed versions are told of for as long as there is room. */
static enum status make_room(struct rpc_call *call, struct secret_row *row)
{
    for (size_t i = 0; i < row->count && row->count == SECRET_VERSIONS_MAX; i++) {
        if (row->versions[i].state != VERSION_DESTROYED)
            continue;
        memmove(&row->versions[i], &row->versions[i + 1],
                (row->count - i - 1) * sizeof row->versions[0]);
        row->count--;
    }
    return row->count < SECRET_VERSIONS_MAX
               ? STATUS_OK
               : problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "name",
                             "has %d versions, which is the most: destroy old ones",
                             SECRET_VERSIONS_MAX);
}

static enum status load_or_begin(struct vault *vault, struct rpc_call *call,
                                 const struct secret_put_request *request, bool *is_new_tenant,
                                 struct vault_tenant *tenant_row, struct secret_row *row)
{
    enum status status = check_tenant(vault, call, request->tenant);
    uint64_t tenants;
    *is_new_tenant = status == STATUS_NOT_FOUND;
    *row = (struct secret_row){ .created_ns = clock_wall_ns() };
    if (*is_new_tenant) {
        TRY(table_count(&vault->store.txn, VAULT_TENANTS, &tenants));
        return tenants < TENANTS_MAX
                   ? STATUS_OK
                   : problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "tenant",
                                 "there are %d tenants, which is the "
                                 "most",
                                 TENANTS_MAX);
    }
    TRY(status);
    status = find_secret(vault, call, request->tenant, request->name, tenant_row, row);
    if (status != STATUS_NOT_FOUND)
        return status;
    *row = (struct secret_row){ .created_ns = clock_wall_ns() };
    call->problem = (struct problem){ .code = STATUS_OK };
    TRY(manifest_load(&vault->store.txn, request->tenant, tenant_row));
    return tenant_row->secrets < SECRETS_PER_TENANT_MAX
               ? STATUS_OK
               : problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "tenant",
                             "has %d secrets, which is the most", SECRETS_PER_TENANT_MAX);
}

static enum status write_put(struct vault *vault, struct rpc_call *call,
                             const struct secret_put_request *request, const struct hash *body,
                             bool is_new_tenant, struct vault_tenant *tenant_row,
                             struct secret_row *row)
{
    struct secret_version *version = &row->versions[row->count];
    if (is_new_tenant)
        TRY(manifest_create(&vault->manifests, &vault->store.txn, request->tenant, tenant_row));
    *version = (struct secret_version){ .stored_ns = clock_wall_ns() };
    const struct version_place place = { request->tenant, request->name, row->latest + 1 };
    TRY(secret_store(vault, &place, tenant_row->epoch, request->value, version));
    row->count++;
    row->latest = place.version;
    row->updated_ns = version->stored_ns;
    tenant_row->versions[version->cipher - 1]++;
    TRY(secret_save(vault, request->tenant, request->name, tenant_row, row));
    TRY(manifest_save(&vault->manifests, &vault->store.txn, request->tenant, tenant_row));
    TRY(secret_event(&vault->store, EVENT_secret_stored, request->tenant, request->name,
                     row->latest, 0, &call->caller));
    return secrets_put_request(vault, call, body, request->name, row->latest);
}

static enum status put(struct vault *vault, struct rpc_call *call,
                       const struct secret_put_request *request, const struct hash *body,
                       uint64_t *version)
{
    struct vault_tenant tenant_row;
    struct secret_row row;
    bool is_new_tenant;
    TRY(load_or_begin(vault, call, request, &is_new_tenant, &tenant_row, &row));
    TRY(make_room(call, &row));
    TRY(vault_check_room(vault, &call->problem));
    enum status status = write_put(vault, call, request, body, is_new_tenant, &tenant_row, &row);
    if (status != STATUS_OK)
        vault_store_spoil(&vault->store, status);
    else
        vault->stored++;
    *version = row.latest;
    return status;
}

enum status secrets_put(struct vault *vault, struct rpc_call *call,
                        const struct secret_put_request *request, struct secret_put_reply *reply)
{
    TRY(vault_ready(vault, &call->problem));
    struct hash body = keyring_body_hash(&vault->keyring, call->method->name, request->tenant,
                                         request->name, request->value);
    enum status status = secrets_find_request(vault, call, &body, &reply->version);
    return status == STATUS_NOT_FOUND ? put(vault, call, request, &body, &reply->version) : status;
}

/* --- read --- */

static enum status find_version(struct rpc_call *call, struct secret_row *row, uint64_t wanted,
                                struct secret_version **version)
{
    *version = secret_row_find(row, wanted == 0 ? row->latest : wanted);
    if (wanted > row->latest)
        return problem_set(&call->problem, STATUS_NOT_FOUND, "version",
                           "there is none yet: the latest is %llu",
                           (unsigned long long)row->latest);
    if (*version == NULL || (*version)->state == VERSION_DESTROYED)
        return problem_set(&call->problem, STATUS_NOT_FOUND, "version", "was destroyed");
    return (*version)->version > row->deleted_up_to
               ? STATUS_OK
               : problem_set(&call->problem, STATUS_NOT_FOUND, wanted == 0 ? "name" : "version",
                             "was deleted");
}

enum status secrets_find(struct vault *vault, struct rpc_call *call, const char *tenant,
                         const char *name, uint64_t wanted, struct secret_version *version)
{
    struct secret_row row;
    struct secret_version *found;
    TRY(find_secret(vault, call, tenant, name, NULL, &row));
    TRY(find_version(call, &row, wanted, &found));
    *version = *found;
    return STATUS_OK;
}

enum status secrets_read(struct vault *vault, struct rpc_call *call,
                         const struct secret_read_request *request, struct secret_read_reply *reply)
{
    struct secret_version version;
    TRY(vault_ready(vault, &call->problem));
    TRY(secrets_find(vault, call, request->tenant, request->name, request->version, &version));
    TRY(vault_check_room(vault, &call->problem));
    const struct version_place place = { request->tenant, request->name, version.version };
    uint8_t *value = arena_alloc(call->arena, (size_t)version.bytes + 1);
    if (value == NULL)
        return problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "",
                           "too many values are under way; ask again");
    enum status status = secret_value(vault, &vault->store.txn, &place, &version, value);
    if (status == STATUS_DATA_LOSS)
        return secret_refuse_damaged(&call->problem, "name", request->name);
    TRY(status);
    status = secret_event(&vault->store, EVENT_secret_accessed, request->tenant, request->name,
                          version.version, 0, &call->caller);
    if (status != STATUS_OK) {
        vault_store_spoil(&vault->store, status);
        return status;
    }
    vault->accessed++;
    reply->value = span_of(value, version.bytes);
    reply->version = version.version;
    reply->stored_ns = version.stored_ns;
    return STATUS_OK;
}

/* --- delete and destroy --- */

static enum status write_row(struct vault *vault, struct rpc_call *call, const char *tenant,
                             const char *name, struct vault_tenant *tenant_row,
                             struct secret_row *row, uint64_t destroyed, uint64_t version,
                             uint64_t outcome)
{
    row->updated_ns = clock_wall_ns();
    TRY(secret_save(vault, tenant, name, tenant_row, row));
    TRY(manifest_save(&vault->manifests, &vault->store.txn, tenant, tenant_row));
    TRY(secret_event(&vault->store, EVENT_secret_deleted, tenant, name, version, destroyed,
                     &call->caller));
    return secrets_put_request(vault, call, &call->body_hash, name, outcome);
}

enum status secrets_delete(struct vault *vault, struct rpc_call *call,
                           const struct secret_delete_request *request,
                           struct secret_delete_reply *reply)
{
    struct vault_tenant tenant_row;
    struct secret_row row;
    TRY(vault_ready(vault, &call->problem));
    enum status status = secrets_find_request(vault, call, &call->body_hash, &reply->version);
    if (status != STATUS_NOT_FOUND)
        return status;
    TRY(find_secret(vault, call, request->tenant, request->name, &tenant_row, &row));
    if (row.deleted_up_to == row.latest)
        return problem_set(&call->problem, STATUS_NOT_FOUND, "name", "is deleted already");
    row.deleted_up_to = reply->version = row.latest;
    status = write_row(vault, call, request->tenant, request->name, &tenant_row, &row, 0,
                       row.latest, row.latest);
    if (status != STATUS_OK)
        vault_store_spoil(&vault->store, status);
    return status;
}

/* A row that is missing already is no reason to keep the entry. */
static enum status destroy_version(struct vault *vault, const char *tenant, const char *name,
                                   struct vault_tenant *tenant_row, struct secret_version *version)
{
    uint8_t key[VERSION_KEY_BYTES];
    enum status status = table_delete(&vault->store.txn, VAULT_VERSIONS,
                                      version_key(key, tenant, name, version->version));
    if (status != STATUS_NOT_FOUND)
        TRY(status);
    version->state = VERSION_DESTROYED;
    version->seal = (struct hash){ { 0 } };
    tenant_row->versions[version->cipher - 1]--;
    return STATUS_OK;
}

static enum status destroy(struct vault *vault, struct rpc_call *call,
                           const struct secret_destroy_request *request,
                           struct vault_tenant *tenant_row, struct secret_row *row,
                           uint64_t *destroyed)
{
    for (size_t i = 0; i < row->count; i++) {
        struct secret_version *version = &row->versions[i];
        if (version->state == VERSION_DESTROYED ||
            (request->version != 0 && version->version != request->version))
            continue;
        TRY(destroy_version(vault, request->tenant, request->name, tenant_row, version));
        ++*destroyed;
    }
    if (request->version == 0)
        row->deleted_up_to = row->latest;
    return write_row(vault, call, request->tenant, request->name, tenant_row, row, *destroyed,
                     request->version == 0 ? row->latest : request->version, *destroyed);
}

enum status secrets_destroy(struct vault *vault, struct rpc_call *call,
                            const struct secret_destroy_request *request,
                            struct secret_destroy_reply *reply)
{
    struct vault_tenant tenant_row;
    struct secret_row row;
    TRY(vault_ready(vault, &call->problem));
    enum status status = secrets_find_request(vault, call, &call->body_hash, &reply->destroyed);
    if (status != STATUS_NOT_FOUND)
        return status;
    TRY(find_secret(vault, call, request->tenant, request->name, &tenant_row, &row));
    const struct secret_version *version =
        request->version == 0 ? NULL : secret_row_find(&row, request->version);
    if (request->version == 0 ? secret_stored_count(&row) == 0
                              : version == NULL || version->state == VERSION_DESTROYED)
        return problem_set(&call->problem, STATUS_NOT_FOUND,
                           request->version == 0 ? "name" : "version",
                           "there is nothing to destroy");
    status = destroy(vault, call, request, &tenant_row, &row, &reply->destroyed);
    if (status != STATUS_OK)
        vault_store_spoil(&vault->store, status);
    return status;
}
