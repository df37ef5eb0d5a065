/* Creating, opening and closing a store, and writing to it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "common/api/records/schemas.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "tests/unit/common/db/store_fixture.h"

TestSuite(db, .init = store_setup, .fini = store_teardown);

/* --- creating and opening --- */

Test(db, a_new_store_is_created_and_found_again)
{
    cr_assert_eq(open_writer(), STATUS_OK);
    struct store_identity identity = db.identity;
    put(TEST_PLAIN, "key", "value");
    db_close(&db);
    cr_assert_eq(open_writer(), STATUS_OK);
    cr_expect_eq(memcmp(&identity, &db.identity, sizeof identity), 0);
    cr_expect_eq(get("key"), STATUS_OK);
    cr_expect_not(exists(scratch_path("store.new")));
}

Test(db, two_stores_differ_in_identity)
{
    cr_assert_eq(open_writer(), STATUS_OK);
    struct store_identity identity = db.identity;
    db_close(&db);
    cr_assert_eq(db_open_writer(&db, &test_schema, scratch_path("other")), STATUS_OK);
    cr_expect_neq(memcmp(identity.id, db.identity.id, sizeof identity.id), 0);
}

Test(db, modes_do_not_depend_on_the_umask)
{
    umask(0777);
    enum status status = open_writer();
    umask(022);
    cr_expect_neq(status, STATUS_LOCKED);
    if (geteuid() != 0)
        return; /* with such a umask only root can go on */
    cr_assert_eq(status, STATUS_OK);
    cr_expect_eq(mode_of(dir), 02750);
    cr_expect_eq(mode_of(data), 0640);
    cr_expect_eq(mode_of(scratch_path("store/lock.mdb")), 0660);
}

Test(db, modes_are_what_readers_need)
{
    umask(077);
    cr_assert_eq(open_writer(), STATUS_OK);
    cr_expect_eq(mode_of(scratch_path("store.lock")), 0640);
    cr_expect_eq(mode_of(dir), 02750);
    cr_expect_eq(mode_of(data), 0640);
    cr_expect_eq(mode_of(scratch_path("store/lock.mdb")), 0660);
}

Test(db, every_descriptor_is_close_on_exec)
{
    cr_assert_eq(open_writer(), STATUS_OK);
    DIR *directory = opendir("/proc/self/fd");
    int seen = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char link[300], target[4096] = "";
        snprintf(link, sizeof link, "/proc/self/fd/%s", entry->d_name);
        if (readlink(link, target, sizeof target - 1) < 0 || strncmp(target, dir, strlen(dir)) != 0)
            continue;
        seen++;
        cr_expect(fcntl(atoi(entry->d_name), F_GETFD) & FD_CLOEXEC, "%s", target);
    }
    closedir(directory);
    cr_expect_geq(seen, 3, "data, its synced twin, lock and lease");
}

Test(db, what_a_cut_off_creation_left_is_replaced)
{
    char beside[4096];
    snprintf(beside, sizeof beside, "%s", scratch_path("store.new"));
    cr_assert_eq(directory_make(beside, 0700), STATUS_OK);
    cr_assert_eq(file_write(scratch_path("store.new/data.mdb"), span_of_text("half"), 0600),
                 STATUS_OK);
    cr_assert_eq(open_writer(), STATUS_OK);
    cr_expect_not(exists(beside));
}

Test(db, an_empty_directory_becomes_a_store)
{
    cr_assert_eq(directory_make(dir, 0700), STATUS_OK);
    cr_expect_eq(open_writer(), STATUS_OK);
}

Test(db, a_store_without_its_data_is_damage_and_not_a_new_store)
{
    make_store();
    unlink(data);
    cr_expect_eq(open_writer(), STATUS_DATA_LOSS);
    cr_expect_not(exists(data));
}

Test(db, a_second_writer_is_locked_out)
{
    struct file_lock lease = FILE_LOCK_NONE;
    char path[4200];
    snprintf(path, sizeof path, "%s.lock", dir);
    cr_assert_eq(file_lock_take(&lease, path, 0), STATUS_OK);
    uint64_t begin_ns = clock_boottime_ns();
    cr_expect_eq(open_writer(), STATUS_LOCKED);
    cr_expect_geq(clock_boottime_ns() - begin_ns, 4900000000u, "a dying holder is waited for");
    cr_expect_not(exists(dir), "nothing was created");
    file_lock_release(&lease);
}

Test(db, the_clean_flag_is_set_by_a_clean_close_only)
{
    cr_assert_eq(open_writer(), STATUS_OK);
    cr_expect(db.was_clean, "a new store");
    put(TEST_PLAIN, "first", "value");
    db_close(&db);
    cr_assert_eq(open_writer(), STATUS_OK);
    cr_expect_not(db.was_clean, "one that was never closed");
    cr_assert_eq(db_close_cleanly(&db), STATUS_OK);
    cr_assert_eq(open_writer(), STATUS_OK);
    cr_expect(db.was_clean);
    uint64_t found = db_last_txn(&db);
    cr_expect_eq(found, db.found_txn, "to open a clean store commits nothing");
    db_close(&db);
    cr_assert_eq(open_writer(), STATUS_OK);
    cr_expect(db.was_clean, "nothing was changed since");
    put(TEST_PLAIN, "first", "value");
    put(TEST_PLAIN, "second", "value");
    cr_expect_eq(db_last_txn(&db), found + 2);
    db_close(&db);
    cr_assert_eq(open_writer(), STATUS_OK);
    cr_expect_not(db.was_clean, "the first change cleared it");
}

Test(db, a_last_commit_that_fails_leaves_no_store_clean_that_goes_on)
{
    cr_assert_eq(open_writer(), STATUS_OK);
    cr_assert_eq(db_close_cleanly(&db), STATUS_OK);
    cr_assert_eq(open_writer(), STATUS_OK);
    {
        AUTO(db_end) struct db_txn txn = { 0 };
        cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
        cr_assert_eq(db_put_clean(&txn), STATUS_OK);
        txn.status = STATUS_RESOURCE_EXHAUSTED;
        cr_assert_eq(db_commit(&txn), STATUS_RESOURCE_EXHAUSTED);
    }
    put(TEST_PLAIN, "one", "value");
    db_close(&db);
    cr_assert_eq(open_writer(), STATUS_OK);
    cr_expect_not(db.was_clean);
}

/* What the diagnostics say of the store when it is opened. */
static void expect_said_unclean(bool is_said)
{
    static char text[64 * 1024];
    log_setup("test", LOG_LEVEL_INFO);
    int kept = dup(STDERR_FILENO);
    FILE *captured = tmpfile();
    cr_assert_not_null(captured);
    cr_assert_geq(dup2(fileno(captured), STDERR_FILENO), 0);
    enum status status = open_writer();
    dup2(kept, STDERR_FILENO);
    close(kept);
    cr_assert_eq(status, STATUS_OK);
    rewind(captured);
    text[fread(text, 1, sizeof text - 1, captured)] = '\0';
    fclose(captured);
    cr_expect_eq(strstr(text, "was not closed in order") != NULL, is_said, "%s", text);
}

Test(db, who_opens_a_store_that_was_not_closed_says_so)
{
    expect_said_unclean(false); /* a new one */
    put(TEST_PLAIN, "none", "value");
    db_close(&db);
    expect_said_unclean(true);
    put(TEST_PLAIN, "one", "value");
    cr_assert_eq(db_close_cleanly(&db), STATUS_OK);
    expect_said_unclean(false);
    put(TEST_PLAIN, "two", "value");
    db_close(&db);
    expect_said_unclean(true);
}

Test(db, another_format_is_refused)
{
    make_store();
    struct db_schema newer = test_schema;
    newer.format = 2;
    cr_expect_eq(db_open_writer(&db, &newer, dir), STATUS_FAILED_PRECONDITION);
    char said[DB_REFUSAL_BYTES];
    db_refusal(&newer, dir, said);
    cr_expect_str_eq(said, "it has format 1, this version of Solo knows format 2");
    db_refusal(&test_schema, dir, said);
    cr_expect_str_eq(said, "");
}

Test(db, another_format_is_told_before_its_tables_are_missed)
{
    make_store();
    static const struct table_schema tables[] = { { "elsewhere", TABLE_PLAIN } };
    struct db_schema newer = test_schema;
    newer.format = 2;
    newer.tables = tables;
    newer.table_count = 1;
    cr_expect_eq(db_open_without_trace(&db, &newer, dir), STATUS_FAILED_PRECONDITION);
}

Test(db, another_kind_of_store_is_refused)
{
    make_store();
    struct db_schema other = test_schema;
    other.name = "registry";
    cr_expect_neq(db_open_writer(&db, &other, dir), STATUS_OK);
    cr_expect_eq(db_open_without_trace(&db, &other, dir), STATUS_FAILED_PRECONDITION);
}

Test(db, a_retired_store_is_refused)
{
    struct db_txn txn;
    cr_assert_eq(open_writer(), STATUS_OK);
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    cr_assert_eq(db_meta_put(&txn, "db.retired", span_of_text("1")), STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
    db_close(&db);
    cr_expect_eq(open_writer(), STATUS_FAILED_PRECONDITION);
}

Test(db, meta_keeps_values)
{
    struct db_txn txn;
    struct span value;
    cr_assert_eq(open_writer(), STATUS_OK);
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    cr_expect_eq(db_meta_get(&txn, "mine", &value), STATUS_NOT_FOUND);
    cr_assert_eq(db_meta_put(&txn, "mine", span_of_text("thing")), STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
    cr_assert_eq(db_begin_read(&db, &txn), STATUS_OK);
    cr_assert_eq(db_meta_get(&txn, "mine", &value), STATUS_OK);
    cr_expect(span_equal(value, span_of_text("thing")));
    db_end(&txn);
    db_end(&txn); /* a second time is fine */
}

Test(db, usage_grows_with_rows)
{
    uint64_t before, after, map;
    cr_assert_eq(open_writer(), STATUS_OK);
    cr_assert_eq(db_usage(&db, &before, &map), STATUS_OK);
    cr_expect_eq(map, test_schema.map_bytes);
    char big[8192];
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = '\0';
    put(TEST_PLAIN, "big", big);
    cr_assert_eq(db_usage(&db, &after, &map), STATUS_OK);
    cr_expect_gt(after, before);
}

Test(db, the_stores_of_solo_open)
{
    cr_assert_eq(db_open_writer(&db, &events_schema, scratch_path("events")), STATUS_OK);
    db_close(&db);
    cr_assert_eq(db_open_writer(&db, &events_schema, scratch_path("events")), STATUS_OK);
    db_close(&db);
    cr_assert_eq(db_open_writer(&db, &registry_schema, scratch_path("registry")), STATUS_OK);
    db_close(&db);
    cr_assert_eq(db_open_writer(&db, &registry_schema, scratch_path("registry")), STATUS_OK);
}

#ifdef SOLO_FAULTS
static void count_failure(void *context)
{
    ++*(unsigned *)context;
}

Test(db, a_commit_with_an_unknown_outcome_is_told_once_and_the_last)
{
    struct db_txn txn;
    unsigned failures = 0;
    make_store();
    cr_assert_eq(open_writer(), STATUS_OK);
    db.on_failed = count_failure;
    db.on_failed_context = &failures;
    put(TEST_PLAIN, "key", "a second value");
    cr_assert_eq(failures, 0);
    char fault[4096];
    snprintf(fault, sizeof fault, "%s.%s", scratch_path("sync_fails"),
             program_invocation_short_name);
    cr_assert_eq(file_write(fault, span_of_text("x"), 0644), STATUS_OK);
    cr_assert_eq(setenv("SOLO_FAULT_SYNC", scratch_path("sync_fails"), 1), 0);
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    cr_assert_eq(table_put(&txn, TEST_PLAIN, span_of_text("key"), span_of_text("lost?")),
                 STATUS_OK);
    cr_expect_eq(db_commit(&txn), STATUS_UNKNOWN);
    cr_expect(db.is_failed);
    cr_expect_eq(failures, 1);
    /* Another sync would abort this process. */
    cr_expect_eq(db_begin_write(&db, &txn), STATUS_UNAVAILABLE);
    cr_expect_eq(db_close_cleanly(&db), STATUS_UNAVAILABLE);
    cr_expect_eq(failures, 1);
}
#endif
