/* Reading a store that another process writes, and one that nobody has open. */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>

#include "common/base/file_lock.h"
#include "tests/unit/common/db/store_fixture.h"

extern char **environ;

TestSuite(db_reading, .init = store_setup, .fini = store_teardown);

/* --- readers --- */

Test(db_reading, a_reader_sees_what_was_committed_and_nothing_else)
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

Test(db_reading, a_reader_without_a_store_finds_none)
{
    cr_expect_eq(db_open_reader(&db, &test_schema, dir), STATUS_NOT_FOUND);
    cr_expect_not(exists(dir));
}

Test(db_reading, slots_of_dead_readers_are_freed)
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

Test(db_reading, another_file_at_the_same_path_is_noticed)
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

Test(db_reading, opening_without_a_trace_changes_nothing)
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

Test(db_reading, opening_without_a_trace_yields_to_a_writer)
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

Test(db_reading, opening_without_a_trace_notices_a_commit)
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
