/* The fold is done in slices, each in a snapshot of its own, so that a long check holds no pages of
 * a running eventd back. Events are never changed once written; only the last slice, which reaches
 * the end of the log, may be compared with `live`. */
#include "recoveryd/fold_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the table's macros do when memory runs out. */
#define uthash_fatal(message) ensure(!message)
#define HASH_FUNCTION(key, size, hash)                                                             \
    do {                                                                                           \
        uint64_t hash_value_;                                                                      \
        crypto_shorthash((unsigned char *)&hash_value_, (const unsigned char *)(key), (size),      \
                         fold_key);                                                                \
        (hash) = (unsigned)hash_value_;                                                            \
    } while (0)

#include <sodium.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "recoveryd/event_store.h"

static unsigned char fold_key[crypto_shorthash_KEYBYTES];

#include <uthash.h>

#include "common/api/records/live_fold.h"

enum { SLICE_EVENTS = 20000, EVENT_ARENA_BYTES = 16 * 1024 };

struct folded {
    char key[SERVICE_KEY_BYTES];
    struct live_row row;
    bool is_seen;
    UT_hash_handle hh;
};

struct fold {
    struct folded *services;
    uint64_t next; /* event */
    struct hash previous;
    struct arena arena;
    struct findings *findings;
};

static void fold_close(struct fold *fold)
{
    struct folded *service, *following;
    HASH_ITER(hh, fold->services, service, following)
    {
        HASH_DEL(fold->services, service);
        free(service);
    }
    arena_close(&fold->arena);
}

static enum status fold_event(struct fold *fold, const struct event *event)
{
    enum event_type type = event_type_parse(event->type);
    char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1], key[SERVICE_KEY_BYTES];
    if (type >= EVENT_TYPES || !event_type_folds(type) ||
        !subject_to_service(event->subject, tenant, name))
        return STATUS_OK;
    service_key(key, tenant, name);
    struct folded *service;
    HASH_FIND_STR(fold->services, key, service);
    struct live_row after = { 0 };
    enum fold_change change;
    TRY(live_fold(service == NULL ? NULL : &service->row, type, event, &after, &change));
    if (change == FOLD_DELETE && service != NULL) {
        HASH_DEL(fold->services, service);
        free(service);
    } else if (change == FOLD_PUT) {
        if (service == NULL) {
            service = calloc(1, sizeof *service);
            if (service == NULL)
                return STATUS_RESOURCE_EXHAUSTED;
            snprintf(service->key, sizeof service->key, "%s", key);
            HASH_ADD_STR(fold->services, key, service);
        }
        service->row = after;
    }
    return STATUS_OK;
}

static enum status fold_slice(struct fold *fold, struct db_txn *txn, uint64_t last)
{
    for (int i = 0; i < SLICE_EVENTS && fold->next <= last; i++) {
        struct event event;
        enum status status = event_log_read(txn, fold->next, &fold->arena, &event);
        if (status == STATUS_NOT_FOUND)
            return log_failure(STATUS_DATA_LOSS, "fold the log", "event", NUMBER(fold->next),
                               "reason", "it is missing");
        TRY(status);
        if (!hash_equal(&event.previous_hash, &fold->previous))
            return log_failure(STATUS_DATA_LOSS, "fold the log", "event", NUMBER(fold->next),
                               "reason", "it does not follow the event before it");
        TRY(fold_event(fold, &event));
        fold->previous = event.hash;
        fold->next++;
        arena_reset(&fold->arena);
    }
    return STATUS_OK;
}

static bool is_same_row(const struct live_row *a, const struct live_row *b)
{
    return a->generation == b->generation && a->since == b->since && a->previous == b->previous &&
           hash_equal(&a->spec_hash, &b->spec_hash) &&
           hash_equal(&a->previous_spec_hash, &b->previous_spec_hash);
}

static enum status compare_row(void *context, const char *tenant, const char *name,
                               const struct live_row *row)
{
    struct fold *fold = context;
    char key[SERVICE_KEY_BYTES];
    struct folded *service;
    service_key(key, tenant, name);
    HASH_FIND_STR(fold->services, key, service);
    struct finding finding = {
        .code = service == NULL ? FINDING_live_extra : FINDING_live_differs,
        .tenant = tenant,
        .name = name,
        .generation = service == NULL ? 0 : service->row.generation,
        .running_generation = row->generation,
        .event = service == NULL ? row->since : service->row.since,
    };
    if (service != NULL)
        service->is_seen = true;
    if (service != NULL && is_same_row(&service->row, row))
        return STATUS_OK;
    return findings_add(fold->findings, &finding);
}

static enum status compare_live(struct fold *fold, struct db_txn *txn)
{
    TRY(live_each(txn, compare_row, fold));
    struct folded *service, *following;
    HASH_ITER(hh, fold->services, service, following)
    {
        char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
        if (service->is_seen)
            continue;
        TRY(service_key_split(service->key, tenant, name));
        struct finding finding = {
            .code = FINDING_live_missing,
            .tenant = tenant,
            .name = name,
            .generation = service->row.generation,
            .event = service->row.since,
        };
        TRY(findings_add(fold->findings, &finding));
    }
    return STATUS_OK;
}

/* One slice, and the comparison when it reaches the end. */
static enum status step(struct fold *fold, struct event_store *store, bool *is_done)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t last;
    TRY(db_begin_read(&store->db, &txn));
    TRY(event_log_last(&txn, &last));
    TRY(fold_slice(fold, &txn, last));
    *is_done = fold->next > last;
    return *is_done ? compare_live(fold, &txn) : STATUS_OK;
}

static enum status fold_store(const struct settings *settings, struct findings *findings,
                              uint64_t *folded, bool *is_settled)
{
    AUTO(event_store_close) struct event_store store = { 0 };
    AUTO(fold_close)
    struct fold fold = { .next = 1, .arena = { .limit = EVENT_ARENA_BYTES }, .findings = findings };
    *is_settled = true;
    *folded = 0;
    enum status status = event_store_open(&store, settings->data_dir);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    random_fill(fold_key, sizeof fold_key);
    for (bool is_done = false; status == STATUS_OK && !is_done;)
        status = step(&fold, &store, &is_done);
    TRY(event_store_is_settled(&store, is_settled));
    *folded = fold.next - 1;
    return status;
}

enum status fold_check(const struct settings *settings, struct findings *findings, uint64_t *folded)
{
    bool is_settled;
    enum status status = fold_store(settings, findings, folded, &is_settled);
    if (is_settled)
        return status;
    /* eventd began to write meanwhile; beside it the reading is guarded. */
    findings_close(findings);
    status = fold_store(settings, findings, folded, &is_settled);
    return is_settled ? status
                      : log_failure(STATUS_ABORTED, "fold the log", "reason",
                                    "the store kept changing while no writer held it");
}
