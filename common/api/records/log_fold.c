/* The rules of the fold are live_fold's; here are the rows, in a hash table whose keys are names
 * that tenants chose. */
#include "common/api/records/log_fold.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/records/live_fold.h"
#include "common/api/records/log_cut.h"
#include "common/api/records/log_state.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/wire/reader.h"

static unsigned char fold_key[crypto_shorthash_KEYBYTES];

static unsigned hash_of_key(const void *key, size_t size)
{
    uint64_t hash;
    crypto_shorthash((unsigned char *)&hash, key, size, fold_key);
    return (unsigned)hash;
}

/* What the table's macros do when memory runs out, and how they hash. */
#undef uthash_fatal
#define uthash_fatal(message) ensure(!message)
#undef HASH_FUNCTION
#define HASH_FUNCTION(key, size, hash) (hash) = hash_of_key((key), (size))

void log_fold_open(struct log_fold *fold)
{
    *fold = (struct log_fold){ .next = 1, .arena = { .limit = EVENT_TEXTS_BYTES_MAX } };
    random_fill(fold_key, sizeof fold_key);
}

void log_fold_close(struct log_fold *fold)
{
    struct folded *service, *following;
    HASH_ITER(hh, fold->services, service, following)
    {
        HASH_DEL(fold->services, service);
        free(service);
    }
    struct folded_tenant *tenant, *next;
    HASH_ITER(hh, fold->tenants, tenant, next)
    {
        HASH_DEL(fold->tenants, tenant);
        free(tenant);
    }
    arena_close(&fold->arena);
}

struct folded *log_fold_find(const struct log_fold *fold, const char *key)
{
    struct folded *service;
    HASH_FIND_STR(fold->services, key, service);
    return service;
}

static int compare_keys(const struct folded *a, const struct folded *b)
{
    return strcmp(a->key, b->key);
}

static int compare_names(const struct folded_tenant *a, const struct folded_tenant *b)
{
    return strcmp(a->name, b->name);
}

void log_fold_sort(struct log_fold *fold)
{
    HASH_SORT(fold->services, compare_keys);
    HASH_SORT(fold->tenants, compare_names);
}

/* --- rows --- */

enum status log_fold_put_service(struct log_fold *fold, const char *key, const struct live_row *row)
{
    struct folded *service = log_fold_find(fold, key);
    if (service == NULL) {
        service = calloc(1, sizeof *service);
        if (service == NULL)
            return STATUS_RESOURCE_EXHAUSTED;
        snprintf(service->key, sizeof service->key, "%s", key);
        HASH_ADD_STR(fold->services, key, service);
    }
    service->row = *row;
    return STATUS_OK;
}

enum status log_fold_put_tenant(struct log_fold *fold, const char *name,
                                const struct tenant_row *row)
{
    struct folded_tenant *tenant;
    HASH_FIND_STR(fold->tenants, name, tenant);
    if (tenant == NULL) {
        tenant = calloc(1, sizeof *tenant);
        if (tenant == NULL)
            return STATUS_RESOURCE_EXHAUSTED;
        snprintf(tenant->name, sizeof tenant->name, "%s", name);
        HASH_ADD_STR(fold->tenants, name, tenant);
    }
    tenant->row = *row;
    return STATUS_OK;
}

/* --- events --- */

static enum status refuse(const struct log_fold *fold, const char *reason)
{
    return log_failure(STATUS_DATA_LOSS, "fold the log", "event", NUMBER(fold->next), "reason",
                       reason);
}

static enum status fold_tenant(struct log_fold *fold, const struct event *event)
{
    struct tenant_row row;
    TRY(tenant_fold(event, &row));
    return log_fold_put_tenant(fold, event->tenant, &row);
}

static enum status fold_service(struct log_fold *fold, enum event_type type,
                                const struct event *event, const char *key, struct folded *service)
{
    struct live_row after = { 0 };
    enum fold_change change;
    TRY(live_fold(service == NULL ? NULL : &service->row, type, event, &after, &change));
    if (change == FOLD_PUT)
        return log_fold_put_service(fold, key, &after);
    if (change == FOLD_DELETE && service != NULL) {
        HASH_DEL(fold->services, service);
        free(service);
    }
    return STATUS_OK;
}

static enum status fold_about_service(struct log_fold *fold, enum event_type type,
                                      const struct event *event)
{
    char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1], key[SERVICE_KEY_BYTES];
    if (!subject_to_service(event->subject, tenant, name))
        return STATUS_OK;
    service_key(key, tenant, name);
    if (event_type_folds(type))
        TRY(fold_service(fold, type, event, key, log_fold_find(fold, key)));
    struct folded *service = log_fold_find(fold, key);
    if (service != NULL)
        service->newest = event->id;
    return STATUS_OK;
}

static enum status fold_event(struct log_fold *fold, const struct event *event)
{
    enum event_type type = event_type_parse(event->type);
    if (type < EVENT_TYPES)
        fold->newest[type] = event->id;
    return type == EVENT_tenant_created ? fold_tenant(fold, event)
                                        : fold_about_service(fold, type, event);
}

enum status log_fold_take(struct log_fold *fold, const struct event *event)
{
    if (event->id != fold->next)
        return refuse(fold, "another event lies at its place");
    if (!hash_equal(&event->previous_hash, &fold->previous))
        return refuse(fold, "it does not follow the event before it");
    TRY(fold_event(fold, event));
    fold->previous = event->hash;
    fold->next++;
    return STATUS_OK;
}

enum status log_fold_advance(struct log_fold *fold, struct db_txn *txn, uint64_t last,
                             uint64_t count_max)
{
    for (uint64_t i = 0; i < count_max && fold->next <= last; i++) {
        struct event event;
        arena_reset(&fold->arena);
        enum status status = fold->next <= fold->unproven_to
                                 ? event_log_read_unproven(txn, fold->next, &fold->arena, &event)
                                 : event_log_read(txn, fold->next, &fold->arena, &event);
        if (status == STATUS_NOT_FOUND)
            return refuse(fold, "it is missing");
        TRY(status);
        TRY(log_fold_take(fold, &event));
    }
    return STATUS_OK;
}

enum status log_fold_open_at_cut(struct log_fold *fold, struct db_txn *txn)
{
    AUTO(buffer_close) struct buffer state = { .limit = LOG_STATE_BYTES_MAX };
    struct log_cut cut;
    log_fold_open(fold);
    TRY(log_cut_read(txn, &cut));
    if (cut.id == 0)
        return STATUS_OK;
    TRY(log_cut_read_state(txn, &cut, &state));
    TRY(log_state_unpack(buffer_span(&state), fold));
    fold->next = cut.id + 1;
    fold->previous = cut.hash;
    return STATUS_OK;
}

enum status log_fold_write(const struct log_fold *fold, struct db_txn *txn)
{
    for (const struct folded_tenant *tenant = fold->tenants; tenant != NULL;
         tenant = tenant->hh.next)
        TRY(tenant_put(txn, tenant->name, &tenant->row));
    for (const struct folded *service = fold->services; service != NULL; service = service->hh.next)
        TRY(live_put(txn, service->key, &service->row));
    return STATUS_OK;
}
