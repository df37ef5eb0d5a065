/* As many rows as fit into a frame. */
#include "common/outbox/batch.h"

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/db/table.h"
#include "common/wire/writer.h"

enum { BYTES_MAX = FRAME_BYTES_MAX / 2 };
_Static_assert((int)OUTBOX_BATCH_MAX <= (int)EVENT_BATCH_MAX, "one batch is one request");

static enum status read_rows(struct outbox_batch *batch, struct db_txn *txn, unsigned table,
                             uint64_t first, size_t *count)
{
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct table_number position = table_number(first);
    struct span key, row;
    size_t met = 0;
    TRY(table_cursor_open(txn, table, &cursor));
    enum status status = table_cursor_seek(&cursor, table_number_key(&position), &key, &row);
    while (status == STATUS_OK && met < OUTBOX_BATCH_MAX &&
           batch->rows.size + row.size <= BYTES_MAX) {
        if (table_number_value(key) != first + met)
            return log_failure(STATUS_DATA_LOSS, "read the outbox", "dir", txn->db->dir, "position",
                               NUMBER(first + met), "reason", "the row is missing");
        buffer_append(&batch->rows, row.data, row.size);
        met++;
        status = table_cursor_next(&cursor, &key, &row);
    }
    *count = met;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status outbox_batch_read(struct outbox_batch *batch, struct db *db, unsigned table,
                              uint64_t first, size_t *count)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    batch->rows.limit = BYTES_MAX;
    batch->list.limit = BYTES_MAX + MESSAGE_OVERHEAD_BYTES;
    TRY(db_begin_read(db, &txn));
    TRY(read_rows(batch, &txn, table, first, count));
    write_array(&batch->list, *count);
    buffer_append(&batch->list, batch->rows.data, batch->rows.size);
    ensure(!batch->rows.is_exhausted);
    ensure(!batch->list.is_exhausted);
    return STATUS_OK;
}

void outbox_batch_forget(struct outbox_batch *batch)
{
    buffer_clear(&batch->rows);
    buffer_shrink(&batch->rows, OUTBOX_ROW_BYTES_MAX);
    buffer_clear(&batch->list);
    buffer_shrink(&batch->list, OUTBOX_ROW_BYTES_MAX);
}

void outbox_batch_close(struct outbox_batch *batch)
{
    buffer_close(&batch->rows);
    buffer_close(&batch->list);
}
