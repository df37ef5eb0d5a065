#include "common/db/db.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/table.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"
#include "tests/unit/common/db/store_schema.h"

extern char **environ;

static struct db db;
static char dir[4096], data[4096];

static void setup(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    scratch_make();
    snprintf(dir, sizeof dir, "%s", scratch_path("store"));
    snprintf(data, sizeof data, "%s", scratch_path("store/data.mdb"));
}

static void teardown(void)
{
    db_close(&db);
    scratch_remove();
}

TestSuite(db, .init = setup, .fini = teardown);

static enum status open_writer(void)
{
    return db_open_writer(&db, &test_schema, dir);
}

static void put(unsigned table, const char *key, const char *value)
{
    struct db_txn txn;
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    cr_assert_eq(table_put(&txn, table, span_of_text(key), span_of_text(value)), STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
}

static enum status get(const char *key)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct span value;
    TRY(db_begin_read(&db, &txn));
    return table_get(&txn, TEST_PLAIN, span_of_text(key), &value);
}

/* Of the store that make_store made: behind it lie only zeros. */
static uint64_t used_bytes;

static void make_store(void)
{
    uint64_t map_bytes;
    cr_assert_eq(open_writer(), STATUS_OK);
    put(TEST_PLAIN, "key", "value");
    put(TEST_COUNTED, "key", "value");
    put(TEST_DERIVED, "key", "value");
    cr_assert_eq(db_usage(&db, &used_bytes, &map_bytes), STATUS_OK);
    db_close(&db);
}

/* Runs store_user and returns the first line it prints. */
static const char *other_process(const char *arguments)
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

static const char *other_reads(const char *key)
{
    char arguments[4200];
    snprintf(arguments, sizeof arguments, "read %s %s", dir, key);
    return other_process(arguments);
}

static struct buffer read_file(const char *path)
{
    struct buffer content = { .limit = 64 << 20 };
    cr_assert_eq(file_read(path, &content), STATUS_OK);
    return content;
}

static void overwrite(const char *path, size_t offset, const void *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, bytes, size, (off_t)offset), (ssize_t)size);
    close(fd);
}

static bool exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

static mode_t mode_of(const char *path)
{
    struct stat status;
    cr_assert_eq(lstat(path, &status), 0);
    return status.st_mode & 07777;
}

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
    cr_expect_not(db.was_clean, "a new store");
    cr_assert_eq(db_close_cleanly(&db), STATUS_OK);
    cr_assert_eq(open_writer(), STATUS_OK);
    cr_expect(db.was_clean);
    db_close(&db);
    cr_assert_eq(open_writer(), STATUS_OK);
    cr_expect_not(db.was_clean, "opening cleared it");
}

Test(db, another_format_is_refused)
{
    make_store();
    struct db_schema newer = test_schema;
    newer.format = 2;
    cr_expect_eq(db_open_writer(&db, &newer, dir), STATUS_FAILED_PRECONDITION);
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

/* --- readers --- */

Test(db, a_reader_sees_what_was_committed_and_nothing_else)
{
    struct db_txn txn;
    cr_assert_eq(open_writer(), STATUS_OK);
    cr_expect_str_eq(other_reads("key"), "not_found");
    put(TEST_PLAIN, "key", "committed");
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    cr_assert_eq(table_put(&txn, TEST_PLAIN, span_of_text("key"), span_of_text("not yet")),
                 STATUS_OK);
    cr_expect_str_eq(other_reads("key"), "committed");
    cr_assert_eq(db_commit(&txn), STATUS_OK);
    cr_expect_str_eq(other_reads("key"), "not yet");
}

Test(db, a_reader_without_a_store_finds_none)
{
    cr_expect_eq(db_open_reader(&db, &test_schema, dir), STATUS_NOT_FOUND);
    cr_expect_not(exists(dir));
}

Test(db, slots_of_dead_readers_are_freed)
{
    cr_assert_eq(open_writer(), STATUS_OK);
    int out[2];
    cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    char *argv[] = { (char *)(uintptr_t)STORE_USER, (char *)(uintptr_t) "hold", dir, NULL };
    pid_t pid;
    cr_assert_eq(posix_spawn(&pid, STORE_USER, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    char byte;
    cr_assert_eq(read(out[0], &byte, 1), 1);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);

    int dead = 0;
    MDB_envinfo before, after;
    mdb_env_info(db.env, &before);
    cr_expect_geq(before.me_numreaders, 1);
    cr_assert_eq(db_check_readers(&db), STATUS_OK);
    mdb_env_info(db.env, &after);
    cr_assert_eq(mdb_reader_check(db.env, &dead), 0);
    cr_expect_eq(dead, 0, "none is left");
    close(out[0]);
    close(out[1]);
}

Test(db, another_file_at_the_same_path_is_noticed)
{
    char aside[4200], copy[8192];
    cr_assert_eq(open_writer(), STATUS_OK);
    cr_expect_eq(db_check_same_file(&db), STATUS_OK);
    snprintf(aside, sizeof aside, "%s.aside", data);
    cr_assert_eq(rename(data, aside), 0);
    cr_expect_eq(db_check_same_file(&db), STATUS_ABORTED, "it is gone");
    struct buffer content = read_file(aside);
    cr_assert_eq(file_write(data, buffer_span(&content), 0600), STATUS_OK);
    buffer_close(&content);
    snprintf(copy, sizeof copy, "%s", data);
    cr_expect_eq(db_check_same_file(&db), STATUS_ABORTED, "it is a copy");
    unlink(data);
    cr_assert_eq(rename(aside, data), 0);
    cr_expect_eq(db_check_same_file(&db), STATUS_OK);
}

/* --- without a trace --- */

/* Everything in the scratch folder: names, sizes, times and bytes. */
static struct hash fingerprint(void)
{
    char command[4300], text[8192];
    snprintf(command, sizeof command,
             "cd %s/.. && find . -printf '%%p %%s %%m %%T@ %%C@\\n' | sort && find . -type f -exec "
             "sha256sum {} + | sort",
             dir);
    FILE *pipe = popen(command, "r");
    size_t size = fread(text, 1, sizeof text, pipe);
    pclose(pipe);
    cr_assert_gt(size, 100);
    return hash_of(span_of(text, size));
}

Test(db, opening_without_a_trace_changes_nothing)
{
    make_store();
    unlink(scratch_path("store/lock.mdb"));
    struct hash before = fingerprint();
    bool is_stable;
    cr_assert_eq(db_open_without_trace(&db, &test_schema, dir), STATUS_OK);
    cr_expect_eq(get("key"), STATUS_OK);
    cr_assert_eq(db_is_stable(&db, &is_stable), STATUS_OK);
    cr_expect(is_stable);
    db_close(&db);
    struct hash after = fingerprint();
    cr_expect(hash_equal(&before, &after));
}

Test(db, opening_without_a_trace_yields_to_a_writer)
{
    struct file_lock lease = FILE_LOCK_NONE;
    char path[4200];
    make_store();
    snprintf(path, sizeof path, "%s.lock", dir);
    cr_assert_eq(file_lock_take(&lease, path, 0), STATUS_OK);
    cr_expect_eq(db_open_without_trace(&db, &test_schema, dir), STATUS_FAILED_PRECONDITION);
    file_lock_release(&lease);
    cr_expect_eq(db_open_without_trace(&db, &test_schema, dir), STATUS_OK);
}

Test(db, opening_without_a_trace_notices_a_commit)
{
    char arguments[4300];
    bool is_stable;
    make_store();
    cr_assert_eq(db_open_without_trace(&db, &test_schema, dir), STATUS_OK);
    snprintf(arguments, sizeof arguments, "write %s key changed", dir);
    cr_expect_str_eq(other_process(arguments), "");
    cr_assert_eq(db_is_stable(&db, &is_stable), STATUS_OK);
    cr_expect_not(is_stable);
}

/* --- damage --- */

/* Damaged, and left exactly as it was found. */
static void expect_damage(const char *what)
{
    struct buffer before = read_file(data);
    cr_expect_eq(open_writer(), STATUS_DATA_LOSS, "%s", what);
    db_close(&db);
    struct buffer after = read_file(data);
    cr_expect(span_equal(buffer_span(&before), buffer_span(&after)), "%s: touched", what);
    buffer_close(&before);
    buffer_close(&after);
}

Test(db, damage_to_the_file_is_found_by_the_probe)
{
    static const uint8_t zeros[4096];
    make_store();
    struct buffer whole = read_file(data);
    const struct {
        const char *what;
        size_t offset, size;
    } cases[] = {
        { "no magic", 16, 4 },
        { "page size 0", 40, 4 },
        { "second meta page", 4096, 4096 },
        { "both meta pages", 0, 4096 },
        { "flags of a meta page", 10, 2 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        overwrite(data, cases[i].offset, zeros, cases[i].size);
        expect_damage(cases[i].what);
        overwrite(data, 0, whole.data, whole.size);
    }
    for (size_t page = 2; page < used_bytes / 4096; page++) {
        /* A page that nothing refers to may be zeroed without harm; nothing may crash us. */
        overwrite(data, page * 4096, zeros, 4096);
        enum status status = open_writer();
        cr_expect(status == STATUS_DATA_LOSS || status == STATUS_OK, "page %zu: %s", page,
                  status_name(status));
        db_close(&db);
        overwrite(data, 0, whole.data, whole.size);
    }
    for (size_t size = 1; size < used_bytes; size += 4096) {
        cr_assert_eq(truncate(data, (off_t)size), 0);
        expect_damage("cut off");
        overwrite(data, 0, whole.data, whole.size);
    }
    cr_assert_eq(truncate(data, (off_t)used_bytes), 0);
    cr_expect_eq(open_writer(), STATUS_OK, "the zeros behind it are no loss");
    db_close(&db);
    buffer_close(&whole);
}

/* A disk that refused a meta page: LMDB has left new roots beside the old number of pages. */
Test(db, a_root_out_of_bounds_is_damage_in_the_newer_meta_page_only)
{
    enum { PAGE = 4096, ROOT_OF_MAIN = 128, TXNID = 144 };
    static const uint64_t beyond = 1000000;
    uint64_t txnids[2];
    make_store();
    struct buffer whole = read_file(data);
    memcpy(&txnids[0], whole.data + TXNID, 8);
    memcpy(&txnids[1], whole.data + PAGE + TXNID, 8);
    size_t older = txnids[0] < txnids[1] ? 0 : PAGE;
    overwrite(data, PAGE - older + ROOT_OF_MAIN, &beyond, 8);
    expect_damage("the newer page");
    overwrite(data, 0, whole.data, whole.size);
    overwrite(data, older + ROOT_OF_MAIN, &beyond, 8);
    cr_expect_eq(open_writer(), STATUS_OK);
    db_close(&db);
    buffer_close(&whole);
}

/* LMDB would make its map as large as the meta page says. */
Test(db, more_pages_than_the_map_can_have_are_damage_to_readers_too)
{
    enum { PAGE = 4096, LAST_PAGE = 136 };
    static const uint64_t beyond = (uint64_t)1 << 50;
    make_store();
    overwrite(data, LAST_PAGE, &beyond, 8);
    overwrite(data, PAGE + LAST_PAGE, &beyond, 8);
    expect_damage("more pages than the map");
    cr_expect_eq(db_open_reader(&db, &test_schema, dir), STATUS_DATA_LOSS);
    cr_expect_eq(db_open_without_trace(&db, &test_schema, dir), STATUS_DATA_LOSS);
}

Test(db, random_damage_never_ends_the_opener)
{
    const char *given = getenv("SOLO_TEST_SEED");
    unsigned seed = given != NULL ? (unsigned)atoi(given) : (unsigned)clock_wall_ns();
    fprintf(stderr, "seed %u\n", seed);
    make_store();
    struct buffer whole = read_file(data);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 1 << (round % 10); i++) {
            uint8_t byte = (uint8_t)rand_r(&seed);
            overwrite(data, (size_t)rand_r(&seed) % used_bytes, &byte, 1);
        }
        enum status status = db_probe(&test_schema, dir);
        cr_expect(status == STATUS_DATA_LOSS || status == STATUS_OK ||
                      status == STATUS_FAILED_PRECONDITION,
                  "%s", status_name(status));
        overwrite(data, 0, whole.data, whole.size);
    }
    buffer_close(&whole);
}

Test(db, a_probe_that_dies_is_damage)
{
    cr_assert_eq(open_writer(), STATUS_OK);
    put(TEST_PLAIN, "crash", "");
    db_close(&db);
    expect_damage("abort in the probe");
}

static void delete_raw(unsigned table)
{
    MDB_txn *txn;
    cr_assert_eq(mdb_txn_begin(db.env, NULL, 0, &txn), 0);
    MDB_val key = { 3, (void *)(uintptr_t) "key" };
    cr_assert_eq(mdb_del(txn, db.tables[table], &key, NULL), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    db_close(&db);
}

Test(db, a_missing_row_is_found_before_the_store_is_used)
{
    make_store();
    cr_assert_eq(open_writer(), STATUS_OK);
    delete_raw(TEST_COUNTED);
    expect_damage("a row is missing");
}

Test(db, a_wrong_derived_table_is_left_to_its_owner)
{
    make_store();
    cr_assert_eq(open_writer(), STATUS_OK);
    delete_raw(TEST_DERIVED);
    cr_assert_eq(open_writer(), STATUS_OK);
    struct db_txn txn;
    cr_assert_eq(db_begin_read(&db, &txn), STATUS_OK);
    cr_expect_eq(table_verify(&txn, TEST_DERIVED), STATUS_DATA_LOSS);
    db_end(&txn);
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
