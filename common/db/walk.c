/* Tables with a digest are read in one snapshot each, because only that can be compared with it;
 * the others in slices, so that a long walk holds no pages of a running writer back. */
#include "common/db/walk.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/db/environment.h"
#include "common/db/meta_pages.h"
#include "common/db/page_numbers.h"
#include "common/db/probe.h"
#include "common/db/store_child.h"
#include "common/db/table.h"

/* Processor time: a store of the greatest size takes less, a tree with a circle does not end. */
enum { SLICE_ROWS = 20000, WALK_CPU_SECONDS_MAX = 60 * 60 };
static const char *const how_names[] = {
    [WALK_ALONE] = "alone",
    [WALK_BESIDE_WRITER] = "beside-writer",
    [WALK_ROWS] = "rows",
    [WALK_ROWS_BESIDE_WRITER] = "rows-beside-writer",
    [WALK_HALF_OF_COPY] = "half-of-copy",
};

/* --- the parent --- */

static enum status start(const struct db_schema *schema, const char *dir, enum walk_how how,
                         pid_t *pid)
{
    const char *const arguments[] = { "store-walk", "--walk-store", schema->name,
                                      dir,          how_names[how], NULL };
    return store_child_start(arguments, dir, pid);
}

enum status db_walk(const struct db_schema *schema, const char *dir, enum walk_how how)
{
    pid_t pid;
    int result;
    TRY(start(schema, dir, how, &pid));
    TRY(store_child_wait(pid, dir, &result));
    return db_probe_judge(dir, result);
}

enum status db_walk_start(const struct db_schema *schema, const char *dir, enum walk_how how,
                          pid_t *pid, int *pidfd)
{
    TRY(start(schema, dir, how, pid));
    return pidfd == NULL ? STATUS_OK : store_child_watch(*pid, dir, pidfd);
}

/* --- the child --- */

struct place {
    uint8_t key[DB_KEY_BYTES_MAX];
    size_t size;
};

static bool is_behind(struct span key, const struct place *place)
{
    size_t both = key.size < place->size ? key.size : place->size;
    int order = both == 0 ? 0 : memcmp(key.data, place->key, both);
    return order > 0 || (order == 0 && key.size > place->size);
}

/* Rows behind `place`; not_found after the last. A key that does not come after the one before is
 * a page that leads elsewhere, and could lead there for ever. */
static enum status walk_slice(struct db *db, unsigned table, struct place *place)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct span key, row;
    TRY(db_begin_read(db, &txn));
    TRY(table_cursor_open(&txn, table, &cursor));
    enum status status = table_cursor_seek(&cursor, span_of(place->key, place->size), &key, &row);
    if (status == STATUS_OK && span_equal(key, span_of(place->key, place->size)))
        status = table_cursor_next(&cursor, &key, &row);
    for (int i = 0; i < SLICE_ROWS && status == STATUS_OK; i++) {
        if (!is_behind(key, place))
            return log_failure(STATUS_DATA_LOSS, "walk table", "dir", db->dir, "table",
                               db->schema->tables[table].name, "reason",
                               "its rows are out of order");
        memcpy(place->key, key.data, key.size);
        place->size = key.size;
        status = table_cursor_next(&cursor, &key, &row);
    }
    return status;
}

static enum status walk_table(struct db *db, unsigned table)
{
    unsigned flags = db->schema->tables[table].flags;
    struct place place = { .size = 0 };
    enum status status = STATUS_OK;
    if (flags & TABLE_UNSEALED)
        return STATUS_OK; /* its own check_rows knows how its rows prove themselves */
    if (flags & TABLE_DIGEST) {
        AUTO(db_end) struct db_txn txn = { 0 };
        TRY(db_begin_read(db, &txn));
        return table_verify(&txn, table);
    }
    while (status == STATUS_OK)
        status = walk_slice(db, table, &place);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status open_alone(struct db *db, const struct db_schema *schema, const char *dir)
{
    struct meta_pages pages;
    TRY(meta_pages_read(dir, &pages));
    TRY(environment_open(db, schema, dir, MDB_RDONLY | MDB_NOLOCK));
    return environment_open_for_reading(db);
}

static enum status walk_pages(struct db *db, enum walk_how how)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_read(db, &txn));
    enum status status =
        page_numbers_check(&txn, how == WALK_BESIDE_WRITER ? PAGES_BUT_EVENTS : PAGES_ALL);
    /* Rows that are damaged are refused; of a damaged page a writer dies as this does. */
    if (status == STATUS_DATA_LOSS && how == WALK_ALONE) {
        signal(SIGABRT, SIG_DFL);
        abort();
    }
    return status;
}

static enum status walk(const struct db_schema *schema, const char *dir, enum walk_how how,
                        walk_rows *check_rows)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    bool is_written = how == WALK_BESIDE_WRITER || how == WALK_ROWS_BESIDE_WRITER;
    TRY(is_written ? db_open_reader(&db, schema, dir) : open_alone(&db, schema, dir));
    if (how >= WALK_ROWS)
        return how == WALK_HALF_OF_COPY ? check_rows(&db, 1, 2) : check_rows(&db, 0, 1);
    enum status status = walk_pages(&db, how);
    if (status != STATUS_OK && status != STATUS_DATA_LOSS)
        return status;
    for (unsigned i = 0; i <= schema->table_count; i++) {
        enum status found = i < schema->table_count ? walk_table(&db, i)
                            : check_rows != NULL    ? check_rows(&db, 0, 1)
                                                    : STATUS_OK;
        if (found != STATUS_OK && found != STATUS_DATA_LOSS)
            return status != STATUS_OK ? status : found;
        if (found != STATUS_OK)
            status = found; /* the other tables may hold worse */
    }
    return status;
}

int db_walk_main(const struct db_schema *schema, const char *dir, const char *how,
                 walk_rows *check_rows)
{
    log_setup("store-walk", LOG_LEVEL_INFO);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    store_child_limit(WALK_CPU_SECONDS_MAX);
    enum walk_how as = WALK_ALONE;
    while (as < WALK_HALF_OF_COPY && strcmp(how, how_names[as]) != 0)
        as++;
    if (as == WALK_BESIDE_WRITER)
        store_child_step_back(); /* otherwise somebody waits for it */
    return status_exit_code(walk(schema, dir, as, check_rows));
}
