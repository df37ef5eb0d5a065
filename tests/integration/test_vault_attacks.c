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
    static const char *const plain[] = { "--detailed-exitcode", "verify" };
    for (size_t i = 0; i < COUNT_OF(plain); i++) { /* a plain recovery, too */
        testbed_recoveryd(&bed, &verified, plain[i], "--detailed-exitcode", NULL);
        expect_exit(&verified, 3);
        expect_contains(result_out(&verified), "6 readable, 4 damaged");
        expect_contains(result_out(&verified), "acme/x@2");
    }
    testbed_recoveryd(&bed, &verified, "--dry-run", NULL); /* which asks for nothing to be opened */
    expect_contains(result_out(&verified), "6 versions readable, 4 damaged");
    testbed_soloctl(&bed, &verified, "vault", "status", NULL);
    expect_contains(result_out(&verified), "6 versions readable, 4 damaged");

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

/* In each page of the file that has the row of a secret, the rows from it on are not counted any
 * more: one number in the head of the page. */
static size_t hide_rows(const struct testbed *bed, struct span row_key)
{
    enum { PAGE = 4096, HEAD = 16, FLAGS = 10, LOWER = 12, LEAF = 2, NODE_KEY = 8 };
    char path[400];
    size_t hidden = 0;
    AUTO(buffer_close) struct buffer file = { .limit = 64 << 20 };
    snprintf(path, sizeof path, "%s/vault/data.mdb", bed->data);
    cr_assert_eq(file_read(path, &file), STATUS_OK);
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    for (size_t at = 2 * PAGE; at + PAGE <= file.size; at += PAGE) {
        const uint8_t *page = file.data + at;
        uint16_t flags, lower, node, key_size;
        memcpy(&flags, page + FLAGS, 2);
        memcpy(&lower, page + LOWER, 2);
        if (flags != LEAF || lower > PAGE)
            continue;
        for (uint16_t place = HEAD; place + 2 <= lower; place += 2) {
            memcpy(&node, page + place, 2);
            if (node + NODE_KEY + row_key.size > PAGE)
                break;
            memcpy(&key_size, page + node + 6, 2);
            if (key_size != row_key.size ||
                memcmp(page + node + NODE_KEY, row_key.data, key_size) != 0)
                continue;
            cr_assert_eq(pwrite(fd, &place, 2, (off_t)(at + LOWER)), 2);
            hidden++;
            break;
        }
    }
    return hidden;
}

Test(vault_attacks, rows_that_vanish_under_a_running_vault_are_not_taken_for_none)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    uint8_t key[256];
    char name[8];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof name, "k%d", i);
        cr_assert_eq(secret_put(&bed, "acme", name, "value"), STATUS_OK);
    }
    cr_assert_eq(secret_put(&bed, "beta", "only", "value"), STATUS_OK);
    expect_secret(&bed, "acme", "k3", "value");
    expect_secret_status(&bed, "acme", "none", STATUS_NOT_FOUND);
    expect_secret_status(&bed, "gamma", "none", STATUS_NOT_FOUND);
    testbed_soloctl(&bed, &result, "secret", "list", NULL);
    expect_exit(&result, 0);

    /* all of a tenant: what is left of the list is no list */
    cr_assert_gt(hide_rows(&bed, key_of(key, "beta", "only", 0)), 0);
    testbed_soloctl(&bed, &result, "secret", "list", NULL);
    expect_exit(&result, status_exit_code(STATUS_DATA_LOSS));
    expect_contains(result_err(&result), "beta");
    testbed_soloctl(&bed, &result, "secret", "list", "-t", "acme", NULL);
    expect_exit(&result, 0);

    cr_assert_gt(hide_rows(&bed, key_of(key, "acme", "k2", 0)), 0);
    sleep_ms(1100); /* it was compared just now */
    expect_secret_status(&bed, "acme", "k3", STATUS_DATA_LOSS);
    expect_secret_status(&bed, "acme", "none", STATUS_DATA_LOSS);
    cr_assert_eq(secret_put(&bed, "acme", "k4", "x"), STATUS_DATA_LOSS);
    testbed_soloctl(&bed, &result, "secret", "list", "-t", "acme", NULL);
    expect_exit(&result, status_exit_code(STATUS_DATA_LOSS));
    testbed_soloctl(&bed, &result, "status", "--check", NULL);
    expect_exit(&result, 3);
    expect_contains(result_out(&result), "secrets are damaged");

    /* the tenant itself */
    cr_assert_gt(hide_rows(&bed, span_of_text("beta")), 0);
    sleep_ms(1100);
    expect_secret_status(&bed, "beta", "only", STATUS_DATA_LOSS);
    expect_secret_status(&bed, "gamma", "none", STATUS_DATA_LOSS);
    testbed_discard(&bed);
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
    expect_vault_damaged(&bed, "master key");
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
    expect_vault_damaged_state(&bed, "list of its tenants");
    cr_assert_eq(testbed_call(&bed, "vaultd", "vault.unseal",
                              json_pack("{s:s}", "passphrase", "hex:00"), NULL, NULL),
                 STATUS_PERMISSION_DENIED);
    expect_vault_damaged_state(&bed, "list of its tenants");
    expect_secret_status(&bed, "acme", "a", STATUS_DATA_LOSS);
    /* it may be tried again: the passphrase is asked for as ever */
    testbed_soloctl_input(&bed, &result, "correct horse", "vault", "unseal", NULL);
    expect_exit(&result, status_exit_code(STATUS_DATA_LOSS));
    expect_contains(result_err(&result), "list of its tenants");
    testbed_soloctl(&bed, &result, "vault", "rekey", NULL);
    expect_exit(&result, status_exit_code(STATUS_DATA_LOSS));
}

static void forget_row(struct db_txn *txn, const char *key)
{
    MDB_val name = { .mv_data = (void *)key, .mv_size = strlen(key) };
    cr_assert_eq(mdb_del(txn->txn, txn->db->meta, &name, NULL), 0);
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
    expect_vault_damaged(&bed, "master key");
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
