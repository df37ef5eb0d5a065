/* The quick probe, both sides. The parent holds the lease, so the child maps a file that nobody
 * writes; whatever a damaged file makes LMDB do (abort, SIGBUS, divide by zero, walk in circles)
 * ends the child and is its answer. */
#include "common/db/probe.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/db/environment.h"
#include "common/db/lmdb_status.h"
#include "common/db/meta_pages.h"
#include "common/db/page_numbers.h"
#include "common/db/store_child.h"
#include "common/db/table.h"

/* Processor time, not time on the clock: a slow disk is no damage, a tree with a circle is. */
enum { PROBE_CPU_SECONDS_MAX = 60 };

/* LMDB keeps its list of free pages in the first tree: transaction id -> count, then page numbers.
 * Counts the pages of [first, end) that are listed. */
static enum status count_free(struct db_txn *txn, uint64_t first, uint64_t end, uint64_t *count)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn->txn, 0, &cursor);
    ensure(rc == 0);
    MDB_val key, row;
    *count = 0;
    for (rc = mdb_cursor_get(cursor, &key, &row, MDB_FIRST); rc == 0;
         rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT)) {
        const size_t *list = row.mv_data;
        for (size_t i = 1; i < row.mv_size / sizeof *list && i <= list[0]; i++)
            *count += list[i] >= first && list[i] < end;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? STATUS_OK : status_from_lmdb(rc);
}

/* Pages at the end that LMDB counts but never wrote must be free ones. */
static enum status check_length(struct db *db, struct db_txn *txn, const struct meta_pages *pages)
{
    uint64_t pages_there = pages->file_bytes / pages->page_bytes;
    if (pages_there >= pages->pages_used)
        return STATUS_OK;
    uint64_t free_count;
    TRY(count_free(txn, pages_there, pages->pages_used, &free_count));
    if (free_count == pages->pages_used - pages_there)
        return STATUS_OK;
    return log_failure(STATUS_DATA_LOSS, "check length of store", "dir", db->dir, "reason",
                       "the file is cut off", "pages", NUMBER(pages_there), "expected",
                       NUMBER(pages->pages_used));
}

/* LMDB gives a transaction up when it meets a page that cannot be: such a table can be walked by
 * nobody, and not be emptied either. */
static bool can_go_on(const struct db *db, const struct db_txn *txn, unsigned table)
{
    MDB_stat found;
    return mdb_stat(txn->txn, db->tables[table], &found) == 0;
}

enum status db_probe_here(const struct db_schema *schema, const char *dir,
                          enum status (*check_rows)(struct db *db))
{
    struct meta_pages pages;
    TRY(environment_read_meta(schema, dir, &pages));
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    TRY(environment_open(&db, schema, dir, MDB_RDONLY | MDB_NOLOCK));
    {
        AUTO(db_end) struct db_txn txn = { 0 };
        TRY(db_begin_read(&db, &txn));
        TRY(check_length(&db, &txn, &pages));
        TRY(page_numbers_check(&txn, PAGES_OF_MAIN));
        db_end(&txn);
        TRY(environment_open_for_reading(&db));
        TRY(db_begin_read(&db, &txn));
        for (unsigned i = 0; i < schema->table_count; i++) {
            if ((schema->tables[i].flags & (TABLE_DIGEST | TABLE_LARGE)) != TABLE_DIGEST)
                continue;
            enum status status = table_verify(&txn, i);
            bool is_derived = (schema->tables[i].flags & TABLE_DERIVED) != 0;
            if (status != STATUS_OK && (!is_derived || !can_go_on(&db, &txn, i)))
                return is_derived ? STATUS_DATA_LOSS : status;
        }
    }
    return check_rows == NULL ? STATUS_OK : check_rows(&db);
}

int db_probe_main(const struct db_schema *schema, const char *dir,
                  enum status (*check_rows)(struct db *db))
{
    log_setup("store-probe", LOG_LEVEL_INFO);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    store_child_limit(PROBE_CPU_SECONDS_MAX);
    return status_exit_code(db_probe_here(schema, dir, check_rows));
}

static enum status judge_exit(const char *dir, int code)
{
    static const enum status said[] = { STATUS_OK, STATUS_IO, STATUS_RESOURCE_EXHAUSTED,
                                        STATUS_FAILED_PRECONDITION, STATUS_PERMISSION_DENIED };
    for (size_t i = 0; i < COUNT_OF(said); i++)
        if (code == status_exit_code(said[i]))
            return said[i]; /* the child has logged why */
    if (code == status_exit_code(STATUS_DATA_LOSS))
        return STATUS_DATA_LOSS;
    return log_failure(STATUS_DATA_LOSS, "probe store", "dir", dir, "exit_code", NUMBER(code),
                       "reason",
                       "the probe broke down (a program that opens stores must call "
                       "schema_probe_if_asked first)");
}

static enum status judge_signal(const char *dir, int signal_number)
{
    switch (signal_number) {
    case SIGKILL:
    case SIGTERM:
    case SIGINT:
    case SIGHUP:
    case SIGQUIT: /* somebody ended it: that says nothing about the store */
        return log_failure(STATUS_UNAVAILABLE, "probe store", "dir", dir, "reason",
                           "the probe was killed", "signal", strsignal(signal_number));
    default:
        return log_failure(STATUS_DATA_LOSS, "probe store", "dir", dir, "reason",
                           "reading it ended the probe", "signal", strsignal(signal_number));
    }
}

enum status db_probe_judge(const char *dir, int result)
{
    return WIFEXITED(result) ? judge_exit(dir, WEXITSTATUS(result))
                             : judge_signal(dir, WTERMSIG(result));
}

enum status db_probe(const struct db_schema *schema, const char *dir)
{
    const char *const arguments[] = { "store-probe", "--probe-store", schema->name, dir, NULL };
    pid_t pid;
    int result;
    TRY(store_child_start(arguments, dir, &pid));
    TRY(store_child_wait(pid, dir, &result));
    return db_probe_judge(dir, result);
}
