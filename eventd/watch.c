/* Watches share one budget per turn, of records and of bytes looked at, so that hundreds that start
 * at 1 do not hold up appends; those that come too late in one turn come first in the next. Where
 * one of them is, is a single number: nothing can be missed or sent twice. */
#include "eventd/watch.h"

#include <stdlib.h>
#include <utlist.h>

#include "common/api/api.h"
#include "common/api/records/event_log.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/wire/fields.h"
#include "common/wire/writer.h"

enum {
    SLICE_BYTES = 64 * 1024,          /* of items in one notification, unless one event is larger */
    TURN_RECORDS_MAX = 4000,          /* looked at in one turn, so that appends do not wait long */
    TURN_BYTES_MAX = 4 * 1024 * 1024, /* of those */
    SLICE_RECORDS_MIN = 64,           /* looked at for one watch, however many there are */
    UNREAD_PAUSE_BYTES = 1024 * 1024, /* a client this far behind is waited for */
    SLOW_SECONDS_MAX = 10,            /* for this long */
};

struct watch {
    struct watch *prev, *next; /* utlist's names */
    struct watch_list *list;
    struct rpc_call *call;
    struct share *share;
    struct event_filter filter;
    uint64_t sent;  /* every event up to this number was sent, or does not match */
    uint64_t shown; /* what the caller is told of that: a token's learns of its own events only */
    bool is_paused; /* until what waits was read */
    uint64_t paused_ns; /* boottime */
};

static void forget(struct watch *watch)
{
    DL_DELETE(watch->list->watches, watch);
    shares_give(&watch->list->places, watch->share);
    free(watch);
}

static void end(struct watch *watch, enum status status, const char *reason)
{
    struct problem problem;
    problem_set(&problem, status, "", "%s; resume after %llu", reason,
                (unsigned long long)watch->shown);
    struct rpc_call *call = watch->call;
    forget(watch);
    rpc_call_fail(call, status, &problem);
}

/* False when its token does not allow it any more: then it has ended and is gone. */
static bool may_go_on(struct watch *watch)
{
    struct problem problem = { 0 };
    const struct access *access = watch->list->access;
    enum status status =
        access == NULL ? STATUS_OK : access_still_allows(access, &watch->call->caller, &problem);
    if (status == STATUS_OK)
        return true;
    struct rpc_call *call = watch->call;
    forget(watch);
    rpc_call_fail(call, status, &problem);
    return false;
}

static void on_gone(struct rpc_call *call)
{
    forget(call->user);
    rpc_call_drop(call);
}

static void on_drained(struct rpc_call *call)
{
    struct watch *watch = call->user;
    watch->is_paused = false;
    watch_list_wake(watch->list);
}

static bool is_behind(const struct watch *watch)
{
    return !watch->is_paused && watch->sent < watch->list->store->committed_id;
}

static bool anybody_is_behind(const struct watch_list *list)
{
    struct watch *watch;
    DL_FOREACH(list->watches, watch)
    if (is_behind(watch))
        return true;
    return false;
}

static enum status send_batch(struct watch *watch, uint64_t count, uint64_t last, uint64_t seen)
{
    struct buffer *params = &watch->list->params;
    buffer_clear(params);
    write_map(params, 2);
    write_str(params, "events");
    write_array(params, count);
    buffer_append(params, watch->list->items.data, watch->list->items.size);
    write_str(params, "last_id");
    write_u64(params, watch->call->caller.kind == CALLER_TOKEN ? last : seen);
    if (params->is_exhausted)
        return log_failure(STATUS_INTERNAL, "pack events for a watch", "size",
                           NUMBER(watch->list->items.size));
    return rpc_call_notify(watch->call, "event.batch", buffer_span(params));
}

/* What all watches together may still look at in this turn. */
struct budget {
    uint64_t records, bytes;
};

static uint64_t spent(uint64_t budget, uint64_t cost)
{
    return cost < budget ? budget - cost : 0;
}

/* A watch's share of what one turn may look at, but not less than `least`. */
static uint64_t share(const struct watch_list *list, uint64_t whole, uint64_t least)
{
    return whole / list->places.taken < least ? least : whole / list->places.taken;
}

/* False when what it would be sent next was archived: then it has ended and is gone. */
static bool is_in_log(struct watch *watch, struct db_txn *txn)
{
    uint64_t first;
    enum status status = event_log_first(txn, &first);
    if (status == STATUS_OK && watch->sent + 1 >= first)
        return true;
    if (status == STATUS_OK)
        end(watch, STATUS_OUT_OF_RANGE, "the events from there on were archived");
    else
        end(watch, status, "reading the log failed");
    return false;
}

/* Sends one slice to one watch. The watch may be gone afterwards. */
static void advance(struct watch *watch, struct db_txn *txn, struct budget *budget)
{
    if (!may_go_on(watch) || !is_in_log(watch, txn))
        return;
    const struct query query = {
        .late = &watch->list->store->late,
        .filter = &watch->filter,
        .after = watch->sent,
        .items_max = QUERY_LIMIT_MAX,
        .bytes_max = SLICE_BYTES,
        .scan_max = share(watch->list, TURN_RECORDS_MAX, SLICE_RECORDS_MIN),
        .scan_bytes_max = share(watch->list, TURN_BYTES_MAX, SLICE_BYTES),
    };
    struct query_result result = { .items = &watch->list->items };
    buffer_clear(result.items);
    enum status status = query_oldest_first(txn, &query, &result);
    budget->records = spent(budget->records, result.scanned);
    budget->bytes = spent(budget->bytes, result.scanned_bytes);
    if (status != STATUS_OK) {
        end(watch, status, "reading the log failed");
        return;
    }
    status =
        result.count == 0 ? STATUS_OK : send_batch(watch, result.count, result.last, result.seen);
    if (status != STATUS_OK) {
        end(watch, status, "the client does not read fast enough");
        return;
    }
    watch->sent = result.seen;
    if (watch->call->caller.kind != CALLER_TOKEN)
        watch->shown = result.seen;
    else if (result.count > 0)
        watch->shown = result.last;
    if (rpc_call_unread(watch->call) > UNREAD_PAUSE_BYTES) {
        watch->is_paused = true;
        watch->paused_ns = clock_boottime_ns();
        rpc_call_on_drained(watch->call, on_drained);
    }
}

static void advance_all(struct watch_list *list)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    if (db_begin_read(&list->store->db, &txn) != STATUS_OK)
        return;
    struct budget budget = { TURN_RECORDS_MAX, TURN_BYTES_MAX };
    for (size_t left = list->places.taken; left > 0 && budget.records > 0 && budget.bytes > 0;
         left--) {
        struct watch *watch = list->watches;
        DL_DELETE(list->watches, watch);
        DL_APPEND(list->watches, watch);
        if (is_behind(watch))
            advance(watch, &txn, &budget);
    }
    buffer_shrink(&list->items, SLICE_BYTES);
    buffer_shrink(&list->params, SLICE_BYTES);
}

static void on_slice(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
    struct watch_list *list = timer->data;
    advance_all(list);
    watch_list_wake(list);
}

static void on_slow(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct watch_list *list = timer->data;
    uint64_t now_ns = clock_boottime_ns();
    struct watch *watch, *next;
    DL_FOREACH_SAFE(list->watches, watch, next)
    if (may_go_on(watch) && watch->is_paused &&
        now_ns - watch->paused_ns > SLOW_SECONDS_MAX * 1000000000ull)
        end(watch, STATUS_RESOURCE_EXHAUSTED, "the client does not read fast enough");
}

void watch_list_wake(struct watch_list *list)
{
    if (!ev_is_active(&list->slice) && anybody_is_behind(list)) {
        ev_timer_set(&list->slice, 0., 0.);
        ev_timer_start(list->loop, &list->slice);
    }
}

void watch_list_open(struct watch_list *list, struct ev_loop *loop, struct event_store *store,
                     const struct access *access)
{
    *list = (struct watch_list){
        .store = store,
        .access = access,
        .loop = loop,
        .items = { .limit = FRAME_BYTES_MAX - MESSAGE_OVERHEAD_BYTES },
        .params = { .limit = FRAME_BYTES_MAX - MESSAGE_OVERHEAD_BYTES / 2 },
    };
    ev_timer_init(&list->slice, on_slice, 0., 0.);
    ev_timer_init(&list->slow, on_slow, 1., 1.);
    list->slice.data = list->slow.data = list;
    ev_timer_start(loop, &list->slow);
}

void watch_list_close(struct watch_list *list)
{
    if (list->loop == NULL)
        return;
    struct watch *watch, *next;
    DL_FOREACH_SAFE(list->watches, watch, next)
    end(watch, STATUS_UNAVAILABLE, "eventd is stopping");
    ev_timer_stop(list->loop, &list->slice);
    ev_timer_stop(list->loop, &list->slow);
    buffer_close(&list->items);
    buffer_close(&list->params);
    list->loop = NULL;
}

static enum status begin_of_log(const struct watch_list *list, uint64_t *first)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_read(&list->store->db, &txn));
    return event_log_first(&txn, first);
}

enum status watch_begin(struct watch_list *list, struct rpc_call *call,
                        const struct event_filter *filter, uint64_t after, uint64_t shown)
{
    if (list->loop == NULL)
        return problem_set(&call->problem, STATUS_UNAVAILABLE, "", "eventd is stopping");
    TRY(shares_check(&list->places, WATCHES_MAX, "watches", call));
    if (after > list->store->committed_id)
        return problem_set(&call->problem, STATUS_FAILED_PRECONDITION, "after",
                           "the log ends at %llu: was it restored from a backup?",
                           (unsigned long long)list->store->committed_id);
    uint64_t first;
    TRY(begin_of_log(list, &first));
    /* A token is not told where the log begins: from 0 on it gets what is left. */
    bool is_from_begin = after == 0 && call->caller.kind == CALLER_TOKEN;
    if (is_from_begin)
        after = first - 1;
    if (after + 1 < first && call->caller.kind == CALLER_TOKEN)
        return problem_set(
            &call->problem, STATUS_OUT_OF_RANGE, "after",
            "what follows it was archived: with 0 it begins with the oldest that is left");
    if (after + 1 < first)
        return problem_set(&call->problem, STATUS_OUT_OF_RANGE, "after",
                           "the log begins at event %llu, what is older was archived: go on after "
                           "%llu",
                           (unsigned long long)first, (unsigned long long)first - 1);
    struct watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "begin a watch", "reason", "no memory");
    watch->list = list;
    watch->call = call;
    watch->filter = *filter;
    watch->sent = after;
    watch->shown = shown;
    call->user = watch;
    call->on_gone = on_gone;
    rpc_call_defer(call);
    DL_APPEND(list->watches, watch);
    watch->share = shares_take(&list->places, &call->caller);
    watch_list_wake(list);
    return STATUS_OK;
}
