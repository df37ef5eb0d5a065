/* Each outcome of an action is an event whose cause is the recovery: they are counted from the
 * newest one back to where the recovery began. */
#include "common/api/records/recovery_cut.h"

#include "common/base/auto.h"
#include "common/wire/reader.h"

static uint64_t least(uint64_t one, uint64_t other)
{
    return one < other ? one : other;
}

uint64_t recovery_plan_total(struct span plan)
{
    return map_u64(plan, "start", 0) + map_u64(plan, "replace", 0) + map_u64(plan, "stop", 0);
}

static enum status count_caused(struct db_txn *txn, enum event_type type, uint64_t cause,
                                uint64_t *count)
{
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    struct event event;
    uint64_t id;
    *count = 0;
    TRY(event_log_head(txn, HEAD_OF_TYPE, event_type_name(type), &id));
    for (; id > cause; id = event.previous_of_type) {
        arena_reset(&arena);
        TRY(event_log_read(txn, id, &arena, &event));
        *count += event.causation_id == cause ? 1 : 0;
    }
    return STATUS_OK;
}

static enum status read_plan(struct db_txn *txn, uint64_t id, uint64_t *total, uint64_t *stops)
{
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    struct event event;
    struct reader plan;
    *total = *stops = 0;
    TRY(event_log_read(txn, id, &arena, &event));
    if (map_find(event.payload, "plan", &plan) != STATUS_OK)
        return STATUS_OK;
    *total = recovery_plan_total(plan.rest);
    *stops = map_u64(plan.rest, "stop", 0);
    return STATUS_OK;
}

enum status recovery_cut_find(struct db_txn *txn, struct recovery_cut *cut)
{
    uint64_t started, completed, recovered, stopped, stops;
    *cut = (struct recovery_cut){ 0 };
    TRY(event_log_head(txn, HEAD_OF_TYPE, event_type_name(EVENT_recovery_started), &started));
    TRY(event_log_head(txn, HEAD_OF_TYPE, event_type_name(EVENT_recovery_completed), &completed));
    if (started <= completed)
        return STATUS_OK;
    cut->event_id = started;
    TRY(read_plan(txn, started, &cut->total, &stops));
    TRY(count_caused(txn, EVENT_service_recovered, started, &recovered));
    TRY(count_caused(txn, EVENT_service_recovery_failed, started, &cut->failed));
    TRY(count_caused(txn, EVENT_service_stopped, started, &stopped));
    /* What was replaced was stopped, too. */
    cut->done = least(recovered + cut->failed + least(stopped, stops), cut->total);
    return STATUS_OK;
}
