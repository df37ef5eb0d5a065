/* The row: until [8], flags [1], then the marks. The event: a map of what, events, until, all,
 * needs_review. */
#include "common/api/records/log_salvage.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/records/event_log.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/db/table.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"

static const char row_key[] = "log.salvage";
enum { AT_FLAGS = 8, AT_MARKS = 9, FLAG_FRESH = 1, FLAG_ALL = 2, FLAG_TOLD = 4, FLAG_PERSON = 8 };
enum { TOLD_BYTES_MAX = 256 * 1024 };
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
    salvage->is_told = (row.data[AT_FLAGS] & FLAG_TOLD) != 0;
    salvage->needs_person = (row.data[AT_FLAGS] & FLAG_PERSON) != 0;
    salvage->listed = row.data + AT_MARKS;
    salvage->listed_count = (row.size - AT_MARKS) / LOG_REVIEWED_BYTES;
    return STATUS_OK;
}

enum status log_salvage_write(struct db_txn *txn, const struct log_salvage *salvage)
{
    AUTO(buffer_close) struct buffer row = { .limit = DB_VALUE_BYTES_MAX };
    struct table_number until = table_number(salvage->until);
    uint8_t flags =
        (uint8_t)((salvage->is_fresh ? FLAG_FRESH : 0) | (salvage->has_all ? FLAG_ALL : 0) |
                  (salvage->is_told ? FLAG_TOLD : 0) | (salvage->needs_person ? FLAG_PERSON : 0));
    buffer_append(&row, until.bytes, 8);
    buffer_append(&row, &flags, 1);
    if (salvage->listed_count > 0)
        buffer_append(&row, salvage->listed, salvage->listed_count * LOG_REVIEWED_BYTES);
    if (row.is_exhausted)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "write what was salvaged");
    return db_meta_put(txn, row_key, buffer_span(&row));
}

static void mark_key(struct span key, uint8_t mark[LOG_REVIEWED_BYTES])
{
    struct hash hash = hash_of(key);
    memcpy(mark, hash.bytes, LOG_REVIEWED_BYTES);
}

void log_salvage_mark(const char *tenant, const char *name, uint8_t mark[LOG_REVIEWED_BYTES])
{
    char key[SERVICE_KEY_BYTES];
    mark_key(span_of_text(service_key(key, tenant, name)), mark);
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

/* --- as an event tells it --- */

struct telling {
    const struct log_salvage *salvage;
    struct buffer *names;
    size_t count;
};

static enum status tell_service(void *context, const char *tenant, const char *name,
                                const struct live_row *row)
{
    struct telling *telling = context;
    char key[SERVICE_KEY_BYTES];
    if (!log_salvage_needs_review(telling->salvage, tenant, name, row->since))
        return STATUS_OK;
    write_str(telling->names, service_key(key, tenant, name));
    telling->count++;
    return STATUS_OK;
}

/* More than an event has room for are all. */
enum status log_salvage_tell(struct db_txn *txn, const struct log_salvage *salvage, uint64_t events,
                             struct buffer *payload)
{
    AUTO(buffer_close) struct buffer names = { .limit = TOLD_BYTES_MAX };
    struct telling telling = { .salvage = salvage, .names = &names };
    TRY(live_each(txn, tell_service, &telling));
    bool is_cut = names.is_exhausted;
    write_map(payload, 5);
    write_key_str(payload, "what",
                  "the log was salvaged: it has what a damaged store and backups "
                  "proved");
    write_key_u64(payload, "events", events);
    write_key_u64(payload, "until", salvage->until);
    write_key_bool(payload, "all", is_cut || salvage->has_all);
    write_str(payload, "needs_review");
    write_array(payload, is_cut ? 0 : telling.count);
    if (!is_cut && telling.count > 0)
        buffer_append(payload, names.data, names.size);
    return payload->is_exhausted ? log_failure(STATUS_RESOURCE_EXHAUSTED, "tell what was salvaged")
                                 : STATUS_OK;
}

bool log_salvage_was_told(struct span payload, struct log_salvage *salvage, struct buffer *marks)
{
    struct reader names;
    uint32_t count;
    uint64_t until = map_u64(payload, "until", 0);
    if (until == 0 || map_find(payload, "needs_review", &names) != STATUS_OK ||
        reader_array(&names, &count) != STATUS_OK)
        return false;
    buffer_clear(marks);
    *salvage = (struct log_salvage){ .until = until, .has_all = map_bool(payload, "all", false) };
    for (struct span name; count > 0 && reader_str(&names, &name) == STATUS_OK; count--) {
        uint8_t mark[LOG_REVIEWED_BYTES];
        mark_key(name, mark);
        buffer_append(marks, mark, sizeof mark);
        salvage->listed_count++;
    }
    salvage->has_all = salvage->has_all || count > 0 || marks->is_exhausted;
    salvage->listed = marks->data;
    if (!salvage->has_all && salvage->listed_count > 0)
        qsort(marks->data, salvage->listed_count, LOG_REVIEWED_BYTES, log_salvage_compare);
    return true;
}
