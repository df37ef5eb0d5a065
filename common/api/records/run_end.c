/* What the newest events of three types say and which of them came last, and eventd's row about the
 * end: a run that writes no events about shutdowns has only that, a salvaged log only the events.
 */
#include "common/api/records/run_end.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/db/table.h"
#include "common/wire/reader.h"

enum { ROW_BYTES = 9 };
static const char row_key[] = "run_end";

static enum status newest(struct db_txn *txn, enum event_type type, uint64_t *id)
{
    return event_log_head(txn, HEAD_OF_TYPE, event_type_name(type), id);
}

enum status run_end_put(struct db_txn *txn, uint64_t last_id, bool is_forced)
{
    struct table_number number = table_number(last_id);
    struct span id = table_number_key(&number);
    uint8_t row[ROW_BYTES];
    memcpy(row, id.data, sizeof row - 1);
    row[ROW_BYTES - 1] = is_forced;
    return db_meta_put(txn, row_key, span_of(row, sizeof row));
}

/* `last_id` is 0 when no run has ended in order yet. */
static enum status row_read(struct db_txn *txn, uint64_t *last_id, bool *is_forced)
{
    struct span row;
    *last_id = 0;
    enum status status = db_meta_get(txn, row_key, &row);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    if (row.size != ROW_BYTES)
        return STATUS_DATA_LOSS;
    *last_id = table_number_value(span_of(row.data, ROW_BYTES - 1));
    *is_forced = row.data[ROW_BYTES - 1] != 0;
    return STATUS_OK;
}

enum status run_end_find(struct db_txn *txn, const char *boot_id, char end[RUN_END_BYTES])
{
    uint64_t started, begun, complete, ended;
    bool is_forced = false;
    TRY(newest(txn, EVENT_system_started, &started));
    TRY(newest(txn, EVENT_system_shutdown_started, &begun));
    TRY(newest(txn, EVENT_system_shutdown_complete, &complete));
    TRY(row_read(txn, &ended, &is_forced));
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    struct event event;
    const char *word;
    if (started == 0) {
        word = "first";
    } else if (ended >= started) {
        word = is_forced ? "forced" : "clean";
    } else if (complete > started) {
        TRY(event_log_read(txn, complete, &arena, &event));
        word = map_bool(event.payload, "forced", false) ? "forced" : "clean";
    } else if (begun > started) {
        word = "cut";
    } else {
        char began_in[BOOT_ID_BYTES];
        TRY(event_log_read(txn, started, &arena, &event));
        map_text(event.payload, "boot_id", began_in, sizeof began_in);
        word = strcmp(began_in, boot_id) == 0 ? "crash" : "power";
    }
    snprintf(end, RUN_END_BYTES, "%s", word);
    return STATUS_OK;
}
