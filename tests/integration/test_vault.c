/* Secrets as vaultd keeps them: what was put is there after any crash, nobody else ever sees it,
 * and what somebody did to the store is never answered as good. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/uuid.h"
#include "common/db/table.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(vault, .timeout = 300);

static const char canary[] = "zebra-7319-canary-value";

static enum status put(const struct testbed *bed, const char *tenant, const char *name,
                       const char *value)
{
    char hex[4 + 512] = "hex:";
    struct problem problem = { 0 };
    hex_text(hex + 4, value, strlen(value));
    return testbed_call(bed, "vaultd", "secret.put",
                        json_pack("{s:s, s:s, s:s}", "tenant", tenant, "name", name, "value", hex),
                        NULL, &problem);
}

static enum status read_version(const struct testbed *bed, const char *tenant, const char *name,
                                int version, char value[512])
{
    json_t *reply = NULL;
    struct problem problem = { 0 };
    value[0] = '\0';
    enum status status = testbed_call(
        bed, "vaultd", "secret.read",
        json_pack("{s:s, s:s, s:i}", "tenant", tenant, "name", name, "version", version), &reply,
        &problem);
    if (status == STATUS_OK) {
        const char *hex = text_in(reply, "value");
        size_t size = strlen(hex + 4) / 2;
        cr_assert(hex_parse(hex + 4, value, size));
        value[size] = '\0';
        json_decref(reply);
    }
    return status;
}

static void expect_value(const struct testbed *bed, const char *tenant, const char *name,
                         const char *wanted)
{
    char value[512];
    enum status status = read_version(bed, tenant, name, 0, value);
    cr_assert_eq(status, STATUS_OK, "%s/%s: %s", tenant, name, status_name(status));
    cr_assert_str_eq(value, wanted);
}

static void expect_status(const struct testbed *bed, const char *tenant, const char *name,
                          enum status wanted)
{
    char value[512];
    enum status status = read_version(bed, tenant, name, 0, value);
    cr_assert_eq(status, wanted, "%s/%s: %s", tenant, name, status_name(status));
}

static void expect_state(const struct testbed *bed, const char *state, const char *reason)
{
    json_t *reply = testbed_ask(bed, "vaultd", "vault.status", NULL);
    expect_text(reply, "state", state);
    const char *told = text_in(reply, "reason");
    if (reason != NULL)
        expect_contains(told == NULL ? "" : told, reason);
    json_decref(reply);
}

static void lives_through_everything(unsigned flags)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, flags);
    testbed_start(&bed);
    cr_assert_eq(put(&bed, "acme", "db", canary), STATUS_OK);
    cr_assert_eq(put(&bed, "acme", "gone", "x"), STATUS_OK);
    json_decref(testbed_ask(&bed, "vaultd", "secret.delete",
                            json_pack("{s:s, s:s}", "tenant", "acme", "name", "gone")));
    process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL);
    expect_value(&bed, "acme", "db", canary);
    expect_status(&bed, "acme", "gone", STATUS_NOT_FOUND);
    testbed_kill_everything(&bed);
    cr_assert_eq(directory_empty(bed.run), STATUS_OK);
    testbed_start(&bed);
    expect_value(&bed, "acme", "db", canary);
    testbed_soloctl_input(&bed, &result, "second", "secret", "set", "acme/db", NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "secret", "read", "acme/db", "--reveal", NULL);
    expect_exit(&result, 0);
    cr_assert_str_eq(result_out(&result), "second");
    testbed_soloctl(&bed, &result, "secret", "read", "acme/db", NULL);
    expect_exit(&result, 64);
    testbed_soloctl(&bed, &result, "secret", "read", "beta/db", "--reveal", NULL);
    expect_exit(&result, 4);
    testbed_soloctl(&bed, &result, "secret", "read", "acme/db", "--version", "9", "--reveal", NULL);
    expect_exit(&result, 4);
}

Test(vault, what_was_put_is_there_after_any_crash)
{
    lives_through_everything(0);
}

Test(vault, what_was_put_is_there_after_any_crash_as_an_ordinary_user)
{
    lives_through_everything(TESTBED_AS_USER);
}

Test(vault, a_repeated_put_has_the_one_version)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char id[UUID_TEXT_BYTES];
    struct uuid uuid = uuid_draw();
    struct problem problem = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uuid_text(id, &uuid);
    for (int i = 0; i < 3; i++) {
        json_t *reply = testbed_ask(&bed, "vaultd", "secret.put",
                                    json_pack("{s:s, s:s, s:s, s:s}", "tenant", "acme", "name",
                                              "db", "value", "hex:01", "request_id", id));
        expect_number(reply, "version", 1);
        json_decref(reply);
        process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL);
    }
    enum status status = testbed_call(&bed, "vaultd", "secret.put",
                                      json_pack("{s:s, s:s, s:s, s:s}", "tenant", "acme", "name",
                                                "db", "value", "hex:02", "request_id", id),
                                      NULL, &problem);
    expect_refused(status, STATUS_ABORTED, &problem, "request_id");
}

Test(vault, a_sealed_vault_refuses_and_opens_again)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char key[400], away[400];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    cr_assert_eq(put(&bed, "acme", "db", canary), STATUS_OK);
    json_decref(testbed_ask(&bed, "vaultd", "vault.seal", NULL));
    expect_status(&bed, "acme", "db", STATUS_FAILED_PRECONDITION);
    cr_assert_eq(put(&bed, "acme", "db", "x"), STATUS_FAILED_PRECONDITION);
    expect_state(&bed, "sealed", "sealed it");
    json_decref(testbed_ask(&bed, "vaultd", "vault.unseal", NULL));
    expect_value(&bed, "acme", "db", canary);

    /* the key file is missing, short, readable by others, another one */
    struct problem problem = { 0 };
    snprintf(key, sizeof key, "%s/vault.key", bed.data);
    snprintf(away, sizeof away, "%s/vault.key.away", bed.data);
    struct stat file;
    cr_assert_eq(stat(key, &file), 0);
    cr_assert_eq(file.st_mode & 07777, 0400);
    static const struct {
        const char *content;
        mode_t mode;
        enum status status;
        const char *reason;
    } keys[] = {
        { NULL, 0, STATUS_FAILED_PRECONDITION, "missing" },
        { "00ff", 0400, STATUS_FAILED_PRECONDITION, "64 hexadecimal" },
        { "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 0444,
          STATUS_FAILED_PRECONDITION, "others can read" },
        { "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 0400,
          STATUS_PERMISSION_DENIED, "not the one" },
    };
    cr_assert_eq(rename(key, away), 0);
    json_decref(testbed_ask(&bed, "vaultd", "vault.seal", NULL));
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        if (keys[i].content != NULL)
            cr_assert_eq(file_write(key, span_of_text(keys[i].content), keys[i].mode), STATUS_OK);
        enum status status = testbed_call(&bed, "vaultd", "vault.unseal", NULL, NULL, &problem);
        cr_assert_eq(status, keys[i].status, "%s: %s", keys[i].reason, problem.message);
        expect_contains(problem.message, keys[i].reason);
        expect_status(&bed, "acme", "db", STATUS_FAILED_PRECONDITION);
    }
    cr_assert_eq(rename(away, key), 0);
    json_decref(testbed_ask(&bed, "vaultd", "vault.unseal", NULL));
    expect_value(&bed, "acme", "db", canary);
}

Test(vault, a_passphrase_opens_it_and_nothing_else_does)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char key[400];
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_VAULT_UNSEAL", "passphrase");
    testbed_set(&bed, "SOLO_VAULT_ARGON2_MEMORY_BYTES", "8388608");
    testbed_start(&bed);
    snprintf(key, sizeof key, "%s/vault.key", bed.data);
    cr_assert_neq(access(key, F_OK), 0, "a key file was made");
    cr_assert_eq(put(&bed, "acme", "db", canary), STATUS_FAILED_PRECONDITION);
    testbed_soloctl_input(&bed, &result, "correct horse\n", "vault", "unseal", NULL);
    expect_exit(&result, 0);
    cr_assert_eq(put(&bed, "acme", "db", canary), STATUS_OK);
    process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL);
    expect_status(&bed, "acme", "db", STATUS_FAILED_PRECONDITION);
    testbed_soloctl_input(&bed, &result, "wrong horse\n", "vault", "unseal", NULL);
    expect_exit(&result, 5);
    expect_contains(result_err(&result), "passphrase");
    testbed_soloctl_input(&bed, &result, "correct horse\n", "vault", "unseal", NULL);
    expect_exit(&result, 0);
    expect_value(&bed, "acme", "db", canary);
    testbed_soloctl_input(&bed, &result, "another one", "vault", "rekey", "--passphrase", NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "vault", "seal", NULL);
    testbed_soloctl_input(&bed, &result, "correct horse", "vault", "unseal", NULL);
    expect_exit(&result, 5);
    testbed_soloctl_input(&bed, &result, "another one", "vault", "unseal", NULL);
    expect_exit(&result, 0);
    expect_value(&bed, "acme", "db", canary);
    testbed_soloctl(&bed, &result, "vault", "rekey", "--key-file", NULL);
    expect_exit(&result, 0);
    process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL);
    expect_value(&bed, "acme", "db", canary);
}

Test(vault, what_is_too_large_or_nowhere_is_refused)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    char *large = malloc(65538);
    memset(large, 'x', 65537);
    large[65537] = '\0';
    testbed_soloctl_input(&bed, &result, large, "secret", "set", "acme/large", NULL);
    expect_exit(&result, 65);
    large[65536] = '\0';
    testbed_soloctl_input(&bed, &result, large, "secret", "set", "acme/large", NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "secret", "read", "acme/large", "--reveal", NULL);
    expect_exit(&result, 0);
    cr_assert_str_eq(result_out(&result), large);
    free(large);
    testbed_soloctl(&bed, &result, "secret", "delete", "acme/nothing", NULL);
    expect_exit(&result, 4);
    testbed_soloctl(&bed, &result, "secret", "destroy", "nobody/nothing", NULL);
    expect_exit(&result, 4);
}

/* --- where a value must not be --- */

static size_t count_in_memory(pid_t pid, const char *text)
{
    char path[64], line[512];
    size_t found = 0, size = strlen(text);
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "r");
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    AUTO(fd_close) int memory = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_not_null(maps);
    cr_assert_geq(memory, 0);
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to;
        char mode[8];
        /* what is larger is a sanitizer's shadow, or the map of the store */
        if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 || mode[0] != 'r' ||
            to - from > (256ul << 20))
            continue;
        char *bytes = malloc(to - from);
        ssize_t got = pread(memory, bytes, to - from, (off_t)from);
        for (char *at = bytes;
             got > 0 && (at = memmem(at, (size_t)(bytes + got - at), text, size)) != NULL; at++)
            found++;
        free(bytes);
    }
    fclose(maps);
    return found;
}

Test(vault, a_value_is_nowhere_in_clear)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    cr_assert_eq(put(&bed, "acme", "db", canary), STATUS_OK);
    for (int i = 0; i < 3; i++)
        expect_value(&bed, "acme", "db", canary);
    json_decref(testbed_ask(&bed, "vaultd", "vault.verify", NULL));
    json_decref(testbed_ask(&bed, "vaultd", "vault.rotate", NULL));
    sleep_ms(200);
    if (geteuid() == 0) {
        static const char *const names[] = { "eventd", "tokend", "vaultd", "deployd" };
        for (size_t i = 0; i < COUNT_OF(names); i++)
            cr_assert_eq(count_in_memory(testbed_daemon(&bed, names[i]), canary), 0, "%s has it",
                         names[i]);
        cr_assert_gt(count_in_memory(getpid(), canary), 0, "this search finds nothing");
    }
    cr_assert_eq(testbed_stop(&bed), 0);
    const char *const argv[] = { "/bin/grep", "-r", "-l", "-a", "-F", "-e", canary, bed.dir, NULL };
    command_run(&(struct command){ .argv = argv, .environment = testbed_environment(&bed) },
                &result);
    cr_assert_eq(result.exit_code, 1, "found in %s", result_out(&result));
}

/* --- what somebody does to the store --- */

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

Test(vault, swapped_missing_and_old_rows_are_data_loss_and_harm_nobody_else)
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
            cr_assert_eq(put(&bed, tenants[t], names[n], "first"), STATUS_OK);
    cr_assert_eq(put(&bed, "acme", "x", "again"), STATUS_OK);

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
    expect_status(&bed, "acme", "x", STATUS_DATA_LOSS);
    expect_status(&bed, "acme", "y", STATUS_DATA_LOSS);
    expect_status(&bed, "beta", "x", STATUS_DATA_LOSS);
    expect_status(&bed, "beta", "y", STATUS_DATA_LOSS);
    expect_value(&bed, "acme", "z", "first");
    expect_value(&bed, "beta", "z", "first");
    expect_value(&bed, "gamma", "x", "first");
    json_t *reply = testbed_ask(&bed, "vaultd", "vault.verify", NULL);
    expect_number(reply, "damaged", 4);
    expect_number(reply, "readable", 6);
    json_decref(reply);
    AUTO(result_close) struct result verified = { 0 };
    testbed_recoveryd(&bed, &verified, "verify", "--full", "--detailed-exitcode", NULL);
    expect_exit(&verified, 3);
    expect_contains(result_out(&verified), "secret_damaged");
    expect_contains(result_out(&verified), "4 inconsistencies");

    /* what is damaged can be destroyed and put again */
    json_decref(testbed_ask(&bed, "vaultd", "secret.destroy",
                            json_pack("{s:s, s:s}", "tenant", "beta", "name", "x")));
    cr_assert_eq(put(&bed, "beta", "x", "new"), STATUS_OK);
    expect_value(&bed, "beta", "x", "new");

    /* a secret's row put back from before a change; then one removed */
    attack_begin(&attack, &bed);
    row = row_copy(&attack, VAULT_SECRETS, key_of(a, "gamma", "x", 0), old);
    attack_end(&attack, &bed);
    cr_assert_eq(put(&bed, "gamma", "x", "newer"), STATUS_OK);
    expect_value(&bed, "gamma", "x", "newer");
    attack_begin(&attack, &bed);
    table_put(&attack.txn, VAULT_SECRETS, key_of(a, "gamma", "x", 0), row);
    cr_assert_eq(table_delete(&attack.txn, VAULT_SECRETS, key_of(a, "acme", "z", 0)), STATUS_OK);
    attack_end(&attack, &bed);
    expect_status(&bed, "gamma", "x", STATUS_DATA_LOSS);
    expect_status(&bed, "gamma", "y", STATUS_DATA_LOSS);
    expect_status(&bed, "acme", "z", STATUS_DATA_LOSS);
    expect_value(&bed, "beta", "z", "first");

    /* a tenant's row removed: nothing can be told any more */
    attack_begin(&attack, &bed);
    cr_assert_eq(table_delete(&attack.txn, VAULT_TENANTS, span_of_text("acme")), STATUS_OK);
    attack_end(&attack, &bed);
    expect_state(&bed, "sealed", "missing");
    expect_status(&bed, "beta", "z", STATUS_FAILED_PRECONDITION);
}

Test(vault, a_cut_file_is_damage_and_a_flipped_byte_costs_one_secret)
{
    struct testbed bed = { 0 };
    char path[400];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    for (char name[] = "a"; name[0] <= 'h'; name[0]++)
        cr_assert_eq(put(&bed, "acme", name, canary), STATUS_OK);
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
    expect_status(&bed, "acme", "c", STATUS_DATA_LOSS);
    expect_value(&bed, "acme", "d", canary);
    cr_assert_eq(testbed_stop(&bed), 0);
    cr_assert_eq(truncate(path, 20000), 0);
    testbed_start(&bed);
    expect_status(&bed, "acme", "d", STATUS_DATA_LOSS);
    cr_assert_eq(put(&bed, "acme", "d", "x"), STATUS_DATA_LOSS);
    json_t *health = testbed_ask(&bed, "vaultd", "daemon.health", NULL);
    expect_text(health, "state", "damaged");
    json_decref(health);
    testbed_discard(&bed); /* a sanitizer reports the probe that died of the file */
}

/* --- death at every step --- */

static void torture(const char *point, int arrival)
{
    enum { SECRETS = 12 };
    struct testbed bed = { 0 };
    char fault[100], name[16];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    for (int i = 0; i < SECRETS; i++) {
        snprintf(name, sizeof name, "s%d", i);
        cr_assert_eq(put(&bed, i % 2 == 0 ? "acme" : "beta", name, name), STATUS_OK);
    }
    cr_assert_eq(testbed_stop(&bed), 0);
    snprintf(fault, sizeof fault, "%s:%d", point, arrival);
    testbed_set(&bed, "SOLO_FAULT", fault);
    testbed_launch(&bed, NULL);
    if (testbed_wait_ready(&bed, 3000)) {
        struct problem problem = { 0 };
        testbed_call(&bed, "vaultd", "vault.rotate", NULL, NULL, &problem);
        testbed_call(&bed, "vaultd", "vault.rekey", NULL, NULL, &problem);
        sleep_ms(100);
    }
    testbed_kill_everything(&bed);
    testbed_set(&bed, "SOLO_FAULT", "none");
    testbed_start(&bed);
    for (int i = 0; i < SECRETS; i++) {
        snprintf(name, sizeof name, "s%d", i);
        expect_value(&bed, i % 2 == 0 ? "acme" : "beta", name, name);
    }
    uint64_t end = clock_boottime_ns() + 10000000000u;
    for (uint64_t left = 1; left > 0; sleep_ms(10)) {
        json_t *reply = testbed_ask(&bed, "vaultd", "vault.status", NULL);
        left = number_in(reply, "rotating");
        json_decref(reply);
        cr_assert_lt(clock_boottime_ns(), end, "%s: the rotation does not end", fault);
    }
    json_t *reply = testbed_ask(&bed, "vaultd", "vault.verify", NULL);
    expect_number(reply, "readable", SECRETS);
    expect_number(reply, "damaged", 0);
    expect_number(reply, "damaged_tenants", 0);
    json_decref(reply);
    testbed_close(&bed);
}

Test(vault, rotation_and_rekeying_survive_death_at_every_step)
{
    static const char *const points[] = { "vaultd.before_commit", "vaultd.after_commit",
                                          "vaultd.rotation", "vaultd.rekey", "rpc_committed" };
    for (size_t i = 0; i < COUNT_OF(points); i++)
        for (int arrival = 1; arrival <= 5; arrival += 2)
            torture(points[i], arrival);
}
