/* deployd writes the registry; it may be there, hold it, or have left a damaged file behind. */
#include "recoveryd/registry_rows.h"

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/table.h"

enum { ROW_BYTES_MAX = 64 * 1024 };

static enum status open_store(const char *dir, struct db *db)
{
    enum status status = db_open_without_trace(db, &registry_schema, dir);
    if (status == STATUS_FAILED_PRECONDITION) /* deployd holds it */
        return db_open_reader(db, &registry_schema, dir);
    if (status != STATUS_OK)
        return status;
    db_close(db);
    TRY(db_probe(&registry_schema, dir));
    return db_open_without_trace(db, &registry_schema, dir);
}

/* One that does not say whose it is, is of an earlier version. */
static enum status check_log(struct db_txn *txn, const uint8_t incarnation[16])
{
    struct span known;
    enum status status = db_meta_get(txn, REGISTRY_LOG_KEY, &known);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    return span_equal(known, span_of(incarnation, 16)) ? STATUS_OK : STATUS_NOT_FOUND;
}

enum status registry_rows_each(const char *run_dir, const uint8_t incarnation[16],
                               enum status (*visit)(void *context, const struct service_row *row),
                               void *context)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    AUTO(arena_close) struct arena arena = { .limit = ROW_BYTES_MAX };
    char dir[4096];
    struct span key, value;
    TRY(path_join(dir, run_dir, registry_schema.name));
    TRY(open_store(dir, &db));
    TRY(db_begin_read(&db, &txn));
    TRY(check_log(&txn, incarnation));
    TRY(table_cursor_open(&txn, REGISTRY_SERVICES, &cursor));
    enum status status = table_cursor_seek(&cursor, (struct span){ 0 }, &key, &value);
    for (; status == STATUS_OK; status = table_cursor_next(&cursor, &key, &value)) {
        struct service_row row = { 0 };
        struct problem problem = { 0 };
        if (fields_decode(&record_service_row, value, &arena, &row, &problem) != STATUS_OK)
            return log_failure(STATUS_DATA_LOSS, "read the registry", "field", problem.field,
                               "reason", problem.message);
        TRY(visit(context, &row));
        arena_reset(&arena);
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
