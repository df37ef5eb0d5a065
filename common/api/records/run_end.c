/* What the newest events of three types say, and which of them came last. */
#include "common/api/records/run_end.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/wire/reader.h"

static enum status newest(struct db_txn *txn, enum event_type type, uint64_t *id)
{
    return event_log_head(txn, HEAD_OF_TYPE, event_type_name(type), id);
}

enum status run_end_find(struct db_txn *txn, const char *boot_id, bool logs_shutdown_events,
                         char end[RUN_END_BYTES])
{
    uint64_t started, begun, complete;
    TRY(newest(txn, EVENT_system_started, &started));
    TRY(newest(txn, EVENT_system_shutdown_started, &begun));
    TRY(newest(txn, EVENT_system_shutdown_complete, &complete));
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    struct event event;
    const char *word;
    if (complete > started) {
        TRY(event_log_read(txn, complete, &arena, &event));
        word = map_bool(event.payload, "forced", false) ? "forced" : "clean";
    } else if (begun > started) {
        word = "cut";
    } else if (started == 0) {
        word = "first";
    } else if (!logs_shutdown_events) {
        word = "unknown";
    } else {
        char began_in[BOOT_ID_BYTES];
        TRY(event_log_read(txn, started, &arena, &event));
        map_text(event.payload, "boot_id", began_in, sizeof began_in);
        word = strcmp(began_in, boot_id) == 0 ? "crash" : "power";
    }
    snprintf(end, RUN_END_BYTES, "%s", word);
    return STATUS_OK;
}
