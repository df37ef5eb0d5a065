/* The row: until [8], flags [1], then the marks. */
#include "common/api/records/log_salvage.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/buffer.h"
#include "common/base/log.h"
#include "common/db/table.h"

static const char row_key[] = "log.salvage";
enum { AT_FLAGS = 8, AT_MARKS = 9, FLAG_FRESH = 1, FLAG_ALL = 2 };
_Static_assert(AT_MARKS + LOG_REVIEWED_BYTES * LOG_REVIEWED_MAX + HASH_BYTES <= DB_VALUE_BYTES_MAX,
               "it is one row");

enum status log_salvage_read(struct db_txn *txn, struct log_salvage *salvage)
{
    struct span row;
    *salvage = (struct log_salvage){ 0 };
    enum status status = db_meta_get(txn, row_key, &row);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    if (row.size < AT_MARKS || (row.size - AT_MARKS) % LOG_REVIEWED_BYTES != 0)
        return log_failure(STATUS_DATA_LOSS, "read what was salvaged", "dir", txn->db->dir,
                           "reason", "not the form of its row in meta");
    salvage->until = table_number_value(span_of(row.data, 8));
    salvage->is_fresh = (row.data[AT_FLAGS] & FLAG_FRESH) != 0;
    salvage->has_all = (row.data[AT_FLAGS] & FLAG_ALL) != 0;
    salvage->listed = row.data + AT_MARKS;
    salvage->listed_count = (row.size - AT_MARKS) / LOG_REVIEWED_BYTES;
    return STATUS_OK;
}

enum status log_salvage_write(struct db_txn *txn, const struct log_salvage *salvage)
{
    AUTO(buffer_close) struct buffer row = { .limit = DB_VALUE_BYTES_MAX };
    struct table_number until = table_number(salvage->until);
    uint8_t flags =
        (uint8_t)((salvage->is_fresh ? FLAG_FRESH : 0) | (salvage->has_all ? FLAG_ALL : 0));
    buffer_append(&row, until.bytes, 8);
    buffer_append(&row, &flags, 1);
    if (salvage->listed_count > 0)
        buffer_append(&row, salvage->listed, salvage->listed_count * LOG_REVIEWED_BYTES);
    if (row.is_exhausted)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "write what was salvaged");
    return db_meta_put(txn, row_key, buffer_span(&row));
}

void log_salvage_mark(const char *tenant, const char *name, uint8_t mark[LOG_REVIEWED_BYTES])
{
    char key[SERVICE_KEY_BYTES];
    struct hash hash = hash_of(span_of_text(service_key(key, tenant, name)));
    memcpy(mark, hash.bytes, LOG_REVIEWED_BYTES);
}

int log_salvage_compare(const void *a, const void *b)
{
    return memcmp(a, b, LOG_REVIEWED_BYTES);
}

bool log_salvage_needs_review(const struct log_salvage *salvage, const char *tenant,
                              const char *name, uint64_t since)
{
    uint8_t mark[LOG_REVIEWED_BYTES];
    if (since > salvage->until)
        return false;
    if (salvage->has_all)
        return true;
    if (salvage->listed_count == 0)
        return false;
    log_salvage_mark(tenant, name, mark);
    return bsearch(mark, salvage->listed, salvage->listed_count, LOG_REVIEWED_BYTES,
                   log_salvage_compare) != NULL;
}
