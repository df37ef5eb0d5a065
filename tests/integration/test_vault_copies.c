/* Another file in the place of vaultd's store: of another time, of another vault, or none. Nothing
 * of it is served that the log does not bear out. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/db/db.h"
#include "tests/support/expect.h"
#include "tests/support/files.h"
#include "tests/support/process.h"
#include "tests/support/secrets.h"
#include "tests/support/services.h"

TestSuite(vault_copies, .timeout = 300);

static const char canary[] = "zebra-7319-canary-value";

static void forget_incarnation(const char *store)
{
    struct db db = { .lease = FILE_LOCK_NONE };
    struct db_txn txn;
    MDB_val name = { sizeof "vault.incarnation" - 1, "vault.incarnation" };
    cr_assert_eq(db_open_writer(&db, &vault_schema, store), STATUS_OK);
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    cr_assert_eq(mdb_del(txn.txn, db.meta, &name, NULL), 0);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
    db_close(&db);
}

/* A store is copied, changed, and the copy put back: by hand it is yesterday's, and nothing of it
 * is served; what was there before, put back again, is. By the tool it is a backup. */
Test(vault_copies, a_file_of_yesterday_is_noticed_and_a_backup_is_taken)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char store[400], yesterday[400], today[400], backup[400];
    testbed_open(&bed, 0);
    snprintf(store, sizeof store, "%s/vault", bed.data);
    snprintf(yesterday, sizeof yesterday, "%s/yesterday", bed.dir);
    snprintf(today, sizeof today, "%s/today", bed.dir);
    snprintf(backup, sizeof backup, "%s/backup", bed.dir);
    testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "a", "first"), STATUS_OK);
    testbed_soloctl(&bed, &result, "backup", backup, NULL);
    expect_exit(&result, 0);
    cr_assert_eq(testbed_stop(&bed), 0);
    files_copy(&bed, store, yesterday);
    testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "a", "second"), STATUS_OK);
    vault_await_told(&bed);
    cr_assert_eq(testbed_stop(&bed), 0);
    files_copy(&bed, store, today);
    files_copy(&bed, yesterday, store);
    for (int i = 0; i < 2; i++) { /* also when it is asked again */
        testbed_start(&bed);
        expect_vault_damaged(&bed, "older than the log");
        cr_assert_eq(testbed_stop(&bed), 0);
    }
    files_copy(&bed, today, store);
    testbed_start(&bed);
    expect_secret(&bed, "acme", "a", "second");
    cr_assert_eq(testbed_stop(&bed), 0);

    /* the vault alone, from the backup: on purpose */
    for (int i = 0; i < 3; i++) {
        if (i < 2) {
            files_change(&bed, "/bin/rm", "-r", store, NULL);
            testbed_soloctl(&bed, &result, "restore", backup, "--only", "vault", "--data", bed.data,
                            NULL);
            expect_exit(&result, 0);
        }
        if (i == 0)
            forget_incarnation(store); /* as of a vault of before it was kept */
        testbed_start(&bed);
        expect_secret(&bed, "acme", "a", "first");
        process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL);
        expect_secret(&bed, "acme", "a", "first");
        cr_assert_eq(secret_put(&bed, "acme", "b", "later"), STATUS_OK);
        testbed_kill_everything(&bed);
    }

    /* the backup itself, put back by hand, which the log knows from before the restore */
    files_change(&bed, "/bin/rm", "-r", store, NULL);
    files_copy(&bed, yesterday, store);
    testbed_start(&bed);
    expect_vault_damaged(&bed, "older than the log");
}

/* Its secrets are not this one's. That it knows of another log makes ours FORKED: either may be the
 * wrong one. */
Test(vault_copies, the_vault_of_another_solo_is_refused_until_ours_is_back)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    struct testbed other = { 0 };
    char theirs[400], store[400], aside[400];
    testbed_open(&other, 0);
    testbed_start(&other);
    cr_assert_eq(secret_put(&other, "acme", "a", "theirs"), STATUS_OK);
    vault_await_told(&other);
    cr_assert_eq(testbed_stop(&other), 0);
    testbed_open(&bed, 0);
    testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "a", "ours"), STATUS_OK);
    vault_await_told(&bed);
    cr_assert_eq(testbed_stop(&bed), 0);
    snprintf(theirs, sizeof theirs, "%s/vault", other.data);
    snprintf(store, sizeof store, "%s/vault", bed.data);
    snprintf(aside, sizeof aside, "%s/aside", bed.dir);
    files_change(&bed, "/bin/mv", store, aside, NULL);
    files_copy(&bed, theirs, store);
    testbed_close(&other);
    testbed_launch(&bed, NULL);
    cr_assert(testbed_wait_ready(&bed, 60000));
    expect_vault_damaged(&bed, "of another Solo");
    cr_assert_eq(testbed_stop(&bed), 0);

    AUTO(result_close) struct result result = { 0 };
    files_change(&bed, "/bin/rm", "-r", store, NULL);
    files_change(&bed, "/bin/mv", aside, store, NULL);
    testbed_launch(&bed, NULL);
    cr_assert(testbed_wait_ready(&bed, 60000));
    testbed_recoveryd(&bed, &result, "resolve", "--keep", "log", NULL);
    expect_exit(&result, 0);
    expect_secret(&bed, "acme", "a", "ours");
}

static void write_over(const char *from, const char *store)
{
    char to[500];
    AUTO(buffer_close) struct buffer file = { .limit = 64 << 20 };
    snprintf(to, sizeof to, "%s/data.mdb", store);
    cr_assert_eq(file_read(from, &file), STATUS_OK);
    AUTO(fd_close) int fd = open(to, O_WRONLY | O_CLOEXEC); /* not cut first: nobody gets SIGBUS */
    cr_assert_eq(fd_write_all(fd, buffer_span(&file)), STATUS_OK);
    cr_assert_eq(ftruncate(fd, (off_t)file.size), 0);
}

static void await_next_vaultd(struct testbed *bed, pid_t before)
{
    testbed_await_new_daemon(bed, "vaultd", before);
}

/* The same file, so only what is in it tells: by LMDB's lock file all is as it was. Whatever is
 * asked first, what was deleted is not answered, and no number of a version is used again. */
Test(vault_copies, a_store_that_is_written_over_in_its_place_is_not_used)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char store[400], live[500], yesterday[400], today[400], value[SECRET_TEXT_BYTES];
    testbed_open(&bed, 0);
    snprintf(store, sizeof store, "%s/vault", bed.data);
    snprintf(live, sizeof live, "%s/data.mdb", store);
    snprintf(yesterday, sizeof yesterday, "%s/yesterday.mdb", bed.dir);
    snprintf(today, sizeof today, "%s/today.mdb", bed.dir);
    testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "kept", "first"), STATUS_OK);
    cr_assert_eq(secret_put(&bed, "acme", "gone", canary), STATUS_OK);
    vault_await_told(&bed);
    files_copy(&bed, live, yesterday);
    cr_assert_eq(secret_put(&bed, "acme", "kept", "second"), STATUS_OK);
    json_decref(testbed_ask(&bed, "vaultd", "secret.delete",
                            json_pack("{s:s, s:s}", "tenant", "acme", "name", "gone")));
    vault_await_told(&bed);
    files_copy(&bed, live, today);
    enum { READ, PUT, STOP, ALL };
    for (int what = READ; what < ALL; what++) {
        pid_t before = testbed_daemon(&bed, "vaultd");
        write_over(yesterday, store);
        if (what == READ)
            cr_assert_neq(secret_read_version(&bed, "acme", "gone", 0, value), STATUS_OK);
        if (what == PUT)
            cr_assert_neq(secret_put(&bed, "acme", "kept", "another second"), STATUS_OK);
        if (what == STOP) {
            testbed_stop(&bed);
            testbed_start(&bed);
        }
        await_next_vaultd(&bed, before);
        expect_vault_damaged(&bed, "older than the log");
        expect_secret_status(&bed, "acme", "gone", STATUS_DATA_LOSS);
        cr_assert_eq(testbed_stop(&bed), 0);
        write_over(today, store);
        testbed_start(&bed);
        expect_secret(&bed, "acme", "kept", "second");
        cr_assert_eq(secret_read_version(&bed, "acme", "kept", 2, value), STATUS_OK);
        cr_assert_str_eq(value, "second");
        cr_assert_neq(secret_read_version(&bed, "acme", "gone", 0, value), STATUS_OK);
        vault_await_told(&bed);
        files_copy(&bed, live, today);
    }
    cr_assert_geq(testbed_log_count(&bed, "name=vaultd how=\"exit code 6\""), 2);
}

/* The log tells of a vault: an empty one does not take its place by itself. */
Test(vault_copies, a_store_that_is_gone_is_not_made_anew_unasked)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char store[400], aside[400];
    testbed_open(&bed, 0);
    snprintf(store, sizeof store, "%s/vault", bed.data);
    snprintf(aside, sizeof aside, "%s/aside", bed.dir);
    testbed_start(&bed);
    testbed_soloctl(&bed, &result, "vault", "unseal", "--new", NULL);
    expect_exit(&result, status_exit_code(STATUS_FAILED_PRECONDITION));
    cr_assert_eq(secret_put(&bed, "acme", "a", "first"), STATUS_OK);
    vault_await_told(&bed);
    cr_assert_eq(testbed_stop(&bed), 0);
    files_change(&bed, "/bin/mv", store, aside, NULL);
    for (int i = 0; i < 2; i++) { /* also with the empty one of the first time */
        testbed_start(&bed);
        expect_vault_damaged(&bed, "its store is gone");
        cr_assert_eq(testbed_stop(&bed), 0);
    }
    files_copy(&bed, aside, store);
    testbed_start(&bed);
    expect_secret(&bed, "acme", "a", "first");
    cr_assert_eq(testbed_stop(&bed), 0);

    files_change(&bed, "/bin/rm", "-r", store, NULL);
    testbed_start(&bed);
    testbed_soloctl(&bed, &result, "vault", "unseal", "--new", NULL);
    expect_exit(&result, 0);
    for (int i = 0; i < 2; i++) {
        expect_secret_status(&bed, "acme", "a", STATUS_NOT_FOUND);
        cr_assert_eq(secret_put(&bed, "acme", "b", "new"), STATUS_OK);
        expect_secret(&bed, "acme", "b", "new");
        json_t *health = testbed_ask(&bed, "vaultd", "daemon.health", NULL);
        expect_text(health, "state", "ready");
        json_decref(health);
        cr_assert_eq(testbed_stop(&bed), 0);
        testbed_start(&bed);
    }
}

/* Found again after another one was begun: what was given up by that is not served, unless it is
 * put back as a backup is. */
Test(vault_copies, the_store_of_an_earlier_vault_is_refused)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char store[400], earlier[400], later[400], backup[400];
    testbed_open(&bed, 0);
    snprintf(store, sizeof store, "%s/vault", bed.data);
    snprintf(earlier, sizeof earlier, "%s/earlier", bed.dir);
    snprintf(later, sizeof later, "%s/later", bed.dir);
    snprintf(backup, sizeof backup, "%s/backup", bed.dir);
    testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "a", "given up"), STATUS_OK);
    vault_await_told(&bed);
    cr_assert_eq(testbed_stop(&bed), 0);
    files_change(&bed, "/bin/mv", store, earlier, NULL);
    testbed_start(&bed);
    pid_t eventd = testbed_daemon(&bed, "eventd");
    expect_vault_state(&bed, "damaged", "store_missing");
    testbed_recoveryd(&bed, &result, "verify", "--detailed-exitcode", NULL);
    expect_exit(&result, 3);
    expect_contains(result_out(&result), "vault_damaged");
    process_signal(eventd, SIGSTOP);
    testbed_soloctl(&bed, &result, "vault", "unseal", "--new", NULL);
    expect_exit(&result, 0);
    process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL); /* before the log was told anything */
    process_signal(eventd, SIGCONT);
    cr_assert_eq(secret_put(&bed, "acme", "b", "later"), STATUS_OK);
    vault_await_told(&bed);
    expect_vault_state(&bed, "open", NULL);
    cr_assert_eq(testbed_stop(&bed), 0);
    files_change(&bed, "/bin/mv", store, later, NULL);

    files_copy(&bed, earlier, store);
    for (int i = 0; i < 2; i++) {
        testbed_start(&bed);
        expect_vault_damaged(&bed, "of an earlier vault");
        testbed_soloctl(&bed, &result, "vault", "unseal", "--new", NULL);
        expect_exit(&result, status_exit_code(STATUS_FAILED_PRECONDITION));
        if (i == 0)
            cr_assert_eq(testbed_stop(&bed), 0);
    }
    testbed_soloctl(&bed, &result, "backup", backup, NULL);
    expect_exit(&result, 0);
    cr_assert_eq(testbed_stop(&bed), 0);
    files_copy(&bed, later, store);
    testbed_start(&bed);
    expect_secret(&bed, "acme", "b", "later");
    cr_assert_eq(testbed_stop(&bed), 0);

    files_change(&bed, "/bin/rm", "-r", store, NULL);
    testbed_soloctl(&bed, &result, "restore", backup, "--only", "vault", "--data", bed.data, NULL);
    expect_exit(&result, 0);
    testbed_start(&bed);
    expect_secret(&bed, "acme", "a", "given up");
    for (int i = 0; i < 2; i++) {
        testbed_kill_everything(&bed);
        testbed_start(&bed);
        expect_secret(&bed, "acme", "a", "given up");
    }
    cr_assert_eq(testbed_stop(&bed), 0);

    /* an older copy of an earlier one is no good either when what it is older than comes back */
    files_copy(&bed, store, earlier);
    testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "b", "since"), STATUS_OK);
    vault_await_told(&bed);
    cr_assert_eq(testbed_stop(&bed), 0);
    files_change(&bed, "/bin/rm", "-r", store, NULL);
    testbed_start(&bed);
    testbed_soloctl(&bed, &result, "vault", "unseal", "--new", NULL);
    expect_exit(&result, 0);
    cr_assert_eq(secret_put(&bed, "acme", "b", "newest"), STATUS_OK);
    vault_await_told(&bed);
    cr_assert_eq(testbed_stop(&bed), 0);
    files_copy(&bed, earlier, store);
    testbed_start(&bed);
    expect_vault_state(&bed, "damaged", "store_superseded");
}

/* Both meta pages of the file say another number of their last transaction; LMDB has no seal there.
 */
static void forge_number(const char *file, uint64_t more)
{
    enum { META_PAGES = 2, NUMBER_OFFSET = 144, PAGE_BYTES = 4096 };
    AUTO(fd_close) int fd = open(file, O_RDWR | O_CLOEXEC);
    for (off_t page = 0; page < META_PAGES; page++) {
        uint64_t number;
        off_t at = page * PAGE_BYTES + NUMBER_OFFSET;
        cr_assert_eq(pread(fd, &number, sizeof number, at), sizeof number);
        number += more;
        cr_assert_eq(pwrite(fd, &number, sizeof number, at), sizeof number);
    }
}

/* Without the log only the voucher tells, and a number of a transaction is written easily. */
Test(vault_copies, a_forged_number_makes_no_older_copy_newer)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char store[400], live[500], yesterday[400], value[SECRET_TEXT_BYTES];
    testbed_open(&bed, 0);
    snprintf(store, sizeof store, "%s/vault", bed.data);
    snprintf(live, sizeof live, "%s/data.mdb", store);
    snprintf(yesterday, sizeof yesterday, "%s/yesterday.mdb", bed.dir);
    testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "gone", canary), STATUS_OK);
    vault_await_told(&bed);
    files_copy(&bed, live, yesterday);
    json_decref(testbed_ask(&bed, "vaultd", "secret.delete",
                            json_pack("{s:s, s:s}", "tenant", "acme", "name", "gone")));
    vault_await_told(&bed);
    forge_number(yesterday, 1000);
    pid_t eventd = testbed_daemon(&bed, "eventd"), vaultd = testbed_daemon(&bed, "vaultd");
    process_signal(eventd, SIGSTOP);
    process_signal(vaultd, SIGSTOP);
    write_over(yesterday, store);
    process_signal(vaultd, SIGKILL);
    cr_assert_neq(secret_read_version(&bed, "acme", "gone", 0, value), STATUS_OK);
    expect_vault_state(&bed, "sealed", "waiting_for_log");
    process_signal(eventd, SIGCONT);
    for (int left_ms = 60000; left_ms > 0; left_ms -= 20, sleep_ms(20)) {
        json_t *status = testbed_ask(&bed, "vaultd", "vault.status", NULL);
        bool is_compared = strcmp(text_in(status, "code"), "waiting_for_log") != 0;
        json_decref(status);
        if (is_compared)
            break;
    }
    expect_vault_state(&bed, "damaged", "store_older");
}

/* Then it cannot be vouched for to the next vaultd; this one works, and says so in its log. */
Test(vault_copies, a_folder_in_the_place_of_the_voucher_stops_nothing)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char voucher[400], inside[500];
    testbed_open(&bed, 0);
    snprintf(voucher, sizeof voucher, "%s/vault.voucher", bed.run);
    snprintf(inside, sizeof inside, "%s/inside", voucher);
    testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "a", "first"), STATUS_OK);
    files_change(&bed, "/bin/rm", voucher, NULL);
    files_change(&bed, "/bin/mkdir", "-p", inside, NULL);
    for (int i = 0; i < 2; i++) {
        pid_t vaultd = testbed_daemon(&bed, "vaultd");
        process_signal(vaultd, SIGKILL);
        expect_secret(&bed, "acme", "a", "first");
        cr_assert_eq(secret_put(&bed, "acme", "b", "later"), STATUS_OK);
        cr_assert_neq(testbed_daemon(&bed, "vaultd"), vaultd);
    }
    cr_assert_eq(testbed_log_count(&bed, "name=vaultd how="), 2);
}

/* The store that it left in this boot is served while eventd is away, and what happens then
 * reaches the log, once. */
Test(vault_copies, a_killed_vaultd_needs_no_eventd)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "a", "first"), STATUS_OK);
    vault_await_told(&bed);
    pid_t eventd = testbed_daemon(&bed, "eventd");
    process_signal(eventd, SIGSTOP);
    for (int i = 0; i < 3; i++) {
        process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL);
        expect_secret(&bed, "acme", "a", "first");
        cr_assert_eq(secret_put(&bed, "acme", "b", "later"), STATUS_OK);
        expect_vault_state(&bed, "open", "");
    }
    process_signal(eventd, SIGCONT);
    vault_await_told(&bed);
    expect_vault_state(&bed, "open", "");
    process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL); /* compared with the log that has it */
    expect_secret(&bed, "acme", "b", "later");
    vault_await_told(&bed);
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_start(&bed);
    expect_secret(&bed, "acme", "b", "later");
    json_t *events = events_after(&bed, 0), *event;
    size_t stored = 0, opened = 0, i;
    json_array_foreach(events, i, event)
    {
        stored += strcmp(text_in(event, "type"), "secret_stored") == 0;
        opened += strcmp(text_in(event, "type"), "vault_unsealed") == 0;
    }
    json_decref(events);
    cr_assert_eq(stored, 4);
    cr_assert_geq(opened, 5);
}

/* Until eventd says how far the log is no other store is opened, and then it opens by itself. */
Test(vault_copies, without_the_log_another_store_stays_sealed)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char store[400], before[400];
    testbed_open(&bed, 0);
    snprintf(store, sizeof store, "%s/vault", bed.data);
    snprintf(before, sizeof before, "%s/before", bed.dir);
    testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "a", "first"), STATUS_OK);
    pid_t eventd = testbed_daemon(&bed, "eventd");
    process_signal(eventd, SIGSTOP);
    pid_t vaultd = testbed_daemon(&bed, "vaultd");
    process_signal(vaultd, SIGSTOP);
    files_change(&bed, "/bin/mv", store, before, NULL);
    files_copy(&bed, before, store); /* not older, but who knows */
    process_signal(vaultd, SIGKILL);
    expect_secret_status(&bed, "acme", "a", STATUS_FAILED_PRECONDITION);
    expect_vault_state(&bed, "sealed", "eventd");
    struct problem problem = { 0 };
    enum status status = testbed_call(&bed, "vaultd", "vault.unseal", NULL, NULL, &problem);
    cr_assert_eq(status, STATUS_FAILED_PRECONDITION);
    expect_contains(problem.message, "eventd");
    process_signal(eventd, SIGCONT);
    for (int left_ms = 60000;; left_ms -= 20, sleep_ms(20)) {
        char value[SECRET_TEXT_BYTES];
        if (secret_read_version(&bed, "acme", "a", 0, value) == STATUS_OK)
            break;
        cr_assert_gt(left_ms, 0, "it does not open");
    }
    expect_secret(&bed, "acme", "a", "first");
}

static bool is_forked(const struct testbed *bed)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(bed, &result, "verify", NULL);
    return strstr(result_out(&result), "log_forked") != NULL;
}

static void launch(struct testbed *bed)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_launch(bed, NULL);
    testbed_soloctl(bed, &result, "wait", "--ready", "--timeout", "60s", NULL);
}

/* Its log has what it put first; eventd is away when it puts more. */
static void make_other_vault(struct testbed *other, const char *backup)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_start(other);
    for (int i = 0; i < 3; i++) { /* a commit keeps what was told of the one before */
        cr_assert_eq(secret_put(other, "acme", "a", "from afar"), STATUS_OK);
        vault_await_told(other);
    }
    testbed_soloctl(other, &result, "backup", backup, NULL);
    expect_exit(&result, 0);
    process_signal(testbed_daemon(other, "eventd"), SIGSTOP);
    cr_assert_eq(secret_put(other, "acme", "b", "untold"), STATUS_OK);
    testbed_kill_everything(other);
}

static void expect_it_goes_on(const struct testbed *bed)
{
    uint64_t last = log_last_id(bed);
    cr_assert_eq(secret_put(bed, "acme", "a", "from here"), STATUS_OK);
    vault_await_told(bed);
    cr_assert_gt(log_last_id(bed), last);
    cr_assert_not(is_forked(bed));
    expect_vault_state(bed, "open", NULL);
}

/* Put back by the tool it is simply taken. Put there by hand the log is FORKED as well: it may be
 * the wrong one of the two. */
Test(vault_copies, the_vault_of_another_solo_can_be_taken_over)
{
    AUTO(testbed_close) struct testbed other = { 0 }, restored = { 0 }, bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char backup[400], key[400], vault[400], place[400];
    testbed_open(&other, 0);
    snprintf(backup, sizeof backup, "%s/backup", other.data);
    snprintf(key, sizeof key, "%s/vault.key", other.data);
    snprintf(vault, sizeof vault, "%s/vault", other.data);
    make_other_vault(&other, backup);

    testbed_open(&restored, 0);
    testbed_soloctl(&restored, &result, "restore", backup, "--only", "vault", "--data",
                    restored.data, NULL);
    expect_exit(&result, 0);
    snprintf(place, sizeof place, "%s/vault.key", restored.data);
    files_copy(&restored, key, place);
    for (int i = 0; i < 2; i++) {
        testbed_start(&restored);
        expect_secret(&restored, "acme", "a", i == 0 ? "from afar" : "from here");
        expect_it_goes_on(&restored);
        cr_assert_eq(testbed_stop(&restored), 0);
    }

    testbed_open(&bed, 0);
    files_change(&bed, "/bin/mkdir", bed.data, NULL);
    snprintf(place, sizeof place, "%s/vault.key", bed.data);
    files_copy(&bed, key, place);
    snprintf(place, sizeof place, "%s/vault", bed.data);
    files_copy(&bed, vault, place);
    launch(&bed);
    for (int left_ms = 60000; !is_forked(&bed); left_ms -= 100, sleep_ms(100))
        cr_assert_gt(left_ms, 0, "the log is told");
    expect_secret(&bed, "acme", "b", "untold");
    testbed_recoveryd(&bed, &result, "resolve", "--keep", "log", NULL);
    expect_exit(&result, 0);
    expect_it_goes_on(&bed);
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_start(&bed);
    expect_it_goes_on(&bed);
}
