#include "tests/support/criterion.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "recoveryd/event_store.h"
#include "tests/unit/recoveryd/log_maker.h"

static struct log_maker maker;

static void set_up(void)
{
    log_maker_open(&maker);
}

static void tear_down(void)
{
    log_maker_close(&maker);
}

TestSuite(recoveryd_event_store, .init = set_up, .fini = tear_down);

static enum status read_last(uint64_t *last)
{
    AUTO(event_store_close) struct event_store store = { 0 };
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(event_store_open(&store, maker.settings.data_dir));
    TRY(db_begin_read(&store.db, &txn));
    return event_log_last(&txn, last);
}

Test(recoveryd_event_store, no_store_is_not_found)
{
    struct event_store store = { 0 };
    cr_assert_eq(event_store_open(&store, maker.folder), STATUS_NOT_FOUND);
    cr_assert_eq(event_store_open(&store, "/nowhere/at/all"), STATUS_NOT_FOUND);
}

Test(recoveryd_event_store, a_store_without_a_writer_is_read_without_locks)
{
    log_append(&maker, "app.test", "acme", "", "{}");
    log_maker_finish(&maker);
    struct event_store store = { 0 };
    bool is_settled;
    cr_assert_eq(event_store_open(&store, maker.settings.data_dir), STATUS_OK);
    cr_assert(store.is_without_trace);
    cr_assert_eq(event_store_is_settled(&store, &is_settled), STATUS_OK);
    cr_assert(is_settled);
    event_store_close(&store);
    uint64_t last;
    cr_assert_eq(read_last(&last), STATUS_OK);
    cr_assert_eq(last, 1);
}

static void spoil(off_t at, size_t size)
{
    char path[4096];
    path_join(path, maker.settings.data_dir, "events/data.mdb");
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    char noise[4096];
    memset(noise, 0xa5, sizeof noise);
    for (size_t done = 0; done < size; done += sizeof noise)
        cr_assert_eq(pwrite(fd, noise, sizeof noise, at + (off_t)done), sizeof noise);
}

Test(recoveryd_event_store, a_damaged_store_is_data_loss)
{
    for (int i = 0; i < 50; i++)
        log_append(&maker, "app.test", "acme", "", "{\"number\": 1}");
    log_maker_finish(&maker);
    char path[4096];
    path_join(path, maker.settings.data_dir, "events/data.mdb");
    struct stat file;
    cr_assert_eq(stat(path, &file), 0);
    spoil(2 * 4096, (size_t)file.st_size - 2 * 4096);
    uint64_t last;
    cr_assert_eq(read_last(&last), STATUS_DATA_LOSS);
}

Test(recoveryd_event_store, a_ruined_header_is_data_loss)
{
    log_append(&maker, "app.test", "acme", "", "{}");
    log_maker_finish(&maker);
    spoil(0, 2 * 4096);
    uint64_t last;
    cr_assert_eq(read_last(&last), STATUS_DATA_LOSS);
}

/* A file whose first bytes cannot be read: nothing is mapped at address 0. */
Test(recoveryd_event_store, what_the_disk_does_not_give_is_an_io_error_and_no_damage)
{
    char path[4096];
    log_append(&maker, "app.test", "acme", "", "{}");
    log_maker_finish(&maker);
    path_join(path, maker.settings.data_dir, "events/data.mdb");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(symlink("/proc/self/mem", path), 0);
    uint64_t last;
    cr_assert_eq(read_last(&last), STATUS_IO);
}
