/* A slice is a transaction of its own, begun only when no turn is open, and the loop comes round
 * between two of them: nobody waits for more than one. */
#include "vaultd/rotation.h"

#include <stdio.h>
#include <string.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "vaultd/new_keys.h"
#include "vaultd/secrets.h"
#include "vaultd/vault_events.h"

enum { PAUSE_MS = 4, RETRY_MS = 1000 };
static const uint64_t work_ns_max = 2 * 1000 * 1000, slice_ns_wanted = 5 * 1000 * 1000;

/* --- which tenant --- */

static bool is_passed_over(const struct rotation *rotation, const char *tenant)
{
    for (size_t i = 0; i < rotation->unfinished.count; i++)
        if (strcmp(rotation->unfinished.names[i], tenant) == 0)
            return true;
    return false;
}

static void pass_over(struct rotation *rotation)
{
    struct manifests_names *unfinished = &rotation->unfinished;
    log_warning("a rotation is not finished: versions do not open, so their old key is kept",
                "tenant", rotation->tenant, "next",
                "`soloctl vault verify`, then destroy them or restore a backup");
    if (unfinished->count < COUNT_OF(unfinished->names))
        memcpy(unfinished->names[unfinished->count++], rotation->tenant, sizeof rotation->tenant);
    rotation->tenant[0] = '\0';
}

static enum status choose(void *context, const char *tenant, const struct vault_tenant *row)
{
    struct rotation *rotation = context;
    if (rotation->tenant[0] == '\0' && row != NULL && row->oldest_epoch < row->epoch &&
        !is_passed_over(rotation, tenant))
        memcpy(rotation->tenant, tenant, strlen(tenant) + 1);
    return STATUS_OK;
}

static enum status choose_tenant(struct rotation *rotation, struct db_txn *txn)
{
    if (rotation->tenant[0] != '\0')
        return STATUS_OK;
    rotation->after[0] = '\0';
    rotation->has_leftover = false;
    return manifests_each(txn, choose, rotation);
}

/* --- a slice --- */

struct work {
    struct vault *vault;
    const char *tenant;
    struct vault_tenant tenant_row;
    size_t versions, versions_max, bytes;
    uint64_t until_ns;
    bool has_leftover;
};

static bool is_full(const struct work *work)
{
    return work->versions >= work->versions_max || work->bytes >= ROTATION_SLICE_BYTES ||
           (work->versions > 0 && clock_boottime_ns() >= work->until_ns);
}

static enum status seal_again(struct work *work, const char *name, struct secret_version *version)
{
    struct vault *vault = work->vault;
    struct memory *memory = &vault->pool.memory;
    const struct version_place place = { work->tenant, name, version->version };
    size_t size = (size_t)version->bytes + 1;
    uint8_t *value = memory->take(memory, size);
    if (value == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    enum cipher before = version->cipher;
    enum status status = secret_value(vault, &vault->store.txn, &place, version, value);
    if (status == STATUS_OK)
        status = secret_store(vault, &place, work->tenant_row.epoch, span_of(value, version->bytes),
                              version);
    else if (status == STATUS_DATA_LOSS) {
        work->has_leftover = true;
        status = STATUS_OK;
    }
    memory->give(memory, value, size);
    TRY(status);
    work->tenant_row.versions[before - 1]--;
    work->tenant_row.versions[version->cipher - 1]++;
    work->versions++;
    work->bytes += version->bytes;
    return STATUS_OK;
}

/* *is_done false: the slice is full, and versions of it are left. */
static enum status rotate_secret(struct work *work, const char *name, struct secret_row *row,
                                 bool *is_done)
{
    bool is_changed = false;
    *is_done = true;
    for (size_t i = 0; i < row->count; i++) {
        struct secret_version *version = &row->versions[i];
        if (version->state == VERSION_DESTROYED || version->epoch == work->tenant_row.epoch)
            continue;
        if (is_full(work)) {
            *is_done = false;
            break;
        }
        TRY(seal_again(work, name, version));
        is_changed = is_changed || version->epoch == work->tenant_row.epoch;
    }
    return is_changed ? secret_save(work->vault, work->tenant, name, &work->tenant_row, row)
                      : STATUS_OK;
}

/* The next secret of the tenant after `after`; not_found at its end. What is in the map is copied:
 * the slice writes there. */
static enum status next_secret(struct work *work, char after[NAME_BYTES_MAX + 1],
                               struct secret_row *row, bool *is_broken)
{
    uint8_t bytes[SECRET_KEY_BYTES];
    char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct span start = secret_key(bytes, work->tenant, after), key = { 0 }, value;
    TRY(table_cursor_open(&work->vault->store.txn, VAULT_SECRETS, &cursor));
    enum status status = table_cursor_seek(&cursor, start, &key, &value);
    if ((status == STATUS_OK || key.data != NULL) && span_equal(key, start))
        status = table_cursor_next(&cursor, &key, &value);
    if (status == STATUS_NOT_FOUND || (status != STATUS_OK && key.data == NULL))
        return status;
    if (!secret_key_read(key, tenant, name) || strcmp(tenant, work->tenant) != 0)
        return STATUS_NOT_FOUND;
    *is_broken = status != STATUS_OK || secret_row_decode(value, row) != STATUS_OK;
    memcpy(after, name, sizeof name);
    return STATUS_OK;
}

/* Every version is under the new key: the old ones go, and the log is told. */
static enum status destroy_old_keys(struct work *work)
{
    struct vault_tenant *row = &work->tenant_row;
    struct vault *vault = work->vault;
    for (uint32_t epoch = row->oldest_epoch; epoch < row->epoch; epoch++) {
        uint8_t key[EPOCH_KEY_BYTES];
        TRY(manifest_put(&vault->manifests, &vault->store.txn, work->tenant, row, VAULT_KEYS,
                         epoch_key(key, work->tenant, epoch), (struct span){ 0 }));
    }
    row->oldest_epoch = row->epoch;
    vault->rotated++;
    return vault_event_rotated(&vault->store, work->tenant, row);
}

static enum status rotate_some(struct rotation *rotation, struct work *work, bool *is_finished)
{
    struct secret_row row;
    char at[NAME_BYTES_MAX + 1];
    memcpy(at, rotation->after, sizeof at);
    for (;;) {
        bool is_broken, is_done = true;
        enum status status = next_secret(work, at, &row, &is_broken);
        if (status == STATUS_NOT_FOUND)
            break;
        TRY(status);
        if (is_broken)
            work->has_leftover = true;
        else
            TRY(rotate_secret(work, at, &row, &is_done));
        if (!is_done) {
            *is_finished = false;
            return manifest_save(&work->vault->manifests, &work->vault->store.txn, work->tenant,
                                 &work->tenant_row);
        }
        memcpy(rotation->after, at, sizeof at);
    }
    *is_finished = true;
    if (!rotation->has_leftover && !work->has_leftover)
        TRY(destroy_old_keys(work));
    return manifest_save(&work->vault->manifests, &work->vault->store.txn, work->tenant,
                         &work->tenant_row);
}

static enum status work_on_tenant(struct rotation *rotation, bool *is_finished)
{
    struct vault *vault = rotation->vault;
    struct work work = { .vault = vault,
                         .tenant = rotation->tenant,
                         .versions_max = rotation->at_once,
                         .until_ns = clock_boottime_ns() + work_ns_max };
    enum status status = manifest_check(&vault->manifests, &vault->store.txn, work.tenant);
    if (status == STATUS_DATA_LOSS) { /* nothing of it is touched */
        rotation->has_leftover = *is_finished = true;
        return STATUS_OK;
    }
    TRY(status);
    TRY(manifest_load(&vault->store.txn, work.tenant, &work.tenant_row));
    keyring_hold(&vault->keyring);
    status = rotate_some(rotation, &work, is_finished);
    keyring_release(&vault->keyring);
    TRY(status);
    rotation->has_leftover = rotation->has_leftover || work.has_leftover;
    return STATUS_OK;
}

/* A slower disk, or a busier one, is given less at once. */
static void adapt(struct rotation *rotation, uint64_t took_ns)
{
    if (took_ns > slice_ns_wanted && rotation->at_once > 1)
        rotation->at_once /= 2;
    else if (took_ns < slice_ns_wanted && rotation->at_once < ROTATION_SLICE_VERSIONS_MAX)
        rotation->at_once++;
}

enum status rotation_slice(struct rotation *rotation, bool *is_more)
{
    struct vault *vault = rotation->vault;
    struct problem problem;
    char after[NAME_BYTES_MAX + 1];
    bool is_finished = false, is_wave = false;
    uint64_t began_ns = clock_boottime_ns();
    *is_more = false;
    TRY(vault_store_begin(&vault->store));
    enum status status = vault_ready(vault, &problem);
    if (status == STATUS_OK)
        status = new_keys_go_on(vault, &is_wave);
    if (status == STATUS_OK && is_wave) {
        fault_point("vaultd.rotation_begin");
        TRY(vault_store_commit(&vault->store));
        *is_more = true;
        return STATUS_OK;
    }
    if (status == STATUS_OK)
        status = choose_tenant(rotation, &vault->store.txn);
    memcpy(after, rotation->after, sizeof after);
    if (status == STATUS_OK && rotation->tenant[0] != '\0')
        status = work_on_tenant(rotation, &is_finished);
    if (status != STATUS_OK || rotation->tenant[0] == '\0') {
        vault_store_abort(&vault->store);
        memcpy(rotation->after, after, sizeof after);
        return status;
    }
    fault_point("vaultd.rotation");
    status = vault_store_commit(&vault->store);
    if (status != STATUS_OK) {
        memcpy(rotation->after, after, sizeof after);
        return status;
    }
    adapt(rotation, clock_boottime_ns() - began_ns);
    if (is_finished && rotation->has_leftover)
        pass_over(rotation);
    else if (is_finished)
        rotation->tenant[0] = '\0';
    *is_more = true;
    return STATUS_OK;
}

/* --- beginning --- */

static enum status begin_one(struct vault *vault, struct rpc_call *call, const char *tenant,
                             struct vault_rotate_reply *reply)
{
    enum status status = manifest_check(&vault->manifests, &vault->store.txn, tenant);
    if (status == STATUS_NOT_FOUND)
        return problem_set(&call->problem, status, "tenant", "has no secrets");
    if (status == STATUS_DATA_LOSS)
        return secret_refuse_damaged(&call->problem, "tenant", tenant);
    TRY(status);
    reply->tenants = 1;
    return new_keys_for(vault, tenant, &reply->versions);
}

static enum status begin_all(struct vault *vault, struct rpc_call *call,
                             struct vault_rotate_reply *reply)
{
    struct vault_totals totals;
    struct db_txn *txn = &vault->store.txn;
    if (manifests_check_list(&vault->manifests, txn, &totals) != STATUS_OK)
        return problem_set(&call->problem, STATUS_DATA_LOSS, "",
                           "the list of the vault's tenants is damaged: restore a backup");
    reply->tenants = totals.tenants;
    reply->versions = totals.versions[0] + totals.versions[1];
    return new_keys_for_all(txn);
}

enum status rotation_begin(struct rotation *rotation, struct rpc_call *call,
                           const struct vault_rotate_request *request,
                           struct vault_rotate_reply *reply)
{
    struct vault *vault = rotation->vault;
    TRY(vault_ready(vault, &call->problem));
    enum status status = secrets_find_request(vault, call, &call->body_hash, &reply->versions);
    if (status != STATUS_NOT_FOUND)
        return status;
    TRY(vault_check_room(vault, &call->problem));
    status = request->tenant[0] == '\0' ? begin_all(vault, call, reply)
                                        : begin_one(vault, call, request->tenant, reply);
    if (call->problem.message[0] != '\0')
        return status; /* before anything was written */
    if (status == STATUS_OK)
        status =
            secrets_put_request(vault, call, &call->body_hash, request->tenant, reply->versions);
    if (status != STATUS_OK)
        vault_store_spoil(&vault->store, status);
    rotation->tenant[0] = '\0';
    rotation_wake(rotation);
    return status;
}

/* --- the timer --- */

static void set_timer(struct rotation *rotation, uint64_t delay_ms)
{
    ev_timer_stop(rotation->loop, &rotation->slice);
    ev_timer_set(&rotation->slice, (double)delay_ms / 1e3, 0);
    ev_timer_start(rotation->loop, &rotation->slice);
}

static void on_slice(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct rotation *rotation = timer->data;
    struct vault *vault = rotation->vault;
    bool is_more = false;
    if (!vault->keyring.is_open)
        return; /* opening it wakes us again */
    if (vault->store.in_turn || !outbox_has_room(&vault->store.outbox, 1)) {
        set_timer(rotation, vault->store.in_turn ? 1 : RETRY_MS);
        return;
    }
    enum status status = rotation_slice(rotation, &is_more);
    if (status == STATUS_DATA_LOSS) /* said where it was met; it passes by no waiting */
        return;
    if (status != STATUS_OK)
        set_timer(rotation, RETRY_MS);
    else if (is_more)
        set_timer(rotation, PAUSE_MS);
}

void rotation_wake(struct rotation *rotation)
{
    rotation->unfinished.count = 0;
    if (rotation->loop != NULL)
        set_timer(rotation, PAUSE_MS);
}

void rotation_open(struct rotation *rotation, struct vault *vault, struct ev_loop *loop)
{
    rotation->vault = vault;
    rotation->at_once = ROTATION_SLICE_VERSIONS_MAX / 4;
    rotation->loop = loop;
    ev_timer_init(&rotation->slice, on_slice, 0, 0);
    rotation->slice.data = rotation;
    set_timer(rotation, PAUSE_MS);
}

void rotation_close(struct rotation *rotation)
{
    if (rotation->loop == NULL)
        return;
    ev_timer_stop(rotation->loop, &rotation->slice);
    rotation->loop = NULL;
}
