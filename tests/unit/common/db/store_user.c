/* Another process that uses a store, because LMDB allows one environment per process and file.
 *
 *     store_user read DIR KEY            prints the value as a reader finds it, or the status
 *     store_user write DIR KEY VALUE     as the writer, uncleanly closed
 *     store_user hold DIR                as a reader: opens a snapshot, prints "ready", waits for
 * input
 *     store_user abort DIR               as a writer that aborts
 *     store_user aborted DIR             as a writer whom another process has abort
 *     store_user spin                    as one that reads without end, limited to a second */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/db/store_child.h"
#include "common/db/table.h"
#include "tests/unit/common/db/store_schema.h"

static enum status read_row(const char *dir, const char *key)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    AUTO(db_end) struct db_txn txn = { 0 };
    struct span value;
    TRY(db_open_reader(&db, &test_schema, dir));
    TRY(db_begin_read(&db, &txn));
    TRY(table_get(&txn, TEST_PLAIN, span_of_text(key), &value));
    printf("%.*s\n", (int)value.size, (const char *)value.data);
    return STATUS_OK;
}

static enum status write_row(const char *dir, const char *key, const char *value)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_open_writer(&db, &test_schema, dir));
    TRY(db_begin_write(&db, &txn));
    TRY(table_put(&txn, TEST_PLAIN, span_of_text(key), span_of_text(value)));
    return db_commit(&txn);
}

static enum status hold(const char *dir)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_open_reader(&db, &test_schema, dir));
    TRY(db_begin_read(&db, &txn));
    puts("ready");
    fflush(stdout);
    getchar();
    return STATUS_OK;
}

static enum status end_as_writer(const char *dir, bool is_by_other)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    TRY(db_open_writer(&db, &test_schema, dir));
    if (!is_by_other)
        abort();
    if (fork() == 0) {
        kill(getppid(), SIGABRT);
        _exit(0);
    }
    for (;;)
        pause();
}

static void spin(void)
{
    store_child_limit(1);
    for (volatile int i = 0;; i++)
        ;
}

int main(int argc, char **argv)
{
    enum status status = STATUS_USAGE;
    log_setup("store_user", LOG_LEVEL_ERROR + 1);
    if (argc == 4 && strcmp(argv[1], "read") == 0)
        status = read_row(argv[2], argv[3]);
    else if (argc == 5 && strcmp(argv[1], "write") == 0)
        status = write_row(argv[2], argv[3], argv[4]);
    else if (argc == 3 && strcmp(argv[1], "hold") == 0)
        status = hold(argv[2]);
    else if (argc == 3 && strncmp(argv[1], "abort", 5) == 0)
        status = end_as_writer(argv[2], strcmp(argv[1], "aborted") == 0);
    else if (argc == 2 && strcmp(argv[1], "spin") == 0)
        spin();
    if (status != STATUS_OK)
        puts(status_name(status));
    return status_exit_code(status);
}
