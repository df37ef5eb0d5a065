/* What somebody does to the store of secrets behind vaultd's back: it is never answered as good,
 * and costs no more than it must. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/db/table.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"
#include "tests/support/secrets.h"
#include "tests/support/services.h"

TestSuite(vault_attacks, .timeout = 300);

static const char canary[] = "zebra-7319-canary-value";

static struct span key_of(uint8_t key[256], const char *tenant, const char *name, uint64_t version)
{
    size_t size = (size_t)snprintf((char *)key, 256, "%s", tenant) + 1;
    size += (size_t)snprintf((char *)key + size, 256 - size, "%s", name);
    if (version > 0) {
        struct table_number number = table_number(version);
        key[size++] = '\0';
        memcpy(key + size, number.bytes, 8);
        size += 8;
    }
    return span_of(key, size);
}

struct attack {
    struct db db;
    struct db_txn txn;
};

static void attack_begin(struct attack *attack, struct testbed *bed)
{
    char dir[400];
    cr_assert_eq(testbed_stop(bed), 0);
    snprintf(dir, sizeof dir, "%s/vault", bed->data);
    cr_assert_eq(db_open_writer(&attack->db, &vault_schema, dir), STATUS_OK);
    cr_assert_eq(db_begin_write(&attack->db, &attack->txn), STATUS_OK);
}

static void attack_end(struct attack *attack, struct testbed *bed)
{
    cr_assert_eq(db_commit(&attack->txn), STATUS_OK);
    db_close(&attack->db);
    testbed_start(bed);
}

/* A row as the store has it, outside of the map. */
static struct span row_copy(struct attack *attack, unsigned table, struct span key,
                            uint8_t bytes[8192])
{
    struct span row;
    cr_assert_eq(table_get(&attack->txn, table, key, &row), STATUS_OK);
    cr_assert_leq(row.size, 8192);
    memcpy(bytes, row.data, row.size);
    return span_of(bytes, row.size);
}

Test(vault_attacks, swapped_missing_and_old_rows_are_data_loss_and_harm_nobody_else)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    struct attack attack = { .db.lease = FILE_LOCK_NONE };
    uint8_t a[256], b[256], one[8192], two[8192], old[8192];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    static const char *const tenants[] = { "acme", "beta", "gamma" };
    static const char *const names[] = { "x", "y", "z" };
    for (int t = 0; t < 3; t++)
        for (int n = 0; n < 3; n++)
            cr_assert_eq(secret_put(&bed, tenants[t], names[n], "first"), STATUS_OK);
    cr_assert_eq(secret_put(&bed, "acme", "x", "again"), STATUS_OK);

    /* between tenants, and between versions */
    attack_begin(&attack, &bed);
    struct span key = key_of(a, "acme", "y", 1), other = key_of(b, "beta", "y", 1);
    struct span row = row_copy(&attack, VAULT_VERSIONS, key, one);
    struct span other_row = row_copy(&attack, VAULT_VERSIONS, other, two);
    table_put(&attack.txn, VAULT_VERSIONS, key, other_row);
    table_put(&attack.txn, VAULT_VERSIONS, other, row);
    row = row_copy(&attack, VAULT_VERSIONS, key_of(a, "acme", "x", 1), one);
    table_put(&attack.txn, VAULT_VERSIONS, key_of(a, "acme", "x", 2), row);
    /* a version's row removed */
    cr_assert_eq(table_delete(&attack.txn, VAULT_VERSIONS, key_of(a, "beta", "x", 1)), STATUS_OK);
    attack_end(&attack, &bed);
    expect_secret_status(&bed, "acme", "x", STATUS_DATA_LOSS);
    expect_secret_status(&bed, "acme", "y", STATUS_DATA_LOSS);
    expect_secret_status(&bed, "beta", "x", STATUS_DATA_LOSS);
    expect_secret_status(&bed, "beta", "y", STATUS_DATA_LOSS);
    expect_secret(&bed, "acme", "z", "first");
    expect_secret(&bed, "beta", "z", "first");
    expect_secret(&bed, "gamma", "x", "first");
    json_t *reply = testbed_ask(&bed, "vaultd", "vault.verify", NULL);
    expect_number(reply, "damaged", 4);
    expect_number(reply, "readable", 6);
    json_decref(reply);
    AUTO(result_close) struct result verified = { 0 };
    testbed_recoveryd(&bed, &verified, "verify", "--full", "--detailed-exitcode", NULL);
    expect_exit(&verified, 3);
    expect_contains(result_out(&verified), "secret_damaged");
    expect_contains(result_out(&verified), "4 inconsistencies");
    expect_contains(result_out(&verified), "open, 9 secrets, 10 versions: 6 readable, 4 damaged");
    testbed_recoveryd(&bed, &verified, "--detailed-exitcode", NULL); /* a plain recovery, too */
    expect_exit(&verified, 3);
    expect_contains(result_out(&verified), "6 readable, 4 damaged");
    expect_contains(result_out(&verified), "acme/x@2");

    /* what is damaged can be destroyed and put again */
    json_decref(testbed_ask(&bed, "vaultd", "secret.destroy",
                            json_pack("{s:s, s:s}", "tenant", "beta", "name", "x")));
    cr_assert_eq(secret_put(&bed, "beta", "x", "new"), STATUS_OK);
    expect_secret(&bed, "beta", "x", "new");

    /* a secret's row put back from before a change; then one removed */
    attack_begin(&attack, &bed);
    row = row_copy(&attack, VAULT_SECRETS, key_of(a, "gamma", "x", 0), old);
    attack_end(&attack, &bed);
    cr_assert_eq(secret_put(&bed, "gamma", "x", "newer"), STATUS_OK);
    expect_secret(&bed, "gamma", "x", "newer");
    attack_begin(&attack, &bed);
    table_put(&attack.txn, VAULT_SECRETS, key_of(a, "gamma", "x", 0), row);
    cr_assert_eq(table_delete(&attack.txn, VAULT_SECRETS, key_of(a, "acme", "z", 0)), STATUS_OK);
    attack_end(&attack, &bed);
    expect_secret_status(&bed, "gamma", "x", STATUS_DATA_LOSS);
    expect_secret_status(&bed, "gamma", "y", STATUS_DATA_LOSS);
    expect_secret_status(&bed, "acme", "z", STATUS_DATA_LOSS);
    expect_secret(&bed, "beta", "z", "first");

    /* a tenant's row removed: nothing can be told any more */
    attack_begin(&attack, &bed);
    cr_assert_eq(table_delete(&attack.txn, VAULT_TENANTS, span_of_text("acme")), STATUS_OK);
    attack_end(&attack, &bed);
    expect_vault_state(&bed, "damaged", "missing");
    expect_secret_status(&bed, "beta", "z", STATUS_DATA_LOSS);
}

static void expect_damaged_state(const struct testbed *bed, const char *reason)
{
    expect_vault_state(bed, "damaged", reason);
    json_t *health = testbed_ask(bed, "vaultd", "daemon.health", NULL);
    expect_text(health, "state", "damaged");
    json_decref(health);
}

/* Whoever asks is told of the damage, and what to do; a person and recovery, too. */
static void expect_damaged(const struct testbed *bed, const char *reason)
{
    AUTO(result_close) struct result result = { 0 };
    expect_damaged_state(bed, reason);
    expect_secret_status(bed, "acme", "a", STATUS_DATA_LOSS);
    cr_assert_eq(secret_put(bed, "acme", "a", "x"), STATUS_DATA_LOSS);
    testbed_soloctl(bed, &result, "vault", "unseal", NULL);
    expect_exit(&result, status_exit_code(STATUS_DATA_LOSS));
    expect_contains(result_err(&result), reason);
    testbed_soloctl(bed, &result, "status", NULL);
    expect_contains(result_out(&result), reason);
    testbed_recoveryd(bed, &result, "verify", "--detailed-exitcode", NULL);
    expect_exit(&result, 3);
    expect_contains(result_out(&result), reason);
}

Test(vault_attacks, the_row_of_the_master_key_is_damage_and_not_a_sealed_vault)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    struct attack attack = { .db.lease = FILE_LOCK_NONE };
    static const uint8_t nonsense[104] = { 9 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "a", canary), STATUS_OK);
    attack_begin(&attack, &bed);
    cr_assert_eq(db_meta_put(&attack.txn, "vault.master", span_of(nonsense, sizeof nonsense)),
                 STATUS_OK);
    attack_end(&attack, &bed);
    expect_damaged(&bed, "master key");
}

/* Whoever tries to open it meanwhile does not make it a sealed one. */
Test(vault_attacks, what_is_damaged_stays_so_until_it_opens)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    struct attack attack = { .db.lease = FILE_LOCK_NONE };
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_VAULT_UNSEAL", "passphrase");
    testbed_set(&bed, "SOLO_VAULT_ARGON2_MEMORY_BYTES", "8388608");
    testbed_start(&bed);
    testbed_soloctl_input(&bed, &result, "correct horse", "vault", "unseal", NULL);
    expect_exit(&result, 0);
    cr_assert_eq(secret_put(&bed, "acme", "a", canary), STATUS_OK);
    attack_begin(&attack, &bed);
    cr_assert_eq(table_delete(&attack.txn, VAULT_TENANTS, span_of_text("acme")), STATUS_OK);
    attack_end(&attack, &bed);
    expect_vault_state(&bed, "sealed", "passphrase");
    testbed_soloctl_input(&bed, &result, "correct horse", "vault", "unseal", NULL);
    expect_exit(&result, status_exit_code(STATUS_DATA_LOSS));
    expect_damaged_state(&bed, "list of its tenants");
    cr_assert_eq(testbed_call(&bed, "vaultd", "vault.unseal",
                              json_pack("{s:s}", "passphrase", "hex:00"), NULL, NULL),
                 STATUS_PERMISSION_DENIED);
    expect_damaged_state(&bed, "list of its tenants");
    expect_secret_status(&bed, "acme", "a", STATUS_DATA_LOSS);
}

/* --- a file of another time --- */

static void run(const struct testbed *bed, const char *const *argv)
{
    AUTO(result_close) struct result result = { 0 };
    command_run(&(struct command){ .argv = argv, .environment = testbed_environment(bed) },
                &result);
    expect_exit(&result, 0);
}

static void await_told(const struct testbed *bed)
{
    for (int left_ms = 30000;; left_ms -= 20, sleep_ms(20)) {
        json_t *status = testbed_ask(bed, "vaultd", "vault.status", NULL);
        bool is_told = number_in(status, "outbox") == 0;
        json_decref(status);
        if (is_told)
            return;
        cr_assert_gt(left_ms, 0, "events wait");
    }
}

static void copy(const struct testbed *bed, const char *from, const char *to)
{
    run(bed, (const char *const[]){ "/bin/rm", "-rf", to, NULL });
    run(bed, (const char *const[]){ "/bin/cp", "-a", from, to, NULL });
}

static void forget_row(struct db_txn *txn, const char *key)
{
    MDB_val name = { .mv_data = (void *)key, .mv_size = strlen(key) };
    cr_assert_eq(mdb_del(txn->txn, txn->db->meta, &name, NULL), 0);
}

static void forget_incarnation(const char *store)
{
    struct attack attack = { .db.lease = FILE_LOCK_NONE };
    cr_assert_eq(db_open_writer(&attack.db, &vault_schema, store), STATUS_OK);
    cr_assert_eq(db_begin_write(&attack.db, &attack.txn), STATUS_OK);
    forget_row(&attack.txn, "vault.incarnation");
    cr_assert_eq(db_commit(&attack.txn), STATUS_OK);
    db_close(&attack.db);
}

/* A store is copied, changed, and the copy put back: by hand it is yesterday's, and nothing of it
 * is served; what was there before, put back again, is. By the tool it is a backup. */
Test(vault_attacks, a_file_of_yesterday_is_noticed_and_a_backup_is_taken)
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
    copy(&bed, store, yesterday);
    testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "a", "second"), STATUS_OK);
    await_told(&bed);
    cr_assert_eq(testbed_stop(&bed), 0);
    copy(&bed, store, today);
    copy(&bed, yesterday, store);
    for (int i = 0; i < 2; i++) { /* also when it is asked again */
        testbed_start(&bed);
        expect_damaged(&bed, "older than the log");
        cr_assert_eq(testbed_stop(&bed), 0);
    }
    copy(&bed, today, store);
    testbed_start(&bed);
    expect_secret(&bed, "acme", "a", "second");
    cr_assert_eq(testbed_stop(&bed), 0);

    /* the vault alone, from the backup: on purpose */
    for (int i = 0; i < 3; i++) {
        if (i < 2) {
            run(&bed, (const char *const[]){ "/bin/rm", "-r", store, NULL });
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
    run(&bed, (const char *const[]){ "/bin/rm", "-r", store, NULL });
    copy(&bed, yesterday, store);
    testbed_start(&bed);
    expect_damaged(&bed, "older than the log");
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
    for (int left_ms = 30000; process_is_alive(before); left_ms -= 20, sleep_ms(20))
        cr_assert_gt(left_ms, 0, "it goes on");
    cr_assert_neq(testbed_daemon(bed, "vaultd"), before);
}

/* The same file, so only what is in it tells: by LMDB's lock file all is as it was. Whatever is
 * asked first, what was deleted is not answered, and no number of a version is used again. */
Test(vault_attacks, a_store_that_is_written_over_in_its_place_is_not_used)
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
    await_told(&bed);
    copy(&bed, live, yesterday);
    cr_assert_eq(secret_put(&bed, "acme", "kept", "second"), STATUS_OK);
    json_decref(testbed_ask(&bed, "vaultd", "secret.delete",
                            json_pack("{s:s, s:s}", "tenant", "acme", "name", "gone")));
    await_told(&bed);
    copy(&bed, live, today);
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
        expect_damaged(&bed, "older than the log");
        expect_secret_status(&bed, "acme", "gone", STATUS_DATA_LOSS);
        cr_assert_eq(testbed_stop(&bed), 0);
        write_over(today, store);
        testbed_start(&bed);
        expect_secret(&bed, "acme", "kept", "second");
        cr_assert_eq(secret_read_version(&bed, "acme", "kept", 2, value), STATUS_OK);
        cr_assert_str_eq(value, "second");
        cr_assert_neq(secret_read_version(&bed, "acme", "gone", 0, value), STATUS_OK);
        await_told(&bed);
        copy(&bed, live, today);
    }
    cr_assert_geq(testbed_log_count(&bed, "name=vaultd how=\"exit code 6\""), 2);
}

/* The log tells of a vault: an empty one does not take its place by itself. */
Test(vault_attacks, a_store_that_is_gone_is_not_made_anew_unasked)
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
    await_told(&bed);
    cr_assert_eq(testbed_stop(&bed), 0);
    run(&bed, (const char *const[]){ "/bin/mv", store, aside, NULL });
    for (int i = 0; i < 2; i++) { /* also with the empty one of the first time */
        testbed_start(&bed);
        expect_damaged(&bed, "unseal --new");
        cr_assert_eq(testbed_stop(&bed), 0);
    }
    copy(&bed, aside, store);
    testbed_start(&bed);
    expect_secret(&bed, "acme", "a", "first");
    cr_assert_eq(testbed_stop(&bed), 0);

    run(&bed, (const char *const[]){ "/bin/rm", "-r", store, NULL });
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

/* What is left of a vault without the row of its master key is damage, not a new vault. */
Test(vault_attacks, a_missing_master_key_is_not_drawn_again)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    struct attack attack = { .db.lease = FILE_LOCK_NONE };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "a", canary), STATUS_OK);
    attack_begin(&attack, &bed);
    forget_row(&attack.txn, "vault.master");
    attack_end(&attack, &bed);
    expect_damaged(&bed, "master key");
}

/* The store that it left in this boot is served while eventd is away, and what happens then
 * reaches the log, once. */
Test(vault_attacks, a_killed_vaultd_needs_no_eventd)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "a", "first"), STATUS_OK);
    await_told(&bed);
    pid_t eventd = testbed_daemon(&bed, "eventd");
    process_signal(eventd, SIGSTOP);
    for (int i = 0; i < 3; i++) {
        process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL);
        expect_secret(&bed, "acme", "a", "first");
        cr_assert_eq(secret_put(&bed, "acme", "b", "later"), STATUS_OK);
        expect_vault_state(&bed, "open", "");
    }
    process_signal(eventd, SIGCONT);
    await_told(&bed);
    expect_vault_state(&bed, "open", "");
    process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL); /* compared with the log that has it */
    expect_secret(&bed, "acme", "b", "later");
    await_told(&bed);
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
Test(vault_attacks, without_the_log_another_store_stays_sealed)
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
    run(&bed, (const char *const[]){ "/bin/mv", store, before, NULL });
    copy(&bed, before, store); /* not older, but who knows */
    process_signal(vaultd, SIGKILL);
    expect_secret_status(&bed, "acme", "a", STATUS_FAILED_PRECONDITION);
    expect_vault_state(&bed, "sealed", "eventd");
    struct problem problem = { 0 };
    enum status status = testbed_call(&bed, "vaultd", "vault.unseal", NULL, NULL, &problem);
    cr_assert_eq(status, STATUS_FAILED_PRECONDITION);
    expect_contains(problem.message, "eventd");
    process_signal(eventd, SIGCONT);
    for (int left_ms = 30000;; left_ms -= 20, sleep_ms(20)) {
        char value[SECRET_TEXT_BYTES];
        if (secret_read_version(&bed, "acme", "a", 0, value) == STATUS_OK)
            break;
        cr_assert_gt(left_ms, 0, "it does not open");
    }
    expect_secret(&bed, "acme", "a", "first");
}

Test(vault_attacks, a_cut_file_is_damage_and_a_flipped_byte_costs_one_secret)
{
    struct testbed bed = { 0 };
    char path[400];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    for (char name[] = "a"; name[0] <= 'h'; name[0]++)
        cr_assert_eq(secret_put(&bed, "acme", name, canary), STATUS_OK);
    uint8_t key[256];
    struct attack attack = { .db.lease = FILE_LOCK_NONE };
    attack_begin(&attack, &bed);
    struct span row;
    cr_assert_eq(table_get(&attack.txn, VAULT_VERSIONS, key_of(key, "acme", "c", 1), &row),
                 STATUS_OK);
    uint8_t wanted[20];
    memcpy(wanted, row.data + 40, sizeof wanted);
    attack_end(&attack, &bed);
    cr_assert_eq(testbed_stop(&bed), 0);
    snprintf(path, sizeof path, "%s/vault/data.mdb", bed.data);
    AUTO(buffer_close) struct buffer file = { .limit = 64 << 20 };
    cr_assert_eq(file_read(path, &file), STATUS_OK);
    size_t flipped = 0;
    for (uint8_t *at = file.data;
         (at = memmem(at, (size_t)(file.data + file.size - at), wanted, sizeof wanted)) != NULL;
         flipped++)
        *at++ ^= 1;
    cr_assert_gt(flipped, 0);
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert_eq(fd_write_all(fd, buffer_span(&file)), STATUS_OK);
    testbed_start(&bed);
    expect_secret_status(&bed, "acme", "c", STATUS_DATA_LOSS);
    expect_secret(&bed, "acme", "d", canary);
    cr_assert_eq(testbed_stop(&bed), 0);
    cr_assert_eq(truncate(path, 20000), 0);
    testbed_start(&bed);
    expect_secret_status(&bed, "acme", "d", STATUS_DATA_LOSS);
    cr_assert_eq(secret_put(&bed, "acme", "d", "x"), STATUS_DATA_LOSS);
    json_t *health = testbed_ask(&bed, "vaultd", "daemon.health", NULL);
    expect_text(health, "state", "damaged");
    json_decref(health);
    AUTO(result_close) struct result unsealed = { 0 };
    testbed_soloctl(&bed, &unsealed, "vault", "unseal", NULL);
    expect_exit(&unsealed, status_exit_code(STATUS_DATA_LOSS));
    testbed_discard(&bed); /* a sanitizer reports the probe that died of the file */
}
