/* The handlers: each reads its request, calls what decides, and fills its reply. */
#include "eventd/methods.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/access/daemon_methods.h"
#include "common/access/damaged_store.h"
#include "common/api/api.h"
#include "common/api/records/event_log.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/wire/fields.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "eventd/admission.h"
#include "eventd/appending.h"
#include "eventd/heads.h"
#include "eventd/query.h"
#include "eventd/sources.h"

enum { QUERY_LIMIT_DEFAULT = 100, BATCH_ARENA_BYTES = 4 * FRAME_BYTES_MAX };
static const uint64_t close_ns = 60 * 1000000000ull;

/* --- appending --- */

/* A run that begins says that the one that was to end with us has ended before: a drain whose stop
 * was called off, say. The log is not closed then. */
static void note_start(struct eventd *eventd, const struct event_append_request *items,
                       size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(items[i].type, event_type_name(EVENT_system_started)) == 0)
            eventd->close_until_ns = 0;
}

static enum status handle_event_append(struct eventd *eventd, struct rpc_call *call,
                                       const struct event_append_request *request,
                                       struct event_append_reply *reply)
{
    struct append_outcome outcome;
    TRY(appending_run(&eventd->store, call, request, 1, &outcome));
    note_start(eventd, request, 1);
    reply->event_id = outcome.last_id; /* of a request that was recorded as a batch: the last */
    reply->is_repeat = outcome.is_repeat;
    return STATUS_OK;
}

static enum status read_batch(struct eventd *eventd, struct rpc_call *call, struct span list,
                              struct event_append_request **items, uint32_t *count)
{
    struct reader reader = reader_of(list);
    TRY(reader_array(&reader, count));
    if (*count == 0 || *count > EVENT_BATCH_MAX)
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "events",
                           "must have 1 to %d elements", EVENT_BATCH_MAX);
    struct event_append_request *read = arena_alloc(&eventd->batch, *count * sizeof *read);
    if (read == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "read batch", "reason", "no memory");
    for (uint32_t i = 0; i < *count; i++) {
        struct span map;
        TRY(reader_any(&reader, &map));
        enum status status = fields_decode(method_event_append.request, map, &eventd->batch,
                                           &read[i], &call->problem);
        if (status != STATUS_OK) {
            char place[32];
            snprintf(place, sizeof place, "events[%u]", i);
            problem_prefix(&call->problem, place);
            return status;
        }
    }
    *items = read;
    return STATUS_OK;
}

/* Of the end as it will be when the turn is committed: no answer goes out before. */
static struct span anchor_of_turn(struct eventd *eventd)
{
    const struct event_store *store = &eventd->store;
    return branch_anchor(&store->branch, store->last_id, &store->last_hash, eventd->anchor);
}

static enum status handle_event_append_batch(struct eventd *eventd, struct rpc_call *call,
                                             const struct event_append_batch_request *request,
                                             struct event_append_batch_reply *reply)
{
    struct event_append_request *items = NULL;
    struct append_outcome outcome;
    uint32_t count;
    arena_reset(&eventd->batch);
    TRY(read_batch(eventd, call, request->events, &items, &count));
    TRY(appending_run(&eventd->store, call, items, count, &outcome));
    note_start(eventd, items, count);
    reply->first_id = outcome.first_id;
    reply->last_id = outcome.last_id;
    reply->count = outcome.count;
    reply->is_repeat = outcome.is_repeat;
    if (call->caller.kind == CALLER_DAEMON)
        reply->anchor = anchor_of_turn(eventd);
    return STATUS_OK;
}

/* --- reading --- */

static void make_filter(const char *tenant, const char *type, const char *subject,
                        struct event_filter *filter)
{
    snprintf(filter->tenant, sizeof filter->tenant, "%s", tenant);
    snprintf(filter->type, sizeof filter->type, "%s", type);
    snprintf(filter->subject, sizeof filter->subject, "%s", subject);
}

/* The end of the log as the caller may know it: a token's caller learns nothing of how much others
 * append. */
static enum status last_id_for(struct eventd *eventd, const struct caller *caller,
                               struct db_txn *txn, uint64_t *last_id)
{
    return caller->kind == CALLER_TOKEN
               ? late_rows_find_head(&eventd->store.late, txn, HEAD_OF_TENANT, caller->tenant,
                                     last_id)
               : event_log_last(txn, last_id);
}

static enum status handle_event_query(struct eventd *eventd, struct rpc_call *call,
                                      const struct event_query_request *request,
                                      struct event_query_reply *reply)
{
    struct event_filter filter;
    make_filter(request->tenant, request->type, request->subject, &filter);
    const struct query query = {
        .late = &eventd->store.late,
        .filter = &filter,
        .after = request->after,
        .before = request->before,
        .items_max = request->limit == 0 ? QUERY_LIMIT_DEFAULT : request->limit,
        .bytes_max = FRAME_BYTES_MAX - MESSAGE_OVERHEAD_BYTES,
        .scan_max = QUERY_SCAN_MAX,
        .scan_bytes_max = QUERY_SCAN_BYTES_MAX,
        .follows_tenant = call->caller.kind == CALLER_TOKEN,
    };
    struct query_result result = { .items = &eventd->items };
    buffer_clear(&eventd->items);
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_read(&eventd->store.db, &txn));
    TRY(request->newest_first ? query_newest_first(&txn, &query, &result)
                              : query_oldest_first(&txn, &query, &result));
    TRY(last_id_for(eventd, &call->caller, &txn, &reply->last_id));
    if (call->caller.kind != CALLER_TOKEN)
        TRY(event_log_first(&txn, &reply->first_id));
    buffer_clear(&eventd->list);
    write_array(&eventd->list, result.count);
    buffer_append(&eventd->list, eventd->items.data, eventd->items.size);
    ensure(!eventd->list.is_exhausted);
    reply->events = buffer_span(&eventd->list);
    bool hides_others = call->caller.kind == CALLER_TOKEN && result.count > 0;
    reply->next = result.is_complete ? 0 : hides_others ? result.last : result.seen;
    return STATUS_OK;
}

static enum status handle_event_watch(struct eventd *eventd, struct rpc_call *call,
                                      const struct event_watch_request *request,
                                      struct event_watch_reply *reply)
{
    (void)reply;
    struct event_filter filter;
    make_filter(request->tenant, request->type, request->subject, &filter);
    uint64_t end = eventd->store.committed_id;
    if (call->caller.kind == CALLER_TOKEN) {
        AUTO(db_end) struct db_txn txn = { 0 };
        TRY(db_begin_read(&eventd->store.db, &txn));
        TRY(last_id_for(eventd, &call->caller, &txn, &end));
        /* Compared with the end of the whole log it would tell where that is. */
        if (!request->from_end && request->after > end)
            return problem_set(&call->problem, STATUS_FAILED_PRECONDITION, "after",
                               "is beyond the last event of this tenant: was the log restored "
                               "from a backup?");
    }
    return watch_begin(&eventd->watches, call, &filter,
                       request->from_end ? eventd->store.committed_id : request->after,
                       request->from_end ? end : request->after);
}

/* --- sources --- */

static enum status handle_event_source(struct eventd *eventd, struct rpc_call *call,
                                       const struct event_source_request *request,
                                       struct event_source_reply *reply)
{
    if (request->source[0] == '\0' || request->incarnation.size != SOURCE_INCARNATION_BYTES)
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "source",
                           "must be a name with an incarnation of %d bytes",
                           SOURCE_INCARNATION_BYTES);
    const struct source_position position = { .name = request->source,
                                              .incarnation = request->incarnation.data };
    AUTO(db_end) struct db_txn txn = { 0 };
    reply->log = span_of(eventd->store.db.identity.id, sizeof eventd->store.db.identity.id);
    TRY(db_begin_read(&eventd->store.db, &txn));
    TRY(sources_last_event(&txn, &position, &reply->last, &reply->last_id));
    TRY(sources_newest_sibling(&txn, position.name, &reply->siblings_id));
    return sources_newest_other(&txn, &position, &reply->others_id);
}

/* --- branches --- */

static enum status handle_event_anchor(struct eventd *eventd, struct rpc_call *call,
                                       const struct event_anchor_request *request,
                                       struct event_anchor_reply *reply)
{
    struct event_store *store = &eventd->store;
    struct log_anchor anchor = { 0 };
    if (request->anchor.size > 0 && !log_anchor_unpack(request->anchor, &anchor))
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "anchor", "is none of ours");
    enum status status =
        branch_compare(&store->branch, &store->txn, call->caller.daemon, &anchor, store->last_id);
    if (status != STATUS_OK) {
        event_store_spoil(store, status);
        return status;
    }
    reply->is_forked = store->branch.now.is_forked;
    reply->anchor = anchor_of_turn(eventd);
    return STATUS_OK;
}

static enum status handle_event_resolve(struct eventd *eventd, struct rpc_call *call,
                                        const struct event_resolve_request *request,
                                        struct event_resolve_reply *reply)
{
    (void)request;
    if (!eventd->store.branch.now.is_forked)
        return problem_set(&call->problem, STATUS_FAILED_PRECONDITION, "",
                           "the log is not FORKED: there is nothing to resolve");
    TRY(event_store_keep(&eventd->store));
    reply->event_id = eventd->store.last_id;
    return STATUS_OK;
}

/* --- the end of the log --- */

static enum status handle_event_close_log(struct eventd *eventd, struct rpc_call *call,
                                          const struct event_close_log_request *request,
                                          struct event_close_log_reply *reply)
{
    (void)reply;
    if (strcmp(call->caller.daemon, "solod") != 0 && strcmp(call->caller.daemon, "deployd") != 0)
        return problem_set(&call->problem, STATUS_PERMISSION_DENIED, "",
                           "solod and deployd close the log, not %s", call->caller.daemon);
    eventd->close_until_ns = clock_boottime_ns() + close_ns;
    eventd->is_forced = request->is_forced;
    snprintf(eventd->killed, sizeof eventd->killed, "%s", request->killed);
    return STATUS_OK;
}

bool eventd_is_closing(const struct eventd *eventd, uint64_t now_ns)
{
    return now_ns < eventd->close_until_ns;
}

static enum status handle_event_fold(struct eventd *eventd, struct rpc_call *call,
                                     const struct event_fold_request *request,
                                     struct event_fold_reply *reply)
{
    (void)request;
    enum status status = event_store_fold(&eventd->store, &reply->events);
    if (status != STATUS_OK)
        return problem_set(&call->problem, status, "",
                           "the log could not be folded anew: see "
                           "eventd's diagnostics");
    reply->event_id = eventd->store.last_id;
    return STATUS_OK;
}

static enum status handle_event_archive(struct eventd *eventd, struct rpc_call *call,
                                        const struct event_archive_request *request,
                                        struct event_archive_reply *reply)
{
    (void)reply;
    return retention_ask(&eventd->retention, call, request);
}

#define ROUTES_DEF     "common/api/eventd.def"
#define ROUTES_CONTEXT struct eventd
#define ROUTES_STORE
#include "common/api/routes.h"

/* --- the turn --- */

static enum status begin(void *context)
{
    struct eventd *eventd = context;
    return event_store_begin(&eventd->store);
}

static enum status commit(void *context)
{
    struct eventd *eventd = context;
    return event_store_commit(&eventd->store);
}

static void abort_turn(void *context)
{
    struct eventd *eventd = context;
    event_store_abort(&eventd->store);
}

static void committed(void *context)
{
    struct eventd *eventd = context;
    watch_list_wake(&eventd->watches);
}

void eventd_service(struct eventd *eventd, struct rpc_service *service)
{
    eventd->items.limit = FRAME_BYTES_MAX - MESSAGE_OVERHEAD_BYTES;
    eventd->list.limit = FRAME_BYTES_MAX - MESSAGE_OVERHEAD_BYTES / 2;
    eventd->batch.limit = BATCH_ARENA_BYTES;
    *service = (struct rpc_service){
        .routes = routes,
        .context = eventd,
        .may_serve = damaged_store_refuse,
        .begin = begin,
        .commit = commit,
        .abort = abort_turn,
        .committed = committed,
    };
}

void eventd_close(struct eventd *eventd)
{
    watch_list_close(&eventd->watches);
    retention_close(&eventd->retention);
    event_store_close(&eventd->store);
    buffer_close(&eventd->items);
    buffer_close(&eventd->list);
    arena_close(&eventd->batch);
}

/* --- counters --- */

void eventd_write_counters(void *context, struct buffer *buffer)
{
    struct eventd *eventd = context;
    struct event_store *store = &eventd->store;
    uint64_t used_bytes = 0, map_bytes = 0, live = 0, first = 0;
    AUTO(db_end) struct db_txn txn = { 0 };
    if (eventd->is_damaged) {
        write_map(buffer, 0);
        return;
    }
    if (db_usage(&store->db, &used_bytes, &map_bytes) == STATUS_OK &&
        db_begin_read(&store->db, &txn) == STATUS_OK) {
        live_count(&txn, &live);
        event_log_first(&txn, &first);
    }
    const struct counter counters[] = {
        { "events", store->committed_id },
        { "appends", store->appended },
        { "commits", store->commits },
        { "batch_max", store->batch_max },
        { "repeats", store->repeats },
        { "watches", eventd->watches.places.taken },
        { "first_event", first },
        { "last_event", store->committed_id },
        { "live", live },
        { "epoch", store->epoch },
        { "store_bytes", used_bytes },
        { "store_bytes_max", map_bytes },
    };
    counters_write(buffer, counters, COUNT_OF(counters));
}
