/* Rows are looked at with a cursor and deleted when it is closed, a batch at a time, until the
 * step's time is over. The commit that follows is two syncs, as any. */
#include "eventd/pruning.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/records/event_log.h"
#include "common/api/records/log_cut.h"
#include "common/api/records/log_state.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/fault.h"

enum { BATCH = 64, LOOKED_AT_ONCE = 512 };
static const uint64_t step_ns = 2 * 1000000ull;

enum status pruning_open(struct pruning *pruning, struct event_store *store)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(buffer_close) struct buffer state = { .limit = LOG_STATE_BYTES_MAX };
    struct log_cut cut;
    *pruning = (struct pruning){ .store = store };
    TRY(db_begin_read(&store->db, &txn));
    TRY(log_cut_read(&txn, &cut));
    pruning->cut = cut.id;
    pruning->is_done = cut.id == 0;
    if (pruning->is_done)
        return STATUS_OK;
    TRY(log_cut_read_state(&txn, &cut, &state));
    return log_state_kept(buffer_span(&state), &pruning->kept, &pruning->kept_count);
}

void pruning_close(struct pruning *pruning)
{
    free(pruning->kept);
    pruning->kept = NULL;
    pruning->kept_count = 0;
}

static bool is_kept(const struct pruning *pruning, uint64_t id)
{
    return log_state_keeps(pruning->kept, pruning->kept_count, id);
}

/* --- records --- */

static enum status find_events(struct pruning *pruning, struct db_txn *txn, uint64_t ids[BATCH],
                               size_t *count)
{
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct table_number from = table_number(pruning->at + 1);
    struct span key, record;
    *count = 0;
    TRY(table_cursor_open(txn, EVENTS_EVENTS, &cursor));
    enum status status = table_cursor_seek(&cursor, table_number_key(&from), &key, &record);
    for (int looked = 0; status == STATUS_OK && *count < BATCH && looked < LOOKED_AT_ONCE;
         looked++) {
        uint64_t id = table_number_value(key);
        if (id > pruning->cut) {
            pruning->are_events_done = true;
            return STATUS_OK;
        }
        if (!is_kept(pruning, id))
            ids[(*count)++] = id;
        pruning->at = id;
        status = table_cursor_next(&cursor, &key, &record);
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status delete_events(struct pruning *pruning, struct db_txn *txn)
{
    uint64_t ids[BATCH];
    size_t count;
    TRY(find_events(pruning, txn, ids, &count));
    for (size_t i = 0; i < count; i++) {
        struct table_number number = table_number(ids[i]);
        TRY(table_delete(txn, EVENTS_EVENTS, table_number_key(&number)));
    }
    pruning->events += count;
    return STATUS_OK;
}

/* --- heads --- */

struct head_key {
    uint8_t bytes[HEAD_KEY_BYTES];
    size_t size;
};

static enum status find_heads(struct pruning *pruning, struct db_txn *txn,
                              struct head_key keys[BATCH], size_t *count)
{
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct span key, value;
    *count = 0;
    TRY(table_cursor_open(txn, EVENTS_HEADS, &cursor));
    enum status status =
        table_cursor_seek(&cursor, span_of(pruning->head, pruning->head_size), &key, &value);
    for (int looked = 0; status == STATUS_OK && *count < BATCH && looked < LOOKED_AT_ONCE;
         looked++) {
        uint64_t id = table_number_value(value);
        ensure(key.size <= HEAD_KEY_BYTES);
        if (id <= pruning->cut && !is_kept(pruning, id)) {
            memcpy(keys[*count].bytes, key.data, key.size);
            keys[(*count)++].size = key.size;
        }
        memcpy(pruning->head, key.data, key.size);
        pruning->head_size = key.size;
        status = table_cursor_next(&cursor, &key, &value);
    }
    pruning->is_done = status == STATUS_NOT_FOUND;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status delete_heads(struct pruning *pruning, struct db_txn *txn)
{
    struct head_key keys[BATCH];
    size_t count;
    TRY(find_heads(pruning, txn, keys, &count));
    for (size_t i = 0; i < count; i++)
        TRY(table_delete(txn, EVENTS_HEADS, span_of(keys[i].bytes, keys[i].size)));
    pruning->heads += count;
    return STATUS_OK;
}

/* --- a step --- */

enum status pruning_step(struct pruning *pruning)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t begun_ns = clock_boottime_ns();
    ensure(!pruning->store->in_turn);
    if (pruning->is_done)
        return STATUS_OK;
    TRY(db_begin_write(&pruning->store->db, &txn));
    do {
        if (pruning->are_events_done)
            TRY(delete_heads(pruning, &txn));
        else
            TRY(delete_events(pruning, &txn));
    } while (!pruning->is_done && clock_boottime_ns() - begun_ns < step_ns);
    fault_point("prune.before_commit");
    TRY(db_commit(&txn));
    fault_point("prune.after_commit");
    return STATUS_OK;
}
