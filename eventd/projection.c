/* Folding events into what is wanted. The rules of a service are live_fold's; here are the rows
 * around it, and tenants. */
#include "eventd/projection.h"

#include <string.h>

#include "common/api/records/event_log.h"
#include "common/api/records/live_fold.h"
#include "common/api/records/log_fold.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/wire/reader.h"

/* --- before the event is written --- */

static enum status need(struct problem *problem, const char *field, const char *rule)
{
    return problem_set(problem, STATUS_INVALID_ARGUMENT, field, "%s", rule);
}

struct index_search {
    uint64_t index;
    bool is_taken;
    uint64_t count;
};

static enum status compare_index(void *context, const char *tenant, const struct tenant_row *row)
{
    (void)tenant;
    struct index_search *search = context;
    search->is_taken = search->is_taken || row->index == search->index;
    search->count++;
    return STATUS_OK;
}

static enum status admit_tenant(struct db_txn *txn, const struct event *event,
                                struct problem *problem)
{
    struct index_search search = { .index = map_u64(event->payload, "index", UINT64_MAX) };
    struct tenant_row row;
    if (event->tenant[0] == '\0')
        return need(problem, "tenant", "must name the tenant that is created");
    if (search.index == UINT64_MAX)
        return need(problem, "payload.index", "must be a number");
    enum status status = tenant_find(txn, event->tenant, &row);
    if (status == STATUS_OK)
        return problem_set(problem, STATUS_ALREADY_EXISTS, "tenant", "%s was created by event %llu",
                           event->tenant, (unsigned long long)row.event_id);
    if (status != STATUS_NOT_FOUND)
        return status;
    TRY(tenant_each(txn, compare_index, &search));
    if (search.is_taken)
        return problem_set(problem, STATUS_ALREADY_EXISTS, "payload.index",
                           "%llu belongs to another tenant", (unsigned long long)search.index);
    if (search.count >= TENANTS_MAX)
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "tenant",
                           "there are %d tenants already", TENANTS_MAX);
    return STATUS_OK;
}

static enum status admit_service(struct db_txn *txn, enum event_type type,
                                 const struct event *event, struct problem *problem)
{
    char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
    if (!subject_to_service(event->subject, tenant, name))
        return need(problem, "subject", "must be service/TENANT/NAME");
    if (strcmp(tenant, event->tenant) != 0)
        return need(problem, "tenant", "must be the tenant of the subject");
    if (type == EVENT_service_killed)
        return STATUS_OK;
    if (type != EVENT_service_deployed) {
        if (map_u64(event->payload, "generation", 0) == 0)
            return need(problem, "payload.generation", "must name the generation it is about");
        return STATUS_OK;
    }
    struct reader value;
    struct span hash;
    if (map_find(event->payload, "spec", &value) != STATUS_OK || reader_peek(&value) != WIRE_MAP)
        return need(problem, "payload.spec", "must be the complete spec, a map");
    if (map_find(event->payload, "spec_hash", &value) != STATUS_OK ||
        reader_bin(&value, &hash) != STATUS_OK || hash.size != HASH_BYTES)
        return need(problem, "payload.spec_hash", "must be 32 bytes");
    uint64_t count;
    struct live_row row;
    TRY(live_count(txn, &count));
    if (count < SERVICES_MAX)
        return STATUS_OK;
    enum status status = live_find(txn, tenant, name, &row);
    if (status == STATUS_NOT_FOUND)
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "subject",
                           "there are %d services already", SERVICES_MAX);
    return status;
}

enum status projection_admits(struct db_txn *txn, enum event_type type, const struct event *event,
                              struct problem *problem)
{
    if (type == EVENT_tenant_created)
        return admit_tenant(txn, event, problem);
    return event_type_folds(type) ? admit_service(txn, type, event, problem) : STATUS_OK;
}

/* --- with the event --- */

static enum status apply_tenant(struct db_txn *txn, const struct event *event)
{
    struct tenant_row row;
    TRY(tenant_fold(event, &row));
    return tenant_put(txn, event->tenant, &row);
}

static enum status apply_service(struct db_txn *txn, enum event_type type,
                                 const struct event *event)
{
    char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1], key[SERVICE_KEY_BYTES];
    if (!subject_to_service(event->subject, tenant, name))
        return log_failure(STATUS_DATA_LOSS, "fold event", "event", NUMBER(event->id), "reason",
                           "its subject is no service");
    struct live_row before, after;
    enum fold_change change;
    enum status status = live_find(txn, tenant, name, &before);
    if (status != STATUS_NOT_FOUND)
        TRY(status);
    TRY(live_fold(status == STATUS_OK ? &before : NULL, type, event, &after, &change));
    service_key(key, tenant, name);
    if (change == FOLD_PUT)
        return live_put(txn, key, &after);
    if (change == FOLD_DELETE)
        return table_delete(txn, EVENTS_LIVE, span_of_text(key));
    return STATUS_OK;
}

enum status projection_apply(struct db_txn *txn, enum event_type type, const struct event *event)
{
    if (type == EVENT_tenant_created)
        return apply_tenant(txn, event);
    return event_type_folds(type) ? apply_service(txn, type, event) : STATUS_OK;
}

/* --- anew --- */

/* What the archived events came to. */
static enum status put_state(struct db_txn *txn, uint64_t *first)
{
    AUTO(log_fold_close) struct log_fold fold = { 0 };
    TRY(log_fold_open_at_cut(&fold, txn));
    TRY(log_fold_write(&fold, txn));
    *first = fold.next;
    return STATUS_OK;
}

enum status projection_rebuild(struct db_txn *txn, void (*told)(uint64_t done, uint64_t total),
                               uint64_t *events)
{
    TRY(event_log_last(txn, events));
    TRY(table_clear(txn, EVENTS_LIVE));
    TRY(table_clear(txn, EVENTS_TENANTS));
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    uint64_t first;
    TRY(put_state(txn, &first));
    for (uint64_t id = first; id <= *events; id++) {
        struct event event;
        if (id % PROGRESS_EVENTS == 1)
            told(id - 1, *events);
        arena_reset(&arena);
        TRY(event_log_read(txn, id, &arena, &event));
        /* The payload lies in the map, where the fold's own writes may move pages: it copies what
         * it keeps before it writes. */
        TRY(projection_apply(txn, event_type_parse(event.type), &event));
    }
    return STATUS_OK;
}
