/* Position, incarnation, number and known_id. */
#include "common/outbox/standing.h"

#include <string.h>

#include "common/base/log.h"
#include "common/db/table.h"

enum { ROW_BYTES = 8 + 16 + 8 + 8 };
static const char meta_key[] = "outbox";

enum status outbox_standing_read(struct db_txn *txn, struct outbox_standing *standing)
{
    struct span row;
    TRY(db_meta_get(txn, meta_key, &row));
    if (row.size != ROW_BYTES)
        return log_failure(STATUS_DATA_LOSS, "read the outbox", "dir", txn->db->dir, "reason",
                           "not the form of its row in meta");
    standing->next_position = table_number_value(span_of(row.data, 8));
    memcpy(standing->incarnation, row.data + 8, sizeof standing->incarnation);
    standing->next_number = table_number_value(span_of(row.data + 24, 8));
    standing->known_id = table_number_value(span_of(row.data + 32, 8));
    return STATUS_OK;
}

enum status outbox_standing_write(struct db_txn *txn, const struct outbox_standing *standing)
{
    uint8_t row[ROW_BYTES];
    struct table_number next = table_number(standing->next_position);
    struct table_number number = table_number(standing->next_number);
    struct table_number known = table_number(standing->known_id);
    memcpy(row, next.bytes, 8);
    memcpy(row + 8, standing->incarnation, 16);
    memcpy(row + 24, number.bytes, 8);
    memcpy(row + 32, known.bytes, 8);
    return db_meta_put(txn, meta_key, span_of(row, sizeof row));
}
