/* Two ways through the log. Forward is a scan: the back links only lead back. Backward follows the
 * links of one tenant, type or subject; a number to begin below is looked for by scanning back to
 * the first event of that chain. Each record is checked before it is shown. */
#include "eventd/query.h"

#include <string.h>

#include "common/api/records/event_log.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/wire/fields.h"

/* One question under way. */
struct scan {
    struct db_txn *txn;
    const struct query *query;
    struct query_result *result;
    struct arena arena;
    uint64_t after; /* the query's, or the last event that was archived */
};

static bool is_wanted(const char *wanted, const char *found)
{
    return wanted[0] == '\0' || strcmp(wanted, found) == 0;
}

static bool matches(const struct event_filter *filter, const struct event *event)
{
    return is_wanted(filter->type, event->type) && is_wanted(filter->tenant, event->tenant) &&
           is_wanted(filter->subject, event->subject);
}

static bool is_exhausted(const struct scan *scan)
{
    return scan->result->scanned >= scan->query->scan_max ||
           scan->result->scanned_bytes >= scan->query->scan_bytes_max ||
           scan->result->count >= scan->query->items_max;
}

/* Reads and counts one record. */
static enum status look_at(struct scan *scan, uint64_t id, struct event *event)
{
    arena_reset(&scan->arena);
    TRY(event_log_read(scan->txn, id, &scan->arena, event));
    scan->result->scanned++;
    scan->result->scanned_bytes += event->payload.size + EVENT_HEADER_BYTES;
    return STATUS_OK;
}

/* Adds the event to the result; *is_full when it has no room. */
static enum status take(struct scan *scan, const struct event *event, bool *is_full)
{
    struct query_result *result = scan->result;
    struct event_item item;
    char request_text[UUID_TEXT_BYTES];
    size_t size_before = result->items->size;
    event_to_item(event, &item, request_text);
    fields_encode(&record_event_item, &item, result->items);
    *is_full = result->items->is_exhausted ||
               (result->count > 0 && result->items->size > scan->query->bytes_max);
    if (*is_full) {
        result->items->size = size_before;
        result->items->is_exhausted = false;
        return result->count > 0 ? STATUS_OK : STATUS_RESOURCE_EXHAUSTED;
    }
    result->count++;
    result->last = event->id;
    return STATUS_OK;
}

/* The lowest of the heads that the filter names: above it nothing can match. 0: nothing matches at
 * all. *kind is its chain, the most selective as far as heads can tell: an event of the others that
 * is newer is not in it. A subject is always narrower than a type or a tenant. */
static enum status lowest_head(struct scan *scan, uint64_t last, enum head_kind *kind,
                               uint64_t *start, uint64_t *lowest)
{
    const struct event_filter *filter = scan->query->filter;
    const struct {
        enum head_kind kind;
        const char *text;
    } heads[] = {
        { HEAD_OF_SUBJECT, filter->subject },
        { HEAD_OF_TYPE, filter->type },
        { HEAD_OF_TENANT, filter->tenant },
    };
    bool is_chosen = false;
    *lowest = last;
    *start = last;
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        uint64_t id;
        if (heads[i].text[0] == '\0')
            continue;
        TRY(late_rows_find_head(scan->query->late, scan->txn, heads[i].kind, heads[i].text, &id));
        bool is_narrower = scan->query->follows_tenant
                               ? heads[i].kind == HEAD_OF_TENANT
                               : !is_chosen || (*kind != HEAD_OF_SUBJECT && id < *start);
        if (is_narrower) {
            *kind = heads[i].kind;
            *start = id;
            is_chosen = true;
        }
        if (id < *lowest)
            *lowest = id;
    }
    return STATUS_OK;
}

static enum status find_begin(struct scan *scan)
{
    uint64_t first;
    TRY(event_log_first(scan->txn, &first));
    scan->after = scan->query->after < first ? first - 1 : scan->query->after;
    return STATUS_OK;
}

static bool has_filter(const struct event_filter *filter)
{
    return filter->tenant[0] != '\0' || filter->type[0] != '\0' || filter->subject[0] != '\0';
}

/* --- oldest first --- */

static enum status scan_forward(struct scan *scan)
{
    const struct query *query = scan->query;
    struct query_result *result = scan->result;
    uint64_t last, end, start;
    enum head_kind kind;
    TRY(find_begin(scan));
    TRY(event_log_last(scan->txn, &last));
    TRY(lowest_head(scan, last, &kind, &start, &end));
    uint64_t bound = last;
    if (query->before != 0 && query->before - 1 < bound)
        bound = query->before - 1;
    if (bound < end)
        end = bound;
    result->seen = scan->after;
    while (result->seen < end) {
        if (is_exhausted(scan))
            return STATUS_OK;
        struct event event;
        TRY(look_at(scan, result->seen + 1, &event));
        bool is_full = false;
        if (matches(query->filter, &event))
            TRY(take(scan, &event, &is_full));
        if (is_full)
            return STATUS_OK;
        result->seen++;
    }
    /* What lies behind the lowest head need not be looked at. */
    if (result->seen < bound)
        result->seen = bound;
    result->is_complete = true;
    return STATUS_OK;
}

enum status query_oldest_first(struct db_txn *txn, const struct query *query,
                               struct query_result *result)
{
    struct scan scan = {
        .txn = txn, .query = query, .result = result, .arena = { .limit = EVENT_TEXTS_BYTES_MAX }
    };
    result->count = result->scanned = result->scanned_bytes = 0;
    result->is_complete = false;
    enum status status = scan_forward(&scan);
    arena_close(&scan.arena);
    return status;
}

/* --- newest first --- */

static uint64_t linked(const struct event *event, enum head_kind kind)
{
    switch (kind) {
    case HEAD_OF_TENANT:
        return event->previous_of_tenant;
    case HEAD_OF_TYPE:
        return event->previous_of_type;
    case HEAD_OF_SUBJECT:
        return event->previous_of_subject;
    }
    ensure(false);
    return 0;
}

static bool is_in_chain(const struct event_filter *filter, const struct event *event,
                        enum head_kind kind)
{
    switch (kind) {
    case HEAD_OF_TENANT:
        return is_wanted(filter->tenant, event->tenant);
    case HEAD_OF_TYPE:
        return is_wanted(filter->type, event->type);
    case HEAD_OF_SUBJECT:
        return is_wanted(filter->subject, event->subject);
    }
    return false;
}

/* Walks back from `id` on. Off the chain (or without one) the next is the number before; on it, the
 * linked one. */
static enum status scan_backward(struct scan *scan, uint64_t id, enum head_kind kind)
{
    const struct query *query = scan->query;
    struct query_result *result = scan->result;
    bool has_chain = has_filter(query->filter);
    while (id > scan->after) {
        if (is_exhausted(scan))
            return STATUS_OK;
        struct event event;
        TRY(look_at(scan, id, &event));
        bool is_full = false;
        if (matches(query->filter, &event))
            TRY(take(scan, &event, &is_full));
        if (is_full)
            return STATUS_OK;
        result->seen = id;
        id = has_chain && is_in_chain(query->filter, &event, kind) ? linked(&event, kind) : id - 1;
    }
    result->is_complete = true;
    return STATUS_OK;
}

static enum status start_backward(struct scan *scan)
{
    const struct query *query = scan->query;
    uint64_t last, start, lowest;
    enum head_kind kind = HEAD_OF_TYPE;
    TRY(find_begin(scan));
    TRY(event_log_last(scan->txn, &last));
    TRY(lowest_head(scan, last, &kind, &start, &lowest));
    scan->result->seen = last + 1;
    bool ends_before = query->before != 0 && query->before <= scan->after + 1;
    if (lowest == 0 || ends_before) {
        scan->result->is_complete = true;
        return STATUS_OK;
    }
    if (query->before == 0 || start < query->before)
        return scan_backward(scan, start, kind);
    /* To go on below a number that this query returned, its own link leads on; any other number is
     * where the scan for the chain begins. */
    scan->result->seen = query->before;
    struct event event;
    TRY(look_at(scan, query->before, &event));
    bool is_linked = has_filter(query->filter) && is_in_chain(query->filter, &event, kind);
    return scan_backward(scan, is_linked ? linked(&event, kind) : query->before - 1, kind);
}

enum status query_newest_first(struct db_txn *txn, const struct query *query,
                               struct query_result *result)
{
    struct scan scan = {
        .txn = txn, .query = query, .result = result, .arena = { .limit = EVENT_TEXTS_BYTES_MAX }
    };
    result->count = result->scanned = result->scanned_bytes = 0;
    result->is_complete = false;
    enum status status = start_backward(&scan);
    arena_close(&scan.arena);
    return status;
}
