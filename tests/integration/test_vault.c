/* Secrets as vaultd keeps them: what was put is there after any crash, nobody else ever sees it,
 * and what somebody did to the store is never answered as good. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/uuid.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"
#include "tests/support/secrets.h"
#include "tests/support/services.h"

TestSuite(vault, .timeout = 300);

static const char canary[] = "zebra-7319-canary-value";

static void lives_through_everything(unsigned flags)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, flags);
    testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "DB_PASSWORD", canary), STATUS_OK);
    cr_assert_eq(secret_put(&bed, "acme", "gone", "x"), STATUS_OK);
    json_decref(testbed_ask(&bed, "vaultd", "secret.delete",
                            json_pack("{s:s, s:s}", "tenant", "acme", "name", "gone")));
    process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL);
    expect_secret(&bed, "acme", "DB_PASSWORD", canary);
    expect_secret_status(&bed, "acme", "gone", STATUS_NOT_FOUND);
    testbed_kill_everything(&bed);
    cr_assert_eq(directory_empty(bed.run), STATUS_OK);
    testbed_start(&bed);
    expect_secret(&bed, "acme", "DB_PASSWORD", canary);
    testbed_soloctl_input(&bed, &result, "second", "secret", "set", "acme/DB_PASSWORD", NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "secret", "read", "acme/DB_PASSWORD", "--reveal", NULL);
    expect_exit(&result, 0);
    cr_assert_str_eq(result_out(&result), "second");
    testbed_soloctl(&bed, &result, "-o", "json", "secret", "read", "acme/DB_PASSWORD", "--reveal",
                    NULL);
    expect_exit(&result, 0);
    json_t *document = result_json(&result);
    expect_text(document, "kind", "secret_value");
    expect_text(document, "value", "second");
    expect_number(document, "version", 2);
    json_decref(document);
    testbed_soloctl_input(&bed, &result, "\xff", "secret", "set", "acme/BYTE", NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "-o", "json", "secret", "read", "acme/BYTE", "--reveal", NULL);
    document = result_json(&result);
    expect_text(document, "value_hex", "ff");
    json_decref(document);
    testbed_soloctl(&bed, &result, "-o", "json", "secret", "describe", "acme/BYTE", NULL);
    document = result_json(&result);
    const char *stored_at =
        text_in(json_array_get(json_object_get(document, "version_list"), 0), "stored_at");
    cr_assert(stored_at != NULL && stored_at[strlen(stored_at) - 1] == 'Z');
    json_decref(document);
    testbed_soloctl(&bed, &result, "secret", "read", "acme/DB_PASSWORD", NULL);
    expect_exit(&result, 64);
    testbed_soloctl(&bed, &result, "secret", "read", "beta/DB_PASSWORD", "--reveal", NULL);
    expect_exit(&result, 4);
    testbed_soloctl(&bed, &result, "secret", "read", "acme/DB_PASSWORD", "--version", "9",
                    "--reveal", NULL);
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
    cr_assert_eq(secret_put(&bed, "acme", "db", canary), STATUS_OK);
    json_decref(testbed_ask(&bed, "vaultd", "vault.seal", NULL));
    expect_secret_status(&bed, "acme", "db", STATUS_FAILED_PRECONDITION);
    cr_assert_eq(secret_put(&bed, "acme", "db", "x"), STATUS_FAILED_PRECONDITION);
    expect_vault_state(&bed, "sealed", "sealed_by_operator");
    json_decref(testbed_ask(&bed, "vaultd", "vault.unseal", NULL));
    expect_secret(&bed, "acme", "db", canary);
    process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL);
    expect_secret(&bed, "acme", "db", canary);

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
        const char *reason, *code;
    } keys[] = {
        { NULL, 0, STATUS_FAILED_PRECONDITION, "missing", "key_missing" },
        { "00ff", 0400, STATUS_FAILED_PRECONDITION, "64 hexadecimal", "key_malformed" },
        { "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 0444,
          STATUS_FAILED_PRECONDITION, "others can read", "key_open_to_others" },
        { "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 0400,
          STATUS_PERMISSION_DENIED, "not the one", "wrong_key" },
    };
    cr_assert_eq(rename(key, away), 0);
    json_decref(testbed_ask(&bed, "vaultd", "vault.seal", NULL));
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        if (keys[i].content != NULL)
            cr_assert_eq(file_write(key, span_of_text(keys[i].content), keys[i].mode), STATUS_OK);
        enum status status = testbed_call(&bed, "vaultd", "vault.unseal", NULL, NULL, &problem);
        cr_assert_eq(status, keys[i].status, "%s: %s", keys[i].reason, problem.message);
        expect_contains(problem.message, keys[i].reason);
        expect_contains(problem.message, "`soloctl vault unseal`"); /* what to do then */
        expect_vault_state(&bed, "sealed", keys[i].code);
        if (keys[i].status == STATUS_FAILED_PRECONDITION)
            expect_vault_state(&bed, "sealed", key);
        expect_secret_status(&bed, "acme", "db", STATUS_FAILED_PRECONDITION);
    }
    cr_assert_eq(rename(away, key), 0);
    json_decref(testbed_ask(&bed, "vaultd", "vault.unseal", NULL));
    expect_secret(&bed, "acme", "db", canary);
}

static void expect_still_sealed(struct testbed *bed)
{
    AUTO(result_close) struct result result = { 0 };
    expect_vault_state(bed, "sealed", "sealed_by_operator");
    service_await(bed, "acme", "api", "waiting_for_secret", 60000);
    testbed_soloctl(bed, &result, "vault", "status", NULL);
    expect_contains(result_out(&result), "it was sealed on purpose");
    expect_contains(result_out(&result), "`soloctl vault unseal` opens it again");
}

Test(vault, what_was_sealed_on_purpose_stays_so_whatever_is_started)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char key[400], away[400];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "db", canary), STATUS_OK);
    service_deploy(&bed, json_pack("{s:s, s:s, s:[s, s], s:[s]}", "tenant", "acme", "name", "api",
                                   "argv", "/bin/sleep", "1000000", "secrets", "db"));
    testbed_soloctl(&bed, &result, "vault", "seal", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "also after a restart");
    process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL);
    expect_vault_state(&bed, "sealed", "sealed_by_operator");
    cr_expect_eq(testbed_stop(&bed), 0);
    testbed_start(&bed);
    expect_still_sealed(&bed);
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    expect_still_sealed(&bed);
    testbed_soloctl(&bed, &result, "vault", "seal", NULL);
    expect_contains(result_out(&result), "as before");

    /* what is sealed for another reason is sealed on purpose, too, when it is asked for */
    snprintf(key, sizeof key, "%s/vault.key", bed.data);
    snprintf(away, sizeof away, "%s/vault.key.away", bed.data);
    testbed_soloctl(&bed, &result, "vault", "unseal", NULL);
    expect_exit(&result, 0);
    service_await(&bed, "acme", "api", "running", 60000);
    cr_assert_eq(rename(key, away), 0);
    process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL);
    expect_vault_state(&bed, "sealed", "key_missing");
    testbed_soloctl(&bed, &result, "vault", "seal", NULL);
    expect_exit(&result, 0);
    cr_assert_eq(rename(away, key), 0);
    process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL);
    expect_vault_state(&bed, "sealed", "sealed_by_operator");
    testbed_soloctl(&bed, &result, "vault", "unseal", NULL);
    expect_secret(&bed, "acme", "db", canary);
}

/* Once the outbox has told all; as root. */
static void expect_last_by(struct testbed *bed, const char *type, const char *wanted)
{
    vault_await_told(bed);
    json_t *events = events_after(bed, 0);
    json_t *payload = json_object_get(event_last(events, type, NULL, NULL), "payload");
    const char *by = text_in(payload, "by");
    cr_assert(by != NULL && (geteuid() != 0 || strcmp(by, wanted) == 0), "%s by %s", type,
              by == NULL ? "nobody" : by);
    json_decref(events);
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
    cr_assert_eq(secret_put(&bed, "acme", "db", canary), STATUS_FAILED_PRECONDITION);
    testbed_soloctl_input(&bed, &result, "correct horse\n", "vault", "unseal", NULL);
    expect_exit(&result, 0);
    cr_assert_eq(secret_put(&bed, "acme", "db", canary), STATUS_OK);
    process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL);
    expect_secret_status(&bed, "acme", "db", STATUS_FAILED_PRECONDITION);
    testbed_soloctl_input(&bed, &result, "wrong horse\n", "vault", "unseal", NULL);
    expect_exit(&result, 5);
    expect_contains(result_err(&result), "passphrase");
    testbed_soloctl_input(&bed, &result, "correct horse\n", "vault", "unseal", NULL);
    expect_exit(&result, 0);
    expect_secret(&bed, "acme", "db", canary);
    testbed_soloctl_input(&bed, &result, "another one", "vault", "rekey", "--passphrase", NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "vault", "seal", NULL);
    testbed_soloctl_input(&bed, &result, "correct horse", "vault", "unseal", NULL);
    expect_exit(&result, 5);
    testbed_soloctl_input(&bed, &result, "another one", "vault", "unseal", NULL);
    expect_exit(&result, 0);
    expect_secret(&bed, "acme", "db", canary);

    /* it takes longer than a question may: it is not asked twice, of which one would be refused */
    char later[64];
    const char *const continued[] = { "/bin/sh", "-c", later, NULL };
    snprintf(later, sizeof later, "sleep 4; kill -CONT %d", testbed_daemon(&bed, "vaultd"));
    process_signal(testbed_daemon(&bed, "vaultd"), SIGSTOP);
    pid_t waking = command_start(
        &(struct command){ .argv = continued, .environment = testbed_environment(&bed) }, bed.log);
    testbed_soloctl_input(&bed, &result, "a third one", "vault", "rekey", "--passphrase", NULL);
    expect_exit(&result, 0);
    cr_assert_eq(command_wait(waking, 60000), 0);

    testbed_soloctl(&bed, &result, "vault", "rekey", "--key-file", NULL);
    expect_exit(&result, 0);
    expect_last_by(&bed, "vault_rekeyed", "uid 0");
    process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL);
    expect_secret(&bed, "acme", "db", canary);
    expect_last_by(&bed, "vault_unsealed", "vaultd");
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
    testbed_soloctl(&bed, &result, "secret", "read", "acme/large", "--reveal", "--version", "2",
                    NULL);
    expect_exit(&result, 4);
    expect_contains(result_err(&result), "the latest is 1");
    testbed_soloctl(&bed, &result, "secret", "destroy", "acme/large", "--version", "0", NULL);
    expect_exit(&result, 64); /* not all of them */
    testbed_soloctl(&bed, &result, "secret", "read", "acme/large", "--reveal", "--version", "1",
                    NULL);
    expect_exit(&result, 0);
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

static size_t count_in_file_of(pid_t pid, const char *file, const char *text)
{
    AUTO(buffer_close) struct buffer content = { .limit = 4 << 20 };
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    size_t size = strlen(text), found = 0;
    if (file_read(path, &content) != STATUS_OK || content.size == 0)
        return 0;
    for (const uint8_t *at = content.data;
         (at = memmem(at, (size_t)(content.data + content.size - at), text, size)) != NULL; at++)
        found++;
    return found;
}

static void expect_no_core(pid_t pid, const char *who)
{
    AUTO(buffer_close) struct buffer limits = { .limit = 1 << 16 };
    char path[64];
    unsigned long soft = 2, hard = 2; /* 1 byte holds no core: see forbid_cores */
    snprintf(path, sizeof path, "/proc/%d/limits", pid);
    cr_assert_eq(file_read(path, &limits), STATUS_OK);
    buffer_append(&limits, "", 1);
    const char *line = strstr((const char *)limits.data, "Max core file size");
    cr_assert_not_null(line);
    cr_assert_eq(sscanf(line, "Max core file size %lu %lu", &soft, &hard), 2, "%s: %.60s", who,
                 line);
    cr_assert(soft <= 1 && hard <= 1, "%s may leave a core", who);
}

/* Within its exec a process shows no environment. */
static void await_program(pid_t pid, const char *name)
{
    AUTO(buffer_close) struct buffer comm = { .limit = 4096 };
    for (int left_ms = 60000; left_ms > 0; left_ms -= 5, sleep_ms(5))
        if (process_read(pid, "comm", &comm) && strcmp((const char *)comm.data, name) == 0 &&
            process_read(pid, "environ", &comm) && comm.size > 0)
            return;
    cr_assert_fail("%d does not become %s", pid, name);
}

/* Files for one service, a variable for the other; both crash, and so does vaultd, where a core
 * would lie in a folder of this Solo. */
Test(vault, no_core_and_no_process_of_others_has_a_value)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    static const char *const daemons[] = { "eventd", "tokend", "vaultd", "deployd" };
    const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
    pid_t pids[256];
    testbed_open(&bed, 0);
    if (setrlimit(RLIMIT_CORE, &all) < 0) /* what Solo is started with, as far as we may */
        cr_assert_neq(geteuid(), 0);
    testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "db", canary), STATUS_OK);
    pid_t by_file = 0, by_variable = 0;
    for (int i = 0; i < 2; i++) {
        json_t *secret =
            i == 0 ? json_string("db") : json_pack("{s:s, s:s}", "name", "db", "as", "env");
        const char *name = i == 0 ? "files" : "variables";
        service_deploy(&bed,
                       json_pack("{s:s, s:s, s:[s, s, s], s:[o]}", "tenant", "acme", "name", name,
                                 "argv", "/bin/sh", "-c", "ulimit -c unlimited; exec sleep 1000000",
                                 "secrets", secret));
        service_await(&bed, "acme", name, "running", 60000);
        *(i == 0 ? &by_file : &by_variable) = service_pid(&bed, "acme", name);
    }
    await_program(by_file, "sleep\n");
    await_program(by_variable, "sleep\n");
    size_t count = testbed_processes(&bed, pids, COUNT_OF(pids));
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(count_in_file_of(pids[i], "cmdline", canary), 0);
        bool may_have_it = pids[i] == by_variable;
        cr_assert_eq(count_in_file_of(pids[i], "environ", canary), may_have_it ? 1 : 0, "pid %d",
                     pids[i]);
    }
    for (size_t i = 0; i < COUNT_OF(daemons); i++)
        expect_no_core(testbed_daemon(&bed, daemons[i]), daemons[i]);
    expect_no_core(testbed_supervisor(&bed, "acme"), "the supervisor");
    expect_no_core(by_file, "a service");
    expect_no_core(by_variable, "a service");
    process_signal(by_file, SIGQUIT);
    process_signal(by_variable, SIGQUIT);
    process_signal(testbed_daemon(&bed, "vaultd"), SIGQUIT);
    service_await_new_pid(&bed, "acme", "files", by_file, 60000);
    service_await_new_pid(&bed, "acme", "variables", by_variable, 60000);
    service_kill(&bed, "acme", "files"); /* with them their files go, where RUN is no tmpfs */
    service_kill(&bed, "acme", "variables");
    const char *const argv[] = { "/bin/grep", "-r", "-l", "-a", "-F", "-e", canary, bed.dir, NULL };
    command_run(&(struct command){ .argv = argv, .environment = testbed_environment(&bed) },
                &result);
    cr_assert_eq(result.exit_code, 1, "found in %s", result_out(&result));
}

Test(vault, a_value_is_nowhere_in_clear)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "db", canary), STATUS_OK);
    for (int i = 0; i < 3; i++)
        expect_secret(&bed, "acme", "db", canary);
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

/* Before it asks for a passphrase it asks how the vault is; the damaged one is in
 * test_vault_attacks.c. */
Test(vault, who_is_not_told_how_the_vault_is_cannot_unseal_it_and_is_told_why)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char token[400];
    testbed_open(&bed, 0);
    snprintf(token, sizeof token, "%s/reader.token", bed.dir);
    testbed_start(&bed);
    testbed_soloctl(&bed, &result, "token", "create", "-t", "acme", "--permission",
                    "read,secrets:read", "--out", token, NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "--token-file", token, "vault", "unseal", NULL);
    expect_exit(&result, status_exit_code(STATUS_PERMISSION_DENIED));
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_soloctl(&bed, &result, "vault", "unseal", NULL);
    expect_exit(&result, status_exit_code(STATUS_UNAVAILABLE));
}

/* As systemd passes it: in a folder, with the mode that it likes. */
Test(vault, a_credential_opens_it_and_no_key_file_is_made)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char folder[400], credential[500], key[400];
    testbed_open(&bed, 0);
    snprintf(folder, sizeof folder, "%s/credentials", bed.dir);
    snprintf(credential, sizeof credential, "%s/solo.vault.key", folder);
    snprintf(key, sizeof key, "%s/vault.key", bed.data);
    cr_assert_eq(mkdir(folder, 0755), 0);
    cr_assert_eq(
        file_write(credential,
                   span_of_text("8f112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"),
                   0440),
        STATUS_OK);
    testbed_set(&bed, "CREDENTIALS_DIRECTORY", folder);
    testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "db", canary), STATUS_OK);
    process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL);
    expect_secret(&bed, "acme", "db", canary);
    cr_assert_neq(access(key, F_OK), 0);
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_set(&bed, "CREDENTIALS_DIRECTORY", bed.dir);
    testbed_start(&bed);
    expect_vault_state(&bed, "sealed", "key_missing");
    cr_assert_neq(access(key, F_OK), 0, "a key that opens nothing");
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_set(&bed, "CREDENTIALS_DIRECTORY", folder);
    testbed_start(&bed);
    expect_secret(&bed, "acme", "db", canary);
}

/* --- what the machine does not have --- */

/* Enough for the keys alone is not enough. */
Test(vault, without_locked_memory_it_stays_sealed_and_says_so)
{
    const struct rlimit limits[] = { { 64 << 10, 64 << 10 }, { 0, 0 } };
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        AUTO(testbed_close) struct testbed bed = { 0 };
        AUTO(result_close) struct result result = { 0 };
        testbed_open(&bed, TESTBED_AS_USER); /* root may lock whatever the limit is */
        cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &limits[i]), 0);
        testbed_start(&bed);
        expect_vault_state(&bed, "sealed", "memory_not_locked");
        expect_vault_state(&bed, "sealed", "RLIMIT_MEMLOCK is");
        cr_assert_eq(secret_put(&bed, "acme", "db", canary), STATUS_FAILED_PRECONDITION);
        testbed_soloctl(&bed, &result, "vault", "unseal", NULL);
        expect_exit(&result, status_exit_code(STATUS_FAILED_PRECONDITION));
        expect_contains(result_err(&result), "RLIMIT_MEMLOCK");
        service_deploy_sleeper(&bed, "acme", "without"); /* who needs no secret is not concerned */
    }
}

Test(vault, aes_records_are_refused_where_there_is_no_aes)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_VAULT_CIPHER", "aes256gcm");
    testbed_start(&bed);
    json_t *status = testbed_ask(&bed, "vaultd", "vault.status", NULL);
    bool has_aes = strcmp(text_in(status, "state"), "open") == 0;
    json_decref(status);
    if (!has_aes) {
        expect_vault_state(&bed, "sealed", "no AES");
        return;
    }
    cr_assert_eq(secret_put(&bed, "acme", "db", canary), STATUS_OK);
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_set(&bed, "SOLO_FAULT_NO_AES", "1");
    testbed_start(&bed);
    status = testbed_ask(&bed, "vaultd", "vault.status", NULL);
    bool has_fault = strcmp(text_in(status, "state"), "sealed") == 0;
    json_decref(status);
    if (!has_fault)
        return;                                   /* this build has no fault points */
    expect_vault_state(&bed, "sealed", "no AES"); /* the setting asks for it */
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_set(&bed, "SOLO_VAULT_CIPHER", "xchacha20poly1305");
    testbed_start(&bed);
    expect_vault_state(&bed, "sealed", "AES-256-GCM records");
    expect_secret_status(&bed, "acme", "db", STATUS_FAILED_PRECONDITION);
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_set(&bed, "SOLO_FAULT_NO_AES", "0");
    testbed_start(&bed);
    expect_secret(&bed, "acme", "db", canary);
}
