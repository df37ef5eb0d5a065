/* Events of one tenant, or about one subject, are a list: each names the one before. As long as
 * each that is met names one that was met, none of the list is lost; and behind the last that is
 * lost there must be one of the list to say so. */
#include "recoveryd/salvage_losses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/records/live_fold.h"
#include "common/base/auto.h"
#include "common/base/log.h"

/* The list of a tenant, or of a service. */
struct list {
    uint64_t last; /* its newest event that is known */
    bool has_gap;
    bool was_changed; /* a service: something that is not linked decides about it */
};

struct judging {
    struct list *services; /* beside losses->services */
    struct list *tenants;  /* of the service at the same place: the first of a tenant counts */
};

static void judging_close(struct judging *judging)
{
    free(judging->services);
    free(judging->tenants);
}

/* --- ranges --- */

static void add_to_ranges(struct event_ranges *ranges, uint64_t id)
{
    size_t shown = ranges->count < RANGES_SHOWN_MAX ? ranges->count : RANGES_SHOWN_MAX;
    struct event_range *last = shown == 0 ? NULL : &ranges->items[shown - 1];
    ranges->events++;
    if (last != NULL && ranges->count <= RANGES_SHOWN_MAX && last->last + 1 == id) {
        last->last = id;
        return;
    }
    if (ranges->count++ < RANGES_SHOWN_MAX)
        ranges->items[ranges->count - 1] = (struct event_range){ id, id };
}

/* Returns the greatest number of which nothing is left; 0 for none. */
static uint64_t find_ranges(struct salvage_losses *losses, const struct record_scan *scan)
{
    uint64_t last_lost = 0;
    size_t at = 0;
    for (uint64_t id = losses->until + 1; id <= losses->known_last; id++) {
        while (at < scan->count && scan->records[at].id < id)
            at++;
        bool is_there = at < scan->count && scan->records[at].id == id;
        add_to_ranges(is_there ? &losses->unlinked : &losses->lost, id);
        last_lost = is_there ? last_lost : id;
    }
    return last_lost;
}

/* --- lists --- */

static size_t tenant_bytes(const char *key)
{
    return strcspn(key, "/") + 1;
}

static int compare_key(const void *key, const void *service)
{
    return strcmp(key, ((const struct reviewed *)service)->key);
}

/* The first service of a tenant; service_count when it has none. */
static size_t first_of_tenant(const struct salvage_losses *losses, const char *tenant)
{
    char prefix[SERVICE_KEY_BYTES];
    size_t size = (size_t)snprintf(prefix, sizeof prefix, "%s/", tenant);
    size_t low = 0, high = losses->service_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(losses->services[middle].key, prefix) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    bool is_its =
        low < losses->service_count && strncmp(losses->services[low].key, prefix, size) == 0;
    return is_its ? low : losses->service_count;
}

static void follow(struct list *list, uint64_t previous, uint64_t id)
{
    list->has_gap = list->has_gap || previous > list->last;
    list->last = id;
}

static void take_event(const struct salvage_losses *losses, struct judging *judging,
                       const struct event *event)
{
    static const char prefix[] = "service/";
    size_t tenant = first_of_tenant(losses, event->tenant);
    if (event->tenant[0] != '\0' && tenant < losses->service_count)
        follow(&judging->tenants[tenant], event->previous_of_tenant, event->id);
    if (strncmp(event->subject, prefix, sizeof prefix - 1) != 0)
        return;
    const struct reviewed *service =
        bsearch(event->subject + sizeof prefix - 1, losses->services, losses->service_count,
                sizeof *losses->services, compare_key);
    if (service == NULL)
        return;
    struct list *list = &judging->services[service - losses->services];
    enum event_type type = event_type_parse(event->type);
    follow(list, event->previous_of_subject, event->id);
    list->was_changed = list->was_changed || (type < EVENT_TYPES && event_type_folds(type));
}

static enum status doubt(struct reviewed *service, const struct log_salvage *salvage)
{
    char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
    TRY(service_key_split(service->key, tenant, name));
    service->is_needed =
        service->is_needed || log_salvage_needs_review(salvage, tenant, name, service->since);
    return STATUS_OK;
}

static enum status doubt_all(const struct salvage_losses *losses, const struct log_salvage *salvage)
{
    for (size_t i = 0; i < losses->service_count; i++)
        TRY(doubt(&losses->services[i], salvage));
    return STATUS_OK;
}

/* What an earlier salvage could not prove, told by an event that is behind a gap by now: it adds
 * doubts, and takes none away. */
static enum status hear_earlier(const struct salvage_losses *losses, const struct event *event)
{
    AUTO(buffer_close)
    struct buffer marks = { .limit = (size_t)LOG_REVIEWED_MAX * LOG_REVIEWED_BYTES };
    struct log_salvage told;
    if (event_type_parse(event->type) != EVENT_log_opened ||
        !log_salvage_was_told(event->payload, &told, &marks))
        return STATUS_OK;
    return doubt_all(losses, &told);
}

static enum status take_unlinked(const struct salvage_losses *losses, struct record_scan *scan,
                                 struct judging *judging)
{
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    for (size_t i = 0; i < scan->count; i++) {
        struct span record;
        struct event event;
        if (scan->records[i].id <= losses->until)
            continue;
        arena_reset(&arena);
        TRY(record_scan_read(scan, &scan->records[i], &record));
        TRY(event_decode(record, &arena, &event));
        take_event(losses, judging, &event);
        TRY(hear_earlier(losses, &event));
    }
    return STATUS_OK;
}

static bool is_proven(const struct list *list, uint64_t last_lost)
{
    return !list->has_gap && list->last > last_lost;
}

static void judge(struct salvage_losses *losses, const struct judging *judging, uint64_t last_lost)
{
    size_t tenant = 0;
    for (size_t i = 0; i < losses->service_count; i++) {
        const char *key = losses->services[i].key;
        if (i == 0 || strncmp(key, losses->services[tenant].key, tenant_bytes(key)) != 0)
            tenant = i;
        const struct list *own = &judging->services[i];
        losses->services[i].is_needed = losses->services[i].is_needed || own->was_changed ||
                                        (last_lost != 0 && !is_proven(own, last_lost) &&
                                         !is_proven(&judging->tenants[tenant], last_lost));
    }
}

static enum status take_services(struct salvage_losses *losses, const struct log_fold *fold,
                                 struct judging *judging)
{
    size_t count = HASH_COUNT(fold->services);
    losses->services = calloc(count + 1, sizeof *losses->services);
    judging->services = calloc(count + 1, sizeof *judging->services);
    judging->tenants = calloc(count + 1, sizeof *judging->tenants);
    if (losses->services == NULL || judging->services == NULL || judging->tenants == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "salvage", "reason", "no memory");
    for (const struct folded *service = fold->services; service != NULL;
         service = service->hh.next) {
        size_t at = losses->service_count++;
        snprintf(losses->services[at].key, sizeof losses->services[at].key, "%s", service->key);
        losses->services[at].since = service->row.since;
        judging->services[at].last = judging->tenants[at].last = losses->until;
    }
    return STATUS_OK;
}

static enum status find_lost(struct salvage_losses *losses, struct record_scan *scan,
                             struct judging *judging)
{
    uint64_t last_lost = find_ranges(losses, scan);
    TRY(take_unlinked(losses, scan, judging));
    judge(losses, judging, last_lost);
    return salvage_behind_find(&losses->behind, scan, losses->until);
}

enum status salvage_losses_find(struct salvage_losses *losses, struct record_scan *scan,
                                uint64_t known_last, const struct log_salvage *told,
                                const struct salvage_earlier *reported, const struct log_fold *fold)
{
    AUTO(judging_close) struct judging judging = { 0 };
    *losses = (struct salvage_losses){
        .until = scan->chain_count,
        .known_last = known_last > scan->last_id ? known_last : scan->last_id,
    };
    TRY(take_services(losses, fold, &judging));
    TRY(doubt_all(losses, told));
    for (size_t i = 0; i < reported->count; i++)
        TRY(doubt_all(losses, &reported->items[i]));
    if (losses->known_last > losses->until)
        TRY(find_lost(losses, scan, &judging));
    for (size_t i = 0; i < losses->service_count; i++)
        losses->review_count += losses->services[i].is_needed;
    return STATUS_OK;
}

bool salvage_losses_need_a_person(const struct salvage_losses *losses)
{
    return losses->known_last > losses->until || losses->review_count > 0;
}

void salvage_losses_close(struct salvage_losses *losses)
{
    free(losses->services);
    losses->services = NULL;
    salvage_behind_close(&losses->behind);
}
