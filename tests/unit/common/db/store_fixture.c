#include "tests/unit/common/db/store_fixture.h"

#include <fcntl.h>
#include <stdio.h>

#include "common/base/log.h"

struct db db;
char dir[4096], data[4096];

void store_setup(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    scratch_make();
    snprintf(dir, sizeof dir, "%s", scratch_path("store"));
    snprintf(data, sizeof data, "%s", scratch_path("store/data.mdb"));
}

void store_teardown(void)
{
    db_close(&db);
    scratch_remove();
}

enum status open_writer(void)
{
    return db_open_writer(&db, &test_schema, dir);
}

void put(unsigned table, const char *key, const char *value)
{
    struct db_txn txn;
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    cr_assert_eq(table_put(&txn, table, span_of_text(key), span_of_text(value)), STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
}

enum status get(const char *key)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct span value;
    TRY(db_begin_read(&db, &txn));
    return table_get(&txn, TEST_PLAIN, span_of_text(key), &value);
}

uint64_t used_bytes;

void make_store(void)
{
    uint64_t map_bytes;
    cr_assert_eq(open_writer(), STATUS_OK);
    put(TEST_PLAIN, "key", "value");
    put(TEST_COUNTED, "key", "value");
    put(TEST_DERIVED, "key", "value");
    cr_assert_eq(db_usage(&db, &used_bytes, &map_bytes), STATUS_OK);
    db_close(&db);
}

const char *other_process(const char *arguments)
{
    static char line[256];
    char command[8192];
    snprintf(command, sizeof command, STORE_USER " %s", arguments);
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(pipe);
    if (fgets(line, sizeof line, pipe) == NULL)
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    pclose(pipe);
    return line;
}

const char *other_reads(const char *key)
{
    char arguments[4200];
    snprintf(arguments, sizeof arguments, "read %s %s", dir, key);
    return other_process(arguments);
}

struct buffer read_file(const char *path)
{
    struct buffer content = { .limit = 64 << 20 };
    cr_assert_eq(file_read(path, &content), STATUS_OK);
    return content;
}

void overwrite(const char *path, size_t offset, const void *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, bytes, size, (off_t)offset), (ssize_t)size);
    close(fd);
}

bool exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

mode_t mode_of(const char *path)
{
    struct stat status;
    cr_assert_eq(lstat(path, &status), 0);
    return status.st_mode & 07777;
}
