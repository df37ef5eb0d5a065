/* Each slice goes on where the last one ended. What does not open is noted by name and the walk
 * goes on; a tenant whose manifest does not match is walked nonetheless, so that what is there is
 * counted. */
#include "vaultd/verification.h"

#include <stdio.h>
#include <string.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/wire/writer.h"
#include "vaultd/meta_rows.h"
#include "vaultd/secrets.h"

enum { RETRY_AFTER_MS = 2000, NAMES_BYTES_MAX = FRAME_BYTES_SMALL / 2 };
static const uint64_t slice_ns = 4 * 1000 * 1000;

static void note_damaged(struct verification *verification, const char *name, uint64_t version)
{
    char text[SERVICE_KEY_BYTES + 32];
    if (version > 0)
        snprintf(text, sizeof text, "%s/%s@%llu", verification->tenant, name,
                 (unsigned long long)version);
    else
        snprintf(text, sizeof text, "%s%s%s", verification->tenant, name[0] == '\0' ? "" : "/",
                 name);
    if (verification->name_count == VAULT_DAMAGED_TOLD_MAX)
        return;
    write_str(&verification->names, text);
    verification->name_count++;
}

static enum status verify_versions(struct verification *verification, const char *name,
                                   const struct secret_row *row)
{
    for (size_t i = 0; i < row->count; i++) {
        const struct secret_version *version = &row->versions[i];
        const struct version_place place = { verification->tenant, name, version->version };
        if (version->state == VERSION_DESTROYED)
            continue;
        enum status status = secret_value(verification->vault, &verification->snapshot, &place,
                                          version, verification->value);
        sodium_memzero(verification->value, version->bytes);
        if (status == STATUS_OK) {
            verification->found.readable++;
        } else if (status == STATUS_DATA_LOSS) {
            verification->found.damaged++;
            note_damaged(verification, name, version->version);
        } else {
            return status;
        }
    }
    return STATUS_OK;
}

/* The next tenant after the one in hand. */
static enum status next_tenant(struct verification *verification)
{
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct db_txn *txn = &verification->snapshot;
    struct span before = span_of_text(verification->tenant), key = { 0 }, value;
    TRY(table_cursor_open(txn, VAULT_TENANTS, &cursor));
    enum status status = table_cursor_seek(&cursor, before, &key, &value);
    if (before.size > 0 && key.data != NULL && span_equal(key, before)) {
        key = (struct span){ 0 };
        status = table_cursor_next(&cursor, &key, &value);
    }
    if (key.data == NULL || key.size > NAME_BYTES_MAX)
        return status == STATUS_OK ? STATUS_DATA_LOSS : status;
    memcpy(verification->tenant, key.data, key.size);
    verification->tenant[key.size] = '\0';
    verification->after[0] = '\0';
    verification->found.tenants++;
    status = manifest_check_again(&verification->vault->manifests, txn, verification->tenant);
    if (status != STATUS_DATA_LOSS)
        return status;
    verification->found.damaged_tenants++;
    note_damaged(verification, "", 0);
    return STATUS_OK;
}

/* Secrets of the tenant in hand until time is up; not_found at its end. */
static enum status verify_tenant(struct verification *verification, uint64_t until_ns)
{
    uint8_t bytes[SECRET_KEY_BYTES];
    char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
    struct secret_row row;
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct span start = secret_key(bytes, verification->tenant, verification->after);
    struct span key = { 0 }, value;
    TRY(table_cursor_open(&verification->snapshot, VAULT_SECRETS, &cursor));
    enum status status = table_cursor_seek(&cursor, start, &key, &value);
    while (status == STATUS_OK || (status == STATUS_DATA_LOSS && key.data != NULL)) {
        if (!secret_key_read(key, tenant, name) || strcmp(tenant, verification->tenant) != 0)
            return STATUS_NOT_FOUND;
        if (!span_equal(key, start)) {
            if (clock_boottime_ns() >= until_ns)
                return STATUS_OK;
            verification->found.secrets++;
            if (status == STATUS_OK && secret_row_decode(value, &row) == STATUS_OK) {
                TRY(verify_versions(verification, name, &row));
            } else {
                verification->found.damaged++;
                note_damaged(verification, name, 0);
            }
            memcpy(verification->after, name, sizeof name);
        }
        key = (struct span){ 0 };
        status = table_cursor_next(&cursor, &key, &value);
    }
    return status;
}

static void end(struct verification *verification, enum status status)
{
    struct rpc_call *call = verification->call;
    struct memory *memory = &verification->vault->pool.memory;
    AUTO(buffer_close) struct buffer list = { .limit = NAMES_BYTES_MAX + 64 };
    ev_timer_stop(verification->loop, &verification->slice);
    db_end(&verification->snapshot);
    if (verification->value != NULL)
        memory->give(memory, verification->value, SECRET_VALUE_BYTES_MAX);
    verification->value = NULL;
    verification->call = NULL;
    if (call == NULL)
        return;
    if (status != STATUS_OK) {
        rpc_call_fail(call, status, NULL);
        return;
    }
    write_array(&list, verification->name_count);
    write_object(&list, buffer_span(&verification->names));
    verification->found.damaged_names = buffer_span(&list);
    rpc_call_reply(call, &verification->found);
}

/* For who asks later without verifying. What fails is logged: the answer is given nonetheless. */
static void keep(struct verification *verification)
{
    const struct vault_verify_reply *found = &verification->found;
    const struct vault_verified verified = {
        .wall_ns = clock_wall_ns(),
        .readable = found->readable,
        .damaged = found->damaged,
        .damaged_tenants = found->damaged_tenants,
    };
    struct vault_store *store = &verification->vault->store;
    if (store->in_turn) {
        (void)meta_verified_put(&store->txn, &verified);
        return;
    }
    if (vault_store_begin(store) != STATUS_OK)
        return;
    if (meta_verified_put(&store->txn, &verified) == STATUS_OK)
        (void)vault_store_commit(store);
    else
        vault_store_abort(store);
}

/* *is_over: there is no tenant left. */
static enum status verify_some(struct verification *verification, bool *is_over)
{
    uint64_t until_ns = clock_boottime_ns() + slice_ns;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && clock_boottime_ns() < until_ns) {
        status = verification->tenant[0] == '\0' ? STATUS_NOT_FOUND
                                                 : verify_tenant(verification, until_ns);
        if (status == STATUS_NOT_FOUND) {
            status = next_tenant(verification);
            *is_over = status == STATUS_NOT_FOUND;
        }
    }
    return *is_over ? STATUS_OK : status;
}

static void on_slice(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)events;
    struct verification *verification = timer->data;
    struct keyring *keyring = &verification->vault->keyring;
    bool is_over = false;
    if (!keyring->is_open) {
        end(verification, STATUS_FAILED_PRECONDITION);
        return;
    }
    keyring_hold(keyring);
    enum status status = verify_some(verification, &is_over);
    keyring_release(keyring);
    if (is_over)
        keep(verification);
    if (is_over || status != STATUS_OK) {
        end(verification, status);
        return;
    }
    ev_timer_set(timer, 0, 0);
    ev_timer_start(loop, timer);
}

static void on_gone(struct rpc_call *call)
{
    struct verification *verification = call->user;
    verification->call = NULL;
    rpc_call_drop(call);
    end(verification, STATUS_CANCELLED);
}

static enum status refuse_now(struct rpc_call *call, const char *why)
{
    problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "", "%s; ask again", why);
    call->problem.retry_after_ms = RETRY_AFTER_MS;
    return STATUS_RESOURCE_EXHAUSTED;
}

enum status verification_begin(struct verification *verification, struct rpc_call *call)
{
    struct vault *vault = verification->vault;
    struct memory *memory = &vault->pool.memory;
    if (verification->call != NULL)
        return refuse_now(call, "another verification is under way");
    TRY(vault_store_look(&vault->store, &verification->snapshot));
    enum status status = vault_ready(vault, &call->problem);
    if (status == STATUS_OK) {
        verification->value = memory->take(memory, SECRET_VALUE_BYTES_MAX);
        if (verification->value == NULL)
            status = refuse_now(call, "too many values are under way");
    }
    if (status != STATUS_OK) {
        db_end(&verification->snapshot);
        return status;
    }
    verification->found = (struct vault_verify_reply){ 0 };
    verification->tenant[0] = '\0';
    verification->name_count = 0;
    buffer_clear(&verification->names);
    verification->call = call;
    call->user = verification;
    call->on_gone = on_gone;
    rpc_call_defer(call);
    ev_timer_set(&verification->slice, 0, 0);
    ev_timer_start(verification->loop, &verification->slice);
    return STATUS_OK;
}

void verification_open(struct verification *verification, struct vault *vault, struct ev_loop *loop)
{
    verification->vault = vault;
    verification->loop = loop;
    verification->names.limit = NAMES_BYTES_MAX;
    ev_timer_init(&verification->slice, on_slice, 0, 0);
    verification->slice.data = verification;
}

void verification_close(struct verification *verification)
{
    if (verification->loop == NULL)
        return;
    end(verification, STATUS_CANCELLED);
    buffer_close(&verification->names);
    verification->loop = NULL;
}
