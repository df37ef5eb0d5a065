/* The tables. Tenants choose their names, so the hash is keyed with random bytes. */
#include <sodium.h>

static unsigned key_hash(const void *key, size_t size);
#define HASH_FUNCTION(key, size, value) ((value) = key_hash(key, size))
#define HASH_NONFATAL_OOM               1
#define uthash_nonfatal_oom(element)    ((element)->hh.tbl = NULL)
#include "deployd/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/base/ensure.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/wire/reader.h"

static unsigned key_hash(const void *key, size_t size)
{
    static uint8_t secret[crypto_shorthash_KEYBYTES];
    static bool is_drawn;
    if (!is_drawn) {
        random_fill(secret, sizeof secret);
        is_drawn = true;
    }
    uint8_t out[crypto_shorthash_BYTES];
    crypto_shorthash(out, key, size, secret);
    unsigned value;
    memcpy(&value, out, sizeof value);
    return value;
}

struct tenant *catalog_tenant(const struct catalog *catalog, const char *name)
{
    struct tenant *tenant;
    HASH_FIND(hh, catalog->tenants, name, strlen(name), tenant);
    return tenant;
}

enum status catalog_tenant_make(struct catalog *catalog, const char *name, struct tenant **tenant,
                                struct problem *problem)
{
    ensure(name_is_valid(name));
    *tenant = catalog_tenant(catalog, name);
    if (*tenant != NULL)
        return STATUS_OK;
    if (catalog->tenant_count >= TENANTS_MAX)
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "tenant",
                           "this Solo has %zu tenants of at most %d", catalog->tenant_count,
                           (int)TENANTS_MAX);
    struct tenant *made = calloc(1, sizeof *made);
    if (made == NULL)
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "", "out of memory");
    size_t size = strlen(name);
    memcpy(made->name, name, size);
    HASH_ADD(hh, catalog->tenants, name[0], size, made);
    if (made->hh.tbl == NULL) {
        free(made);
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "", "out of memory");
    }
    catalog->tenant_count++;
    *tenant = made;
    return STATUS_OK;
}

void catalog_tenant_release(struct catalog *catalog, struct tenant *tenant)
{
    bool was_supervised =
        tenant->supervisor.state != SUPERVISOR_ABSENT || tenant->supervisor.isolation[0] != '\0';
    if (tenant->is_recorded || tenant->on_created != NULL || tenant->services != NULL ||
        was_supervised)
        return;
    HASH_DEL(catalog->tenants, tenant);
    catalog->tenant_count--;
    free(tenant);
}

struct service *catalog_service(const struct catalog *catalog, const char *tenant, const char *name)
{
    char key[SERVICE_KEY_BYTES];
    service_key(key, tenant, name);
    struct service *service;
    HASH_FIND(hh, catalog->services, key, strlen(key), service);
    return service;
}

enum status catalog_service_make(struct catalog *catalog, struct tenant *tenant, const char *name,
                                 struct service **service, struct problem *problem)
{
    ensure(name_is_valid(name));
    *service = catalog_service(catalog, tenant->name, name);
    if (*service != NULL)
        return STATUS_OK;
    if (catalog->service_count - catalog->failed_count >= SERVICES_MAX)
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "name",
                           "this Solo has %zu services of at most %d; kill one first",
                           catalog->service_count - catalog->failed_count, (int)SERVICES_MAX);
    if (tenant->service_count - tenant->failed_count >= SERVICES_PER_TENANT_MAX)
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "name",
                           "tenant %s has %zu services of at most %d; kill one first", tenant->name,
                           tenant->service_count - tenant->failed_count,
                           (int)SERVICES_PER_TENANT_MAX);
    char key[SERVICE_KEY_BYTES];
    service_key(key, tenant->name, name);
    size_t size = strlen(key);
    struct service *made = calloc(1, sizeof *made + size + 1);
    if (made == NULL)
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "", "out of memory");
    memcpy(made->key, key, size);
    made->tenant = tenant;
    made->tenant_bytes = (unsigned)strlen(tenant->name);
    made->state = SERVICE_wanted;
    HASH_ADD(hh, catalog->services, key[0], size, made);
    if (made->hh.tbl == NULL) {
        free(made);
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "", "out of memory");
    }
    DL_APPEND2(tenant->services, made, previous, next);
    tenant->service_count++;
    catalog->service_count++;
    *service = made;
    return STATUS_OK;
}

void catalog_touch(struct catalog *catalog, struct service *service)
{
    if (service->is_changed)
        return;
    service->is_changed = true;
    service->next_changed = catalog->changed;
    catalog->changed = service;
}

struct service *catalog_next_changed(struct catalog *catalog)
{
    struct service *service = catalog->changed;
    if (service != NULL) {
        catalog->changed = service->next_changed;
        service->next_changed = NULL;
        service->is_changed = false;
    }
    return service;
}

void catalog_mark(struct catalog *catalog, struct service *service)
{
    if (service->is_marked)
        return;
    service->is_marked = true;
    DL_APPEND2(catalog->marked, service, previous_marked, next_marked);
}

void catalog_mark_queues(struct catalog *catalog, struct tenant *tenant)
{
    for (struct service *service = tenant->services; service != NULL; service = service->next)
        if (service->queue != NULL)
            catalog_mark(catalog, service);
}

struct service *catalog_next_marked(struct catalog *catalog)
{
    struct service *service = catalog->marked;
    if (service != NULL) {
        DL_DELETE2(catalog->marked, service, previous_marked, next_marked);
        service->is_marked = false;
    }
    return service;
}

void catalog_due(struct catalog *catalog, struct service *service, enum due due,
                 uint64_t generation)
{
    if (service->due == DUE_NOTHING && due != DUE_NOTHING)
        DL_APPEND2(catalog->due, service, previous_due, next_due);
    else if (service->due != DUE_NOTHING && due == DUE_NOTHING)
        DL_DELETE2(catalog->due, service, previous_due, next_due);
    service->due = due;
    service->due_generation = generation;
}

void catalog_changed(struct catalog *catalog, struct service *service)
{
    catalog_touch(catalog, service);
    if (catalog->on_change != NULL)
        catalog->on_change(catalog->context, service);
}

enum due service_overlooked(const struct service *service)
{
    const struct supervisor *supervisor = &service->tenant->supervisor;
    bool is_due;
    if (service->queue != NULL || service->due != DUE_NOTHING)
        return DUE_NOTHING;
    if (service->wanted.generation == 0)
        return service->is_held && !service_state_is_over(service->state) ? DUE_STOP : DUE_NOTHING;
    if (service->is_held)
        is_due = service->is_trial_over && service->generation == service->wanted.generation &&
                 service->since == service->wanted.since;
    else
        is_due = service->state == SERVICE_wanted && !supervisor->is_silent &&
                 (supervisor->state == SUPERVISOR_READY || supervisor->state == SUPERVISOR_ABSENT);
    return is_due ? DUE_START : DUE_NOTHING;
}

void catalog_look(struct catalog *catalog, struct service *service)
{
    enum due due = service_overlooked(service);
    if (due != DUE_NOTHING)
        catalog_due(catalog, service, due, service->generation);
}

/* Keeps the row and what is asked of it often. */
static enum status row_take(struct service *service, const struct service_row *row)
{
    ensure(service_state_parse(row->state) < SERVICE_STATES);
    struct buffer packed = { .limit = FRAME_BYTES_SMALL };
    fields_encode(&record_service_row, row, &packed);
    uint8_t *copy = packed.is_exhausted ? NULL : realloc(packed.data, packed.size);
    if (copy == NULL) {
        buffer_close(&packed);
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "keep a service's row", "service",
                           service->key);
    }
    free((void *)service->row.data);
    service->row = span_of(copy, packed.size);
    service->is_row_stale = true;
    free(service->reason);
    service->reason = NULL;
    service->is_trial_over = row->is_trial_over;
    service->is_usage_high = row->is_usage_high;
    service->has_breached = row->breaches != 0;
    service->state = service_state_parse(row->state);
    service->generation = row->generation;
    service->since = row->since;
    service->pid = row->pid;
    service->secret_request = row->secret_request;
    return STATUS_OK;
}

static void failure_unlist(struct catalog *catalog, struct service *service)
{
    if (!service->is_failed_deploy)
        return;
    service->is_failed_deploy = false;
    DL_DELETE2(catalog->failed, service, previous_failed, next_failed);
    catalog->failed_count--;
    service->tenant->failed_count--;
}

static void parked_forget(struct service *service)
{
    free((void *)service->parked.data);
    service->parked = (struct span){ 0 };
}

enum status catalog_hold(struct catalog *catalog, struct service *service,
                         const struct service_row *row)
{
    TRY(row_take(service, row));
    failure_unlist(catalog, service);
    parked_forget(service);
    service->is_held = true;
    service->is_assumed = false;
    service->was_held = true;
    service->is_ready = row->is_ready;
    service->has_started = row->started_ns != 0;
    if (service->state == SERVICE_running)
        service->retry_ns = service->retries = 0;
    catalog_changed(catalog, service);
    if (service->queue != NULL)
        catalog_mark(catalog, service); /* what waits for it to start may begin */
    catalog_look(catalog, service);
    return STATUS_OK;
}

void catalog_assume(struct catalog *catalog, struct service *service, const struct service_row *row)
{
    if (row_take(service, row) != STATUS_OK)
        return;
    failure_unlist(catalog, service);
    service->is_assumed = true;
    catalog_changed(catalog, service);
}

void catalog_unhold(struct catalog *catalog, struct service *service, enum service_state state,
                    const char *reason)
{
    failure_unlist(catalog, service);
    free((void *)service->row.data);
    service->row = (struct span){ 0 };
    service->is_row_stale = true;
    free(service->reason);
    service->reason = strndup(reason, REASON_BYTES_MAX);
    text_cut(service->reason);
    service->is_held = service->is_assumed = service->is_ready = service->has_started = false;
    service->is_trial_over = service->is_usage_high = service->has_breached = false;
    service->state = state;
    service->generation = service->since = service->pid = service->secret_request = 0;
    catalog_changed(catalog, service);
}

void catalog_bereave(struct catalog *catalog, struct service *service, const char *reason)
{
    if (service->is_held && service->state == SERVICE_parked) {
        parked_forget(service);
        service->parked = service->row;
        service->row = (struct span){ 0 };
    }
    catalog_unhold(catalog, service, SERVICE_wanted, reason);
}

void catalog_forget_failure(struct catalog *catalog, struct service *service)
{
    if (service->is_failed_deploy)
        catalog_unhold(catalog, service, SERVICE_wanted, "not started yet");
}

/* The oldest one of a tenant, or of all. */
static void failure_forget_oldest(struct catalog *catalog, const struct tenant *tenant)
{
    struct service *oldest = catalog->failed;
    while (tenant != NULL && oldest->tenant != tenant)
        oldest = oldest->next_failed;
    catalog_forget_failure(catalog, oldest);
}

void catalog_fail_deploy(struct catalog *catalog, struct service *service, uint64_t generation,
                         const char *reason, struct span exits)
{
    const struct service_row row = {
        .tenant = service->tenant->name,
        .name = service_name(service),
        .state = service_state_name(SERVICE_failed),
        .reason = reason,
        .generation = generation,
        .since = generation,
        .instance = "",
        .boot_id = "",
        .exits = exits,
    };
    if (row_take(service, &row) != STATUS_OK)
        return;
    service->is_held = service->is_assumed = service->is_ready = service->has_started = false;
    if (!service->is_failed_deploy) {
        service->is_failed_deploy = true;
        DL_APPEND2(catalog->failed, service, previous_failed, next_failed);
        catalog->failed_count++;
        service->tenant->failed_count++;
    }
    catalog_changed(catalog, service);
    if (service->tenant->failed_count > FAILED_DEPLOYS_PER_TENANT_MAX)
        failure_forget_oldest(catalog, service->tenant);
    if (catalog->failed_count > FAILED_DEPLOYS_MAX)
        failure_forget_oldest(catalog, NULL);
}

void catalog_want(struct catalog *catalog, struct service *service, const struct live_row *row)
{
    if (row->since != service->wanted.since)
        service->retry_ns = service->retries = 0;
    service->wanted = *row;
    if (!service_has_row(service))
        service->is_row_stale = true; /* what is shown then is made of it */
    if (row->generation != 0)
        catalog_forget_failure(catalog, service);
    catalog_changed(catalog, service);
}

bool service_exists(const struct service *service)
{
    return service != NULL && (service_has_row(service) || service->is_failed_deploy ||
                               service->wanted.generation != 0);
}

bool service_has_spec(const struct service *service, const struct hash *spec_hash)
{
    return service != NULL && service->wanted.generation != 0 && service->is_held &&
           service->generation == service->wanted.generation && service->state != SERVICE_failed &&
           service->state != SERVICE_parked && hash_equal(&service->wanted.spec_hash, spec_hash);
}

static void service_free(struct service *service)
{
    parked_forget(service);
    free((void *)service->row.data);
    free(service->reason);
    free(service);
}

void catalog_release(struct catalog *catalog, struct service *service)
{
    if (service_exists(service) || service->queue != NULL || service->waits != NULL ||
        service->is_changed || service->is_marked || service->delivery != DELIVERY_NONE)
        return;
    catalog_due(catalog, service, DUE_NOTHING, 0);
    struct tenant *tenant = service->tenant;
    HASH_DEL(catalog->services, service);
    DL_DELETE2(tenant->services, service, previous, next);
    tenant->service_count--;
    catalog->service_count--;
    service_free(service);
    catalog_tenant_release(catalog, tenant);
}

char *service_reason(const struct service *service, char reason[REASON_BYTES_MAX + 1])
{
    if (service->row.size > 0)
        return map_text(service->row, "reason", reason, REASON_BYTES_MAX + 1);
    snprintf(reason, REASON_BYTES_MAX + 1, "%s",
             service->reason == NULL ? "not started yet" : service->reason);
    return reason;
}

void catalog_row_write(const struct service *service, struct buffer *buffer)
{
    if (service->row.size > 0) {
        buffer_append(buffer, service->row.data, service->row.size);
        return;
    }
    char reason[REASON_BYTES_MAX + 1];
    const struct service_row row = {
        .tenant = service->tenant->name,
        .name = service_name(service),
        .state = service_state_name(service->state),
        .reason = service_reason(service, reason),
        .generation = service->wanted.generation,
        .since = service->wanted.since,
        .instance = "",
        .boot_id = "",
        .spec_hash = service->wanted.spec_hash,
    };
    fields_encode(&record_service_row, &row, buffer);
}

static int by_key(const void *a, const void *b)
{
    return strcmp((*(struct service *const *)a)->key, (*(struct service *const *)b)->key);
}

struct service **catalog_sorted(const struct catalog *catalog, const struct tenant *tenant,
                                size_t *count)
{
    size_t room = tenant == NULL ? catalog->service_count : tenant->service_count;
    *count = 0;
    struct service **list = malloc((room + 1) * sizeof(struct service *));
    if (list == NULL)
        return NULL;
    if (tenant != NULL)
        for (struct service *service = tenant->services; service != NULL; service = service->next)
            list[(*count)++] = service;
    else
        for (struct service *service = catalog->services; service != NULL;
             service = service->hh.next)
            list[(*count)++] = service;
    qsort(list, *count, sizeof(struct service *), by_key);
    return list;
}

void catalog_close(struct catalog *catalog)
{
    for (struct service *service = catalog->services, *next; service != NULL; service = next) {
        next = service->hh.next;
        HASH_DEL(catalog->services, service);
        service_free(service);
    }
    for (struct tenant *tenant = catalog->tenants, *next; tenant != NULL; tenant = next) {
        next = tenant->hh.next;
        HASH_DEL(catalog->tenants, tenant);
        free(tenant);
    }
    *catalog = (struct catalog){ 0 };
}
