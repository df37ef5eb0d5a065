/* `live`, `tenants` and the branch came with the store; heads are read from the events like those
 * that were written late. */
#include "eventd/salvaged.h"

#include <string.h>

#include "common/api/records/event_log.h"
#include "common/api/records/log_salvage.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "eventd/sources.h"

static enum status put_source(struct db_txn *txn, const struct event *event)
{
    const struct source_position position = {
        .name = event->source,
        .incarnation = event->incarnation,
        .number = event->source_number,
        .body_hash = sources_body(event),
        .jump_until = event->id, /* it may begin anywhere */
    };
    return event->source[0] == '\0' ? STATUS_OK : sources_put(txn, &position, event->id);
}

enum status salvaged_settle(struct db_txn *txn, uint64_t last_id, uint64_t *epoch)
{
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    AUTO(buffer_close) struct buffer listed = { .limit = DB_VALUE_BYTES_MAX };
    struct log_salvage salvage;
    TRY(log_salvage_read(txn, &salvage));
    if (!salvage.is_fresh)
        return STATUS_OK;
    /* The row lies in the map, where what is put may move it. */
    buffer_append(&listed, salvage.listed, salvage.listed_count * LOG_REVIEWED_BYTES);
    salvage.listed = listed.data;
    salvage.is_fresh = false;
    uint64_t first;
    TRY(event_log_first(txn, &first));
    for (uint64_t id = first; id <= last_id; id++) {
        struct event event;
        arena_reset(&arena);
        TRY(event_log_read(txn, id, &arena, &event));
        TRY(put_source(txn, &event));
        *epoch = event.epoch >= *epoch ? event.epoch + 1 : *epoch;
    }
    TRY(requests_forget(txn, clock_wall_ns() / 1000000));
    return log_salvage_write(txn, &salvage);
}
