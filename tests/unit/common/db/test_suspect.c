#include "common/db/suspect.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/suspect.h"
#include "common/db/table.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"
#include "tests/unit/common/db/store_schema.h"

extern char **environ;

static char dir[4096];

static void setup(void)
{
    log_setup("test_suspect", LOG_LEVEL_ERROR + 1);
    scratch_make();
    snprintf(dir, sizeof dir, "%s", scratch_path("store"));
}

TestSuite(suspect, .init = setup, .fini = scratch_remove, .timeout = 120);

static bool is_marked(void)
{
    return access(scratch_path("store.suspect"), F_OK) == 0;
}

static void put(const char *key, const char *value)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    AUTO(db_end) struct db_txn txn = { 0 };
    cr_assert_eq(db_open_writer(&db, &test_schema, dir), STATUS_OK);
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    cr_assert_eq(table_put(&txn, TEST_PLAIN, span_of_text(key), span_of_text(value)), STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
}

static enum status open_suspect(void)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    AUTO(fd_close)
    int fd = open(scratch_path("store.suspect"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    return db_open_writer(&db, &test_schema, dir);
}

/* Another process is the writer; how it ends. */
static int end_of_user(char *how)
{
    char *const argv[] = { STORE_USER, how, dir, NULL };
    pid_t pid;
    int result = 0;
    cr_assert_eq(posix_spawn(&pid, STORE_USER, NULL, NULL, argv, environ), 0);
    cr_assert_eq(waitpid(pid, &result, 0), pid);
    return WIFSIGNALED(result) ? WTERMSIG(result) : 0;
}

Test(suspect, who_dies_by_itself_leaves_a_mark)
{
    cr_assert_eq(end_of_user("abort"), SIGABRT);
    cr_assert(is_marked());
}

Test(suspect, who_is_sent_a_signal_leaves_none)
{
    cr_assert_eq(end_of_user("aborted"), SIGABRT);
    cr_assert_not(is_marked());
}

Test(suspect, what_ends_the_walk_is_damage_and_stays_suspect)
{
    put("crash-walk", "what it says");
    cr_assert_eq(open_suspect(), STATUS_DATA_LOSS);
    cr_assert(is_marked());
}

Test(suspect, a_walk_that_is_cut_off_is_not_begun_again)
{
    put("end-walk", "what it says");
    cr_assert_eq(open_suspect(), STATUS_OK);
    cr_assert_not(is_marked());
}

static void damage_a_row(void)
{
    AUTO(buffer_close) struct buffer file = { .limit = 64 << 20 };
    const char *path = scratch_path("store/data.mdb");
    cr_assert_eq(file_read(path, &file), STATUS_OK);
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    const uint8_t *at = file.data;
    int found = 0;
    for (; (at = memmem(at, file.size - (size_t)(at - file.data), "what it", 7)) != NULL; at++)
        found += pwrite(fd, "What it", 7, at - file.data) == 7;
    cr_assert_gt(found, 0);
}

Test(suspect, a_store_that_is_damaged_in_places_is_opened)
{
    put("row", "what it says");
    damage_a_row();
    cr_assert_eq(open_suspect(), STATUS_OK);
    cr_assert_not(is_marked());
}

Test(suspect, a_damaged_row_hides_nothing_worse)
{
    put("a row", "what it says");
    put("crash-walk", "");
    damage_a_row();
    cr_assert_eq(open_suspect(), STATUS_DATA_LOSS);
}

/* Rows are read from it all the same. */
Test(suspect, a_page_with_the_number_of_another_keeps_it_shut)
{
    enum { PAGE = 4096 };
    static const uint64_t another = 1;
    AUTO(buffer_close) struct buffer file = { .limit = 64 << 20 };
    const char *path = scratch_path("store/data.mdb");
    put("row", "what it says");
    cr_assert_eq(file_read(path, &file), STATUS_OK);
    const uint8_t *row = memmem(file.data, file.size, "what it says", 12);
    cr_assert_not_null(row);
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    for (; row != NULL;
         row = memmem(row + 1, file.size - (size_t)(row + 1 - file.data), "what it says", 12)) {
        off_t page = (row - file.data) / PAGE * PAGE;
        cr_assert_eq(pwrite(fd, &another, sizeof another, page), sizeof another);
    }
    cr_assert_eq(open_suspect(), STATUS_DATA_LOSS);
    cr_assert(is_marked());
}

/* Whatever it is that ends them, the walk has not found it. */
Test(suspect, who_dies_soon_after_a_walk_leaves_it_shut)
{
    put("row", "what it says");
    cr_assert_eq(open_suspect(), STATUS_OK);
    cr_assert_eq(end_of_user("abort"), SIGABRT);
    for (int i = 0; i < 2; i++) {
        AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
        cr_assert_eq(db_open_writer(&db, &test_schema, dir), STATUS_DATA_LOSS);
        cr_assert(is_marked());
    }
    cr_assert_eq(unlink(scratch_path("store.suspect")), 0);
    put("row", "again");
}

Test(suspect, who_dies_long_after_a_walk_does_not)
{
    put("row", "what it says");
    cr_assert_eq(open_suspect(), STATUS_OK);
    struct stat walked;
    const char *path = scratch_path("store/walked");
    cr_assert_eq(stat(path, &walked), 0);
    struct timespec times[2] = { walked.st_atim, walked.st_mtim };
    times[1].tv_sec -= SUSPECT_AGAIN_SECONDS + 1;
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    cr_assert_eq(open_suspect(), STATUS_OK);
    cr_assert_eq(stat(path, &walked), 0);
    cr_assert_gt(walked.st_mtim.tv_sec, times[1].tv_sec, "this walk counts anew");
}
