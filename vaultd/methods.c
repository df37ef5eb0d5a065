/* The handlers: each reads its request, calls what decides, and fills its reply. */
#include "vaultd/methods.h"

#include <string.h>

#include "common/access/daemon_methods.h"
#include "common/access/damaged_store.h"
#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/outbox/outbox_state.h"
#include "common/wire/writer.h"
#include "vaultd/listing.h"
#include "vaultd/meta_rows.h"
#include "vaultd/new_keys.h"
#include "vaultd/secrets.h"
#include "vaultd/vault_events.h"

enum { LIST_LIMIT_DEFAULT = 100, PAGE_BYTES_MAX = FRAME_BYTES_SMALL - MESSAGE_OVERHEAD_BYTES };

/* --- secrets --- */

static enum status handle_secret_put(struct vaultd *vaultd, struct rpc_call *call,
                                     const struct secret_put_request *request,
                                     struct secret_put_reply *reply)
{
    return secrets_put(&vaultd->vault, call, request, reply);
}

/* What kept a secret from being given is told, unless there is none of that name. */
static enum status handle_secret_read(struct vaultd *vaultd, struct rpc_call *call,
                                      const struct secret_read_request *request,
                                      struct secret_read_reply *reply)
{
    enum status status = secrets_read(&vaultd->vault, call, request, reply);
    if (status == STATUS_DATA_LOSS || status == STATUS_FAILED_PRECONDITION)
        denials_note(&vaultd->denials, call, request->tenant, request->name, status);
    return status;
}

static enum status handle_secret_deliver(struct vaultd *vaultd, struct rpc_call *call,
                                         const struct secret_deliver_request *request,
                                         struct secret_deliver_reply *reply)
{
    char name[NAME_BYTES_MAX + 1] = "";
    enum status status = delivery_make(&vaultd->delivery, call, request, name, &reply->count);
    if (status == STATUS_DATA_LOSS || status == STATUS_FAILED_PRECONDITION)
        denials_note(&vaultd->denials, call, request->tenant, name, status);
    return status;
}

static enum status handle_secret_await(struct vaultd *vaultd, struct rpc_call *call,
                                       const struct secret_await_request *request,
                                       struct secret_await_reply *reply)
{
    return delivery_await(&vaultd->delivery, call, request->change, &reply->change);
}

static enum status handle_secret_delete(struct vaultd *vaultd, struct rpc_call *call,
                                        const struct secret_delete_request *request,
                                        struct secret_delete_reply *reply)
{
    return secrets_delete(&vaultd->vault, call, request, reply);
}

static enum status handle_secret_destroy(struct vaultd *vaultd, struct rpc_call *call,
                                         const struct secret_destroy_request *request,
                                         struct secret_destroy_reply *reply)
{
    TRY(secrets_destroy(&vaultd->vault, call, request, reply));
    rotation_wake(&vaultd->rotation); /* what kept an old key may be gone */
    return STATUS_OK;
}

static enum status begin_reading(struct vaultd *vaultd, struct rpc_call *call, struct db_txn *txn)
{
    buffer_clear(&vaultd->items);
    buffer_clear(&vaultd->list);
    TRY(vault_store_look(&vaultd->vault.store, txn));
    return vault_ready(&vaultd->vault, &call->problem);
}

static enum status handle_secret_list(struct vaultd *vaultd, struct rpc_call *call,
                                      const struct secret_list_request *request,
                                      struct secret_list_reply *reply)
{
    struct listing listing = {
        .tenant = request->tenant,
        .after = request->after,
        .count_max = request->limit == 0 ? LIST_LIMIT_DEFAULT : request->limit,
        .bytes_max = PAGE_BYTES_MAX,
        .items = &vaultd->items,
    };
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(begin_reading(vaultd, call, &txn));
    enum status status = listing_read(&vaultd->vault, &txn, &listing);
    if (status == STATUS_INVALID_ARGUMENT)
        return problem_set(&call->problem, status, "after", "must be what next was");
    if (status == STATUS_DATA_LOSS)
        return secret_refuse_damaged(&call->problem, "tenant",
                                     request->tenant[0] != '\0'   ? request->tenant
                                     : listing.missing[0] != '\0' ? listing.missing
                                                                  : "the list of tenants");
    TRY(status);
    write_array(&vaultd->list, listing.count);
    buffer_append(&vaultd->list, vaultd->items.data, vaultd->items.size);
    ensure(!vaultd->list.is_exhausted);
    char *next = arena_alloc(call->arena, sizeof listing.next);
    if (next == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    memcpy(next, listing.next, sizeof listing.next);
    reply->secrets = buffer_span(&vaultd->list);
    reply->next = next;
    return STATUS_OK;
}

static enum status handle_secret_describe(struct vaultd *vaultd, struct rpc_call *call,
                                          const struct secret_describe_request *request,
                                          struct secret_describe_reply *reply)
{
    struct vault *vault = &vaultd->vault;
    struct secret_row row;
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(begin_reading(vaultd, call, &txn));
    if (request->tenant[0] == '\0')
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "tenant",
                           "must say whose secret it is");
    enum status status = manifest_check(&vault->manifests, &txn, request->tenant);
    if (status == STATUS_OK)
        status = secret_find(vault, &txn, request->tenant, request->name, &row);
    if (status == STATUS_DATA_LOSS)
        return secret_refuse_damaged(&call->problem, "name", request->name);
    if (status == STATUS_NOT_FOUND)
        return problem_set(&call->problem, status, "name", "there is no such secret");
    TRY(status);
    listing_item(request->tenant, request->name, &row, false, &vaultd->items);
    listing_versions(&row, &vaultd->list);
    ensure(!vaultd->items.is_exhausted);
    ensure(!vaultd->list.is_exhausted);
    reply->secret = buffer_span(&vaultd->items);
    reply->versions = buffer_span(&vaultd->list);
    return STATUS_OK;
}

/* --- the vault --- */

static enum status tell_contents(struct vault *vault, struct vault_status_reply *reply)
{
    struct vault_totals totals = { 0 };
    struct vault_verified verified;
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(vault_store_look(&vault->store, &txn));
    if (vault->keyring.is_open &&
        manifests_check_list(&vault->manifests, &txn, &totals) != STATUS_OK)
        vault_seal(vault, VAULT_REASON_tenants_damaged, "");
    if (vault->keyring.is_open)
        TRY(new_keys_left(&txn, &reply->rotating));
    reply->tenants = totals.tenants;
    reply->secrets = totals.secrets;
    reply->versions = totals.versions[0] + totals.versions[1];
    reply->damaged_tenants = manifests_broken(&vault->manifests);
    if (meta_verified(&txn, &verified) == STATUS_OK) { /* otherwise logged: it is said nothing */
        reply->verified_ns = verified.wall_ns;
        reply->readable = verified.readable;
        reply->damaged = verified.damaged;
    }
    return STATUS_OK;
}

static enum status handle_vault_status(struct vaultd *vaultd, struct rpc_call *call,
                                       const struct vault_status_request *request,
                                       struct vault_status_reply *reply)
{
    (void)call, (void)request;
    struct vault *vault = &vaultd->vault;
    struct master_row master;
    enum status status = vault_master(vault, &master);
    bool by_passphrase = status == STATUS_OK
                             ? master.source == KEY_SOURCE_PASSPHRASE
                             : strcmp(vault->settings->vault_unseal, "passphrase") == 0;
    if (status == STATUS_DATA_LOSS)
        vault_seal(vault, VAULT_REASON_master_key_damaged, "");
    TRY(tell_contents(vault, reply));
    reply->is_initialised = status != STATUS_NOT_FOUND;
    reply->key_source = by_passphrase ? "passphrase" : "key";
    reply->needs_passphrase =
        by_passphrase && !vault->keyring.is_open && vault_may_open(vault, NULL) == STATUS_OK;
    reply->state = vault->keyring.is_open ? "open" : vault->is_damaged ? "damaged" : "sealed";
    reply->code = vault_reason_name(vault->code);
    reply->reason = vault->reason;
    reply->next = vault_reason_next(vault->code);
    reply->cipher = cipher_name(vault->cipher);
    reply->outbox = outbox_waiting(&vault->store.outbox);
    reply->outbox_state = outbox_state_name(outbox_state(&vault->store.outbox));
    return STATUS_OK;
}

static enum status handle_vault_seal(struct vaultd *vaultd, struct rpc_call *call,
                                     const struct vault_seal_request *request,
                                     struct vault_seal_reply *reply)
{
    (void)request;
    struct vault *vault = &vaultd->vault;
    struct db_txn *txn = &vault->store.txn;
    char text[CALLER_TEXT_BYTES], before[CALLER_TEXT_BYTES];
    /* The turn may be run again, from the reserve: its keys are forgotten then already. */
    reply->was_open = vault->keyring.is_open || vaultd->must_tell_seal;
    /* A store that may be another one is left as it is. */
    if (!reply->was_open && (vault->is_damaged || !vault_store_is_vouched(&vault->store)))
        return vault_ready(vault, &call->problem);
    enum status status = meta_sealed(txn, before);
    if (status == STATUS_OK)
        return STATUS_OK;
    const char *by = caller_text(&call->caller, text);
    vault_seal(vault, VAULT_REASON_sealed_by_operator, by);
    vaultd->must_tell_seal = reply->was_open;
    if (status == STATUS_NOT_FOUND)
        status = meta_sealed_put(txn, by);
    if (status == STATUS_OK)
        status = vault_event(&vault->store, EVENT_vault_sealed, by, NULL);
    if (status != STATUS_OK)
        vault_store_spoil(&vault->store, status);
    return status;
}

static enum status handle_vault_unseal(struct vaultd *vaultd, struct rpc_call *call,
                                       const struct vault_unseal_request *request,
                                       struct vault_unseal_reply *reply)
{
    return opening_unseal(&vaultd->opening, call, request, reply);
}

static enum status handle_vault_rotate(struct vaultd *vaultd, struct rpc_call *call,
                                       const struct vault_rotate_request *request,
                                       struct vault_rotate_reply *reply)
{
    return rotation_begin(&vaultd->rotation, call, request, reply);
}

static enum status handle_vault_rekey(struct vaultd *vaultd, struct rpc_call *call,
                                      const struct vault_rekey_request *request,
                                      struct vault_rekey_reply *reply)
{
    (void)reply;
    return opening_rekey(&vaultd->opening, call, request);
}

static enum status handle_vault_verify(struct vaultd *vaultd, struct rpc_call *call,
                                       const struct vault_verify_request *request,
                                       struct vault_verify_reply *reply)
{
    (void)request, (void)reply;
    return verification_begin(&vaultd->verification, call);
}

#define ROUTES_DEF     "common/api/vaultd.def"
#define ROUTES_CONTEXT struct vaultd
#define ROUTES_STORE
#include "common/api/routes.h"

/* --- the turn --- */

static enum status begin(void *context)
{
    struct vaultd *vaultd = context;
    return vault_store_begin(&vaultd->vault.store);
}

static void abort_turn(void *context)
{
    struct vaultd *vaultd = context;
    if (vaultd->vault.store.in_turn)
        vault_store_abort(&vaultd->vault.store);
}

static enum status commit(void *context)
{
    struct vaultd *vaultd = context;
    struct vault_store *store = &vaultd->vault.store;
    if (!store->in_turn)
        return STATUS_OK;
    TRY(vault_store_commit(store));
    vaultd->must_tell_seal = false;
    return STATUS_OK;
}

void vaultd_service(struct vaultd *vaultd, struct rpc_service *service)
{
    vaultd->items.limit = PAGE_BYTES_MAX;
    vaultd->list.limit = FRAME_BYTES_SMALL;
    *service = (struct rpc_service){
        .memory = &vaultd->vault.pool.memory,
        .routes = routes,
        .context = vaultd,
        .may_serve = damaged_store_refuse,
        .begin = begin,
        .commit = commit,
        .abort = abort_turn,
    };
}

struct rpc_limits vaultd_limits(void)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.unread_bytes_max = VAULT_UNREAD_BYTES_MAX;
    limits.unread_bytes_total_max = VAULT_LOCKED_BYTES / 2;
    limits.batch_answer_bytes_max = VAULT_BATCH_ANSWER_BYTES_MAX;
    return limits;
}

void vaultd_stop(struct vaultd *vaultd)
{
    delivery_close(&vaultd->delivery);
    verification_close(&vaultd->verification);
    rotation_close(&vaultd->rotation);
    opening_close(&vaultd->opening);
    denials_close(&vaultd->denials);
}

void vaultd_close(struct vaultd *vaultd)
{
    vaultd_stop(vaultd);
    vault_close(&vaultd->vault);
    buffer_close(&vaultd->items);
    buffer_close(&vaultd->list);
}

/* --- counters --- */

void vaultd_write_counters(void *context, struct buffer *buffer)
{
    struct vaultd *vaultd = context;
    struct vault *vault = &vaultd->vault;
    struct vault_store *store = &vault->store;
    uint64_t used_bytes = 0, map_bytes = 0;
    if (vaultd->is_damaged) {
        write_map(buffer, 0);
        return;
    }
    /* Of a store that cannot be asked there are no bytes to tell. */
    (void)db_usage(&store->db, &used_bytes, &map_bytes);
    const struct counter counters[] = {
        { "open", vault->keyring.is_open },
        { "secret_stored", vault->stored },
        { "secret_accessed", vault->accessed },
        { "secret_access_denied", vault->denied },
        { "tenants_rotated", vault->rotated },
        { "tenants_damaged", manifests_broken(&vault->manifests) },
        { "locked_bytes", vault->pool.is_locked ? vault->pool.size : 0 },
        { "locked_bytes_used", vault->pool.taken },
        { "locked_bytes_used_most", vault->pool.taken_most },
        { "outbox", outbox_waiting(&store->outbox) },
        { "outbox_acknowledged", store->outbox.acknowledged_count },
        { "outbox_refused", outbox_state(&store->outbox) == OUTBOX_REFUSED },
        { "commits", store->commits },
        { "repeats", store->repeats },
        { "store_bytes", used_bytes },
        { "store_bytes_max", map_bytes },
    };
    counters_write(buffer, counters, COUNT_OF(counters));
}
