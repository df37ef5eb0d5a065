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

/* What the log knows of the newest run. */
struct run {
    uint64_t started; /* 0: there was none */
    uint64_t begun;   /* its shutdown; 0: not yet */
    bool is_over;     /* its end is there, and nothing of it came after that */
    bool is_forced;   /* that end */
    char boot_id[BOOT_ID_BYTES];
};

/* An end that was called off: eventd ended while one was near, and the run went on. deployd writes
 * nothing else between the end of a run and the begin of the next. */
static enum status run_went_on(struct db_txn *txn, uint64_t ended, bool *went_on)
{
    *went_on = false;
    for (enum event_type type = 0; type < EVENT_TYPES && !*went_on; type++) {
        uint64_t id;
        if (strcmp(event_type_writer(type), "deployd") != 0)
            continue;
        TRY(newest(txn, type, &id));
        *went_on = id > ended;
    }
    return STATUS_OK;
}

static enum status run_read(struct db_txn *txn, struct run *run)
{
    uint64_t complete, ended;
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    struct event event;
    *run = (struct run){ 0 };
    TRY(newest(txn, EVENT_system_started, &run->started));
    TRY(newest(txn, EVENT_system_shutdown_started, &run->begun));
    TRY(newest(txn, EVENT_system_shutdown_complete, &complete));
    TRY(row_read(txn, &ended, &run->is_forced));
    if (run->started == 0)
        return STATUS_OK;
    if (run->begun < run->started)
        run->begun = 0;
    if (ended < run->started && complete > run->started) {
        TRY(event_log_read(txn, complete, &arena, &event));
        run->is_forced = map_bool(event.payload, "forced", false);
        arena_reset(&arena);
        ended = complete;
    }
    if (ended >= run->started) {
        bool went_on;
        TRY(run_went_on(txn, ended, &went_on));
        run->is_over = !went_on;
    }
    TRY(event_log_read(txn, run->started, &arena, &event));
    map_text(event.payload, "boot_id", run->boot_id, sizeof run->boot_id);
    return STATUS_OK;
}

enum status run_end_find(struct db_txn *txn, const char *boot_id, char end[RUN_END_BYTES])
{
    struct run run;
    TRY(run_read(txn, &run));
    const char *word;
    if (run.started == 0)
        word = "first";
    else if (run.is_over)
        word = run.is_forced ? "forced" : "clean";
    else if (run.begun != 0)
        word = "cut";
    else
        word = strcmp(run.boot_id, boot_id) == 0 ? "crash" : "power";
    snprintf(end, RUN_END_BYTES, "%s", word);
    return STATUS_OK;
}

enum status run_is_open(struct db_txn *txn, const char *boot_id, bool *is_open)
{
    struct run run;
    TRY(run_read(txn, &run));
    *is_open = run.started != 0 && !run.is_over && strcmp(run.boot_id, boot_id) == 0;
    return STATUS_OK;
}
