/* The rules are those of the log's own fold, beginning with nothing. Two passes: the first finds
 * the services, the second folds. */
#include "recoveryd/salvage_behind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/records/live_fold.h"
#include "common/base/auto.h"
#include "common/base/log.h"

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct behind *)a)->key, ((const struct behind *)b)->key);
}

static enum status add_service(struct salvage_behind *behind, const char *key,
                               const struct event *event)
{
    (void)event;
    if (behind->count == behind->capacity) {
        size_t capacity = behind->capacity == 0 ? 64 : 2 * behind->capacity;
        void *grown = realloc(behind->services, capacity * sizeof *behind->services);
        if (grown == NULL)
            return log_failure(STATUS_RESOURCE_EXHAUSTED, "salvage", "reason", "no memory");
        behind->services = grown;
        behind->capacity = capacity;
    }
    struct behind *added = &behind->services[behind->count++];
    *added = (struct behind){ .is_wanted = false };
    snprintf(added->key, sizeof added->key, "%s", key);
    return STATUS_OK;
}

static void sort_services(struct salvage_behind *behind)
{
    size_t kept = 0;
    if (behind->count > 0)
        qsort(behind->services, behind->count, sizeof *behind->services, by_key);
    for (size_t i = 0; i < behind->count; i++)
        if (kept == 0 || by_key(&behind->services[kept - 1], &behind->services[i]) != 0)
            behind->services[kept++] = behind->services[i];
    behind->count = kept;
}

/* One that cannot be folded says nothing. */
static void ignore_failure(const char *what, const char *reason)
{
    (void)what, (void)reason;
}

static enum status fold_service(struct salvage_behind *behind, const char *key,
                                const struct event *event)
{
    struct behind wanted, *service;
    struct live_row after = { 0 };
    enum fold_change change = FOLD_NOTHING;
    snprintf(wanted.key, sizeof wanted.key, "%s", key);
    service = bsearch(&wanted, behind->services, behind->count, sizeof *behind->services, by_key);
    log_divert_failures(ignore_failure);
    enum status status = live_fold(service->is_wanted ? &service->row : NULL,
                                   event_type_parse(event->type), event, &after, &change);
    log_divert_failures(NULL);
    if (status != STATUS_OK || change == FOLD_NOTHING)
        return STATUS_OK;
    service->is_wanted = change == FOLD_PUT;
    service->row = after;
    return STATUS_OK;
}

static enum status each_event(struct salvage_behind *behind, struct record_scan *scan,
                              uint64_t until,
                              enum status (*take)(struct salvage_behind *behind, const char *key,
                                                  const struct event *event))
{
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    for (size_t i = 0; i < scan->count; i++) {
        struct span record;
        struct event event;
        char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1], key[SERVICE_KEY_BYTES];
        if (scan->records[i].id <= until)
            continue;
        arena_reset(&arena);
        TRY(record_scan_read(scan, &scan->records[i], &record));
        TRY(event_decode(record, &arena, &event));
        enum event_type type = event_type_parse(event.type);
        if (type < EVENT_TYPES && event_type_folds(type) &&
            subject_to_service(event.subject, tenant, name))
            TRY(take(behind, service_key(key, tenant, name), &event));
    }
    return STATUS_OK;
}

enum status salvage_behind_find(struct salvage_behind *behind, struct record_scan *scan,
                                uint64_t until)
{
    *behind = (struct salvage_behind){ 0 };
    TRY(each_event(behind, scan, until, add_service));
    sort_services(behind);
    TRY(each_event(behind, scan, until, fold_service));
    for (size_t i = 0; i < behind->count; i++)
        behind->wanted_count += behind->services[i].is_wanted;
    return STATUS_OK;
}

void salvage_behind_close(struct salvage_behind *behind)
{
    free(behind->services);
    *behind = (struct salvage_behind){ 0 };
}
