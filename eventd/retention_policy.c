/* By numbers and by the events' wall clocks, which may have been set back: then a little more or
 * less goes. */
#include "eventd/retention_policy.h"

#include "common/api/records/event_log.h"
#include "common/base/fault.h"

enum { DAY_MS = 86400000 };
static const uint64_t ns_per_ms = 1000000ull;

static uint64_t day_ms(void)
{
    return fault_number("day_ms", "retention", DAY_MS);
}

struct retention_policy retention_policy_of(uint64_t keep_events, uint64_t keep_ms)
{
    return (struct retention_policy){
        .keep_events = keep_events == 0 ? UINT64_MAX : keep_events,
        .keep_ms = keep_ms == 0 ? UINT64_MAX : keep_ms,
    };
}

static enum status wall_of(struct db_txn *txn, uint64_t id, uint64_t *wall_ns)
{
    struct table_number number = table_number(id);
    struct span record;
    struct event event;
    TRY(table_get(txn, EVENTS_EVENTS, table_number_key(&number), &record));
    TRY(event_decode_header(record, &event));
    *wall_ns = event.wall_ns;
    return STATUS_OK;
}

/* By halving: an event from `first` to `last` up to which they are that old, as clocks go. */
static enum status last_older_than(struct db_txn *txn, uint64_t first, uint64_t last,
                                   uint64_t limit_ns, uint64_t *found)
{
    uint64_t low = first - 1, high = last;
    while (low < high) {
        uint64_t middle = low + (high - low + 1) / 2, wall_ns;
        TRY(wall_of(txn, middle, &wall_ns));
        if (wall_ns < limit_ns)
            low = middle;
        else
            high = middle - 1;
    }
    *found = low < first ? 0 : low;
    return STATUS_OK;
}

static uint64_t before(uint64_t now_ns, uint64_t age_ms)
{
    return age_ms > now_ns / ns_per_ms ? 0 : now_ns - age_ms * ns_per_ms;
}

enum status retention_find_last(struct db_txn *txn, const struct retention_policy *policy,
                                bool is_asked, uint64_t now_ns, uint64_t *last)
{
    uint64_t first, newest, end, by_count = 0, by_age = 0, by_day = UINT64_MAX;
    *last = 0;
    TRY(event_log_first(txn, &first));
    TRY(event_log_last(txn, &newest));
    TRY(event_log_written(txn, &end));
    if (end < first)
        return STATUS_OK;
    if (policy->keep_events != UINT64_MAX && newest >= policy->keep_events)
        by_count = newest - policy->keep_events < end ? newest - policy->keep_events : end;
    if (policy->keep_ms != UINT64_MAX)
        TRY(last_older_than(txn, first, end, before(now_ns, policy->keep_ms), &by_age));
    if (!is_asked)
        TRY(last_older_than(txn, first, end, before(now_ns, day_ms()), &by_day));
    uint64_t found = by_count > by_age ? by_count : by_age;
    found = found < by_day ? found : by_day;
    *last = found < first ? 0 : found;
    return STATUS_OK;
}

enum status retention_is_due(struct db_txn *txn, const struct retention_policy *policy,
                             uint64_t now_ns, bool *is_due)
{
    uint64_t first, last, wall_ns;
    *is_due = false;
    TRY(event_log_first(txn, &first));
    TRY(event_log_last(txn, &last));
    if (last < first)
        return STATUS_OK;
    if (policy->keep_events != UINT64_MAX)
        *is_due = last - first + 1 > policy->keep_events + policy->keep_events / 8;
    if (policy->keep_ms == UINT64_MAX || *is_due)
        return STATUS_OK;
    TRY(wall_of(txn, first, &wall_ns));
    *is_due = policy->keep_ms < UINT64_MAX - DAY_MS &&
              wall_ns < before(now_ns, policy->keep_ms + day_ms());
    return STATUS_OK;
}
