/* The rules of the fold are live_fold's; here are the rows, in a hash table whose keys are names
 * that tenants chose. */
#include "recoveryd/log_fold.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/records/live_fold.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/log.h"

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

void log_fold_sort(struct log_fold *fold)
{
    HASH_SORT(fold->services, compare_keys);
}

static enum status put_row(struct log_fold *fold, const char *key, const struct live_row *row)
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

static enum status fold_event(struct log_fold *fold, const struct event *event)
{
    enum event_type type = event_type_parse(event->type);
    char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1], key[SERVICE_KEY_BYTES];
    if (type >= EVENT_TYPES || !event_type_folds(type) ||
        !subject_to_service(event->subject, tenant, name))
        return STATUS_OK;
    struct folded *service = log_fold_find(fold, service_key(key, tenant, name));
    struct live_row after = { 0 };
    enum fold_change change;
    TRY(live_fold(service == NULL ? NULL : &service->row, type, event, &after, &change));
    if (change == FOLD_PUT)
        return put_row(fold, key, &after);
    if (change == FOLD_DELETE && service != NULL) {
        HASH_DEL(fold->services, service);
        free(service);
    }
    return STATUS_OK;
}

static enum status refuse(const struct log_fold *fold, const char *reason)
{
    return log_failure(STATUS_DATA_LOSS, "fold the log", "event", NUMBER(fold->next), "reason",
                       reason);
}

enum status log_fold_advance(struct log_fold *fold, struct db_txn *txn, uint64_t last,
                             uint64_t count_max)
{
    for (uint64_t i = 0; i < count_max && fold->next <= last; i++) {
        struct event event;
        arena_reset(&fold->arena);
        enum status status = event_log_read(txn, fold->next, &fold->arena, &event);
        if (status == STATUS_NOT_FOUND)
            return refuse(fold, "it is missing");
        TRY(status);
        if (!hash_equal(&event.previous_hash, &fold->previous))
            return refuse(fold, "it does not follow the event before it");
        TRY(fold_event(fold, &event));
        fold->previous = event.hash;
        fold->next++;
    }
    return STATUS_OK;
}
