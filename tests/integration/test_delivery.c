/* Secrets of services: each start is given them, nobody else ever sees them, and a service whose
 * secrets cannot be had waits, and starts by itself when they can. */
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/buffer.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"
#include "tests/support/secrets.h"

TestSuite(delivery, .timeout = 300);

enum { WAIT_MS = 60 * 1000 };

static void put(const struct testbed *bed, const char *name, const char *value)
{
    char hex[4 + 512] = "hex:";
    hex_text(hex + 4, value, strlen(value));
    json_decref(
        testbed_ask(bed, "vaultd", "secret.put",
                    json_pack("{s:s, s:s, s:s}", "tenant", "acme", "name", name, "value", hex)));
}

/* Writes what it was given to its folder, and sleeps. */
static const char tells[] =
    "{ for f in db TLS_cert; do [ -e \"$CREDENTIALS_DIRECTORY/$f\" ] && stat -L -c \"$f %a %u\" "
    "\"$CREDENTIALS_DIRECTORY/$f\" && cat \"$CREDENTIALS_DIRECTORY/$f\" && echo; done; "
    "stat -c 'folder %a %u' \"$CREDENTIALS_DIRECTORY\"; echo \"key ${API_KEY-unset}\"; } > "
    "told.new; "
    "mv told.new told; exec sleep 1000000";

static json_t *spec_of(const char *name, const char *script, json_t *secrets)
{
    return json_pack("{s:s, s:s, s:[s, s, s], s:o}", "tenant", "acme", "name", name, "argv",
                     "/bin/sh", "-c", script, "secrets", secrets);
}

static json_t *three_secrets(void)
{
    return json_pack("[s, s, {s:s, s:s}]", "db", "TLS_cert", "name", "api-key", "as", "env");
}

/* What the service wrote last, which is removed; waits for it. */
static void await_told(const struct testbed *bed, const char *name, struct buffer *told)
{
    char path[600];
    snprintf(path, sizeof path, "%s/tenants/acme/%s/told", bed->data, name);
    *told = (struct buffer){ .limit = 4096 };
    for (int left_ms = WAIT_MS; access(path, F_OK) < 0; left_ms -= 20) {
        cr_assert_gt(left_ms, 0, "%s tells nothing", name);
        sleep_ms(20);
    }
    cr_assert_eq(file_read(path, told), STATUS_OK);
    buffer_append(told, "", 1);
    unlink(path);
}

static void expect_told(const struct testbed *bed, const char *name, const char *db,
                        const char *cert, const char *key)
{
    AUTO(buffer_close) struct buffer told = { 0 };
    char wanted[1024];
    await_told(bed, name, &told);
    const char *text = (const char *)told.data;
    const char *uid = strstr(text, "folder 500 ");
    cr_assert_not_null(uid, "%s", text);
    long number = strtol(uid + strlen("folder 500 "), NULL, 10);
    snprintf(wanted, sizeof wanted,
             "db 400 %ld\n%s\nTLS_cert 400 %ld\n%s\nfolder 500 %ld\nkey %s\n", number, db, number,
             cert, number, key);
    cr_assert_str_eq(text, wanted);
}

static void expect_reason(const struct testbed *bed, const char *name, const char *part)
{
    json_t *row = service_row_of(bed, "acme", name);
    expect_text(row, "state", "waiting_for_secret");
    expect_contains(text_in(row, "reason"), part);
    json_decref(row);
}

/* Not at once: the row is there before the vault was asked. */
static void await_reason(const struct testbed *bed, const char *name, const char *part)
{
    for (int left_ms = WAIT_MS; left_ms > 0; left_ms -= 20) {
        json_t *row = service_row_of(bed, "acme", name);
        const char *reason = row == NULL ? NULL : text_in(row, "reason");
        bool is_there = reason != NULL && strstr(reason, part) != NULL &&
                        strcmp(text_in(row, "state"), "waiting_for_secret") == 0;
        json_decref(row);
        if (is_there)
            return;
        sleep_ms(20);
    }
    expect_reason(bed, name, part);
}

static size_t folders_left(const struct testbed *bed, const char *name)
{
    char path[700];
    snprintf(path, sizeof path, "%s/tenants/acme/+credentials/%s", bed->run, name);
    return access(path, F_OK) == 0;
}

static void every_start_is_given_them(unsigned flags)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, flags);
    testbed_start(&bed);
    put(&bed, "db", "one");
    put(&bed, "TLS_cert", "two");
    put(&bed, "api-key", "three");
    uint64_t generation = service_deploy(&bed, spec_of("api", tells, three_secrets()));
    expect_told(&bed, "api", "one", "two", "three");
    service_await(&bed, "acme", "api", "running", WAIT_MS);

    /* a crash: `latest` is the newest at each start */
    put(&bed, "db", "one more");
    pid_t pid = service_pid(&bed, "acme", "api");
    process_signal(pid, SIGKILL);
    expect_told(&bed, "api", "one more", "two", "three");
    pid = service_await_new_pid(&bed, "acme", "api", pid, WAIT_MS);

    /* a restart that was asked for */
    json_decref(testbed_ask(&bed, "deployd", "service.restart",
                            json_pack("{s:s, s:s}", "tenant", "acme", "name", "api")));
    expect_told(&bed, "api", "one more", "two", "three");

    /* deployd and vaultd begin again meanwhile */
    process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL);
    process_signal(testbed_daemon(&bed, "deployd"), SIGKILL);
    pid = service_pid(&bed, "acme", "api");
    process_signal(pid, SIGKILL);
    expect_told(&bed, "api", "one more", "two", "three");

    /* a reboot */
    testbed_kill_everything(&bed);
    cr_assert_eq(directory_empty(bed.run), STATUS_OK);
    testbed_start(&bed);
    expect_told(&bed, "api", "one more", "two", "three");
    service_await(&bed, "acme", "api", "running", WAIT_MS);
    vault_await_told(&bed);
    uint64_t last = log_settled_id(&bed);
    cr_assert_gt(last, generation);

    /* the outcome tells which versions; who was given what stands in the log */
    json_t *events = events_after(&bed, 0);
    json_t *recovered = event_last(events, "service_recovered", "acme", "api");
    cr_assert_not_null(recovered);
    json_t *versions = json_object_get(json_object_get(recovered, "payload"), "secrets");
    expect_number(versions, "db", 2);
    expect_number(versions, "TLS_cert", 1);
    expect_number(versions, "api-key", 1);
    cr_assert_geq(events_count(events, "secret_accessed", NULL, NULL), 15);
    json_decref(events);

    service_kill(&bed, "acme", "api");
    cr_assert_eq(folders_left(&bed, "api"), 0);
}

Test(delivery, every_start_is_given_them)
{
    every_start_is_given_them(0);
}

Test(delivery, every_start_is_given_them_as_an_ordinary_user)
{
    every_start_is_given_them(TESTBED_AS_USER);
}

/* A deploy would end what runs, and wait: so that goes on, and whoever asked is told why. Where
 * nothing runs it waits. */
Test(delivery, a_deploy_without_its_secrets_replaces_nothing)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    struct problem problem = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    put(&bed, "db", "one");
    uint64_t generation = service_deploy(&bed, spec_of("api", "exec sleep 1000000", json_array()));
    service_await(&bed, "acme", "api", "running", WAIT_MS);
    pid_t pid = service_pid(&bed, "acme", "api");
    json_decref(testbed_ask(&bed, "vaultd", "vault.seal", NULL));
    for (int i = 0; i < 2; i++) { /* sealed, then open but without that secret */
        const char *name = i == 0 ? "db" : "none";
        json_t *spec = spec_of("api", "exec sleep 1000001", json_pack("[s]", name));
        enum status status = testbed_call(&bed, "deployd", "service.deploy",
                                          json_pack("{s:o}", "spec", spec), NULL, &problem);
        cr_assert_neq(status, STATUS_OK);
        expect_contains(problem.message, "runs on and was not replaced");
        expect_contains(problem.message, i == 0 ? "sealed" : "none");
        cr_assert_eq(service_pid(&bed, "acme", "api"), pid);
        if (i == 0)
            json_decref(testbed_ask(&bed, "vaultd", "vault.unseal", NULL));
    }
    uint64_t next =
        service_deploy(&bed, spec_of("api", "exec sleep 1000001", json_pack("[s]", "db")));
    cr_assert_gt(next, generation);
    service_await_new_pid(&bed, "acme", "api", pid, WAIT_MS);
    json_decref(testbed_ask(&bed, "vaultd", "vault.seal", NULL));
    service_deploy(&bed, spec_of("new", "exec sleep 1000000", json_pack("[s]", "db")));
    await_reason(&bed, "new", "sealed");
    /* The group that was made beside its commit goes with a service that never had a process. */
    char name[40], group[50];
    snprintf(name, sizeof name, "never-%d", (int)getpid());
    snprintf(group, sizeof group, "s-%s", name);
    service_deploy(&bed, spec_of(name, "exec sleep 1000000", json_pack("[s]", "db")));
    await_reason(&bed, name, "sealed");
    service_kill(&bed, "acme", name);
    AUTO(result_close) struct result found = { 0 };
    const char *const argv[] = { "/usr/bin/find",
                                 "/sys/fs/cgroup",
                                 "-ignore_readdir_race",
                                 "-type",
                                 "d",
                                 "-name",
                                 group,
                                 NULL };
    command_run(&(struct command){ .argv = argv, .environment = testbed_environment(&bed) },
                &found);
    cr_assert_str_eq(result_out(&found), "");
}

/* A restart would end it, and wait: so it goes on, and whoever asked is told why. */
Test(delivery, a_restart_without_its_secrets_leaves_it_running)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    put(&bed, "db", "one");
    service_deploy(&bed, spec_of("api", "exec sleep 1000000", json_pack("[s]", "db")));
    service_await(&bed, "acme", "api", "running", WAIT_MS);
    pid_t pid = service_pid(&bed, "acme", "api");
    json_decref(testbed_ask(&bed, "vaultd", "vault.seal", NULL));
    testbed_soloctl(&bed, &result, "restart", "acme/api", NULL);
    expect_exit(&result, status_exit_code(STATUS_FAILED_PRECONDITION));
    expect_contains(result_err(&result), "runs on");
    expect_contains(result_err(&result), "sealed");
    cr_assert_eq(service_pid(&bed, "acme", "api"), pid);
    json_decref(testbed_ask(&bed, "vaultd", "vault.unseal", NULL));
    vault_await_told(&bed);
    uint64_t before = log_settled_id(&bed);
    testbed_soloctl(&bed, &result, "restart", "acme/api", NULL);
    expect_exit(&result, 0);
    service_await_new_pid(&bed, "acme", "api", pid, WAIT_MS);
    vault_await_told(&bed);
    log_settled_id(&bed);
    json_t *events = events_after(&bed, before);
    cr_assert_eq(events_count(events, "secret_accessed", NULL, NULL), 1, "asking is no access");
    json_decref(events);
}

Test(delivery, what_cannot_be_had_is_waited_for)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    put(&bed, "db", "one");
    put(&bed, "TLS_cert", "two");

    /* missing: the deploy is answered, and it starts when the last one was put */
    json_t *reply = testbed_ask(
        &bed, "deployd", "service.deploy",
        json_pack("{s:o, s:b}", "spec", spec_of("api", tells, three_secrets()), "wait", 1));
    expect_text(reply, "state", "waiting_for_secret");
    json_decref(reply);
    testbed_soloctl(&bed, &result, "deploy", "acme/script", "--secret", "nosuch", "--wait", "--",
                    "/bin/sleep", "1000", NULL);
    expect_exit(&result, 6);
    expect_contains(result_out(&result), "waiting_for_secret");
    expect_contains(result_err(&result), "acme/script is deployed and not ready");
    expect_reason(&bed, "api", "secret api-key: there is no such secret");
    testbed_recoveryd(&bed, &result, "--dry-run", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "a secret it names cannot be read yet");
    json_decref(testbed_ask(&bed, "deployd", "service.restart",
                            json_pack("{s:s, s:s}", "tenant", "acme", "name", "api")));
    await_reason(&bed, "api", "secret api-key: there is no such secret");
    put(&bed, "api-key", "three");
    expect_told(&bed, "api", "one", "two", "three");
    service_await(&bed, "acme", "api", "running", WAIT_MS);

    /* sealed: what runs goes on, what crashes waits, what needs none runs */
    json_decref(testbed_ask(&bed, "vaultd", "vault.seal", NULL));
    cr_assert_eq(service_pid(&bed, "acme", "api") > 0, true);
    process_signal(service_pid(&bed, "acme", "api"), SIGKILL);
    await_reason(&bed, "api", "vault");
    service_deploy_sleeper(&bed, "acme", "other");
    json_decref(testbed_ask(&bed, "vaultd", "vault.unseal", NULL));
    expect_told(&bed, "api", "one", "two", "three");

    /* a version that is not there yet, an optional one, a kill while it waits */
    service_deploy(&bed, spec_of("pinned", tells,
                                 json_pack("[{s:s, s:i}, {s:s, s:b}]", "name", "TLS_cert",
                                           "version", 2, "name", "never", "required", 0)));
    await_reason(&bed, "pinned", "secret TLS_cert version 2");
    service_kill(&bed, "acme", "pinned");
    service_deploy(&bed, spec_of("pinned", tells,
                                 json_pack("[{s:s, s:i}, {s:s, s:b}]", "name", "TLS_cert",
                                           "version", 2, "name", "never", "required", 0)));
    await_reason(&bed, "pinned", "secret TLS_cert version 2");
    put(&bed, "TLS_cert", "second");
    put(&bed, "TLS_cert", "third");
    AUTO(buffer_close) struct buffer told = { 0 };
    await_told(&bed, "pinned", &told);
    expect_contains((const char *)told.data, "second");
    expect_contains((const char *)told.data, "key unset");
    expect_lacks((const char *)told.data, "third");

    /* a value that cannot be in an environment */
    json_decref(testbed_ask(
        &bed, "vaultd", "secret.put",
        json_pack("{s:s, s:s, s:s}", "tenant", "acme", "name", "api-key", "value", "hex:610062")));
    process_signal(service_pid(&bed, "acme", "api"), SIGKILL);
    await_reason(&bed, "api", "NUL inside");
    put(&bed, "api-key", "fine");
    expect_told(&bed, "api", "one", "third", "fine");
}

Test(delivery, naming_secrets_takes_the_right_to_read_them)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    struct problem problem = { 0 };
    static const char *const permissions[] = { "deploy,read", "deploy,read,secrets:read" };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    put(&bed, "db", "one");
    for (size_t i = 0; i < COUNT_OF(permissions); i++) {
        char token[256];
        testbed_soloctl(&bed, &result, "token", "create", "-t", "acme", "--permission",
                        permissions[i], NULL);
        expect_exit(&result, 0);
        snprintf(token, sizeof token, "%s", result_out(&result));
        token[strcspn(token, "\n")] = '\0';
        enum status status =
            testbed_call(&bed, "deployd", "service.deploy",
                         json_pack("{s:o, s:s}", "spec",
                                   spec_of("api", tells, json_pack("[s]", "db")), "token", token),
                         NULL, &problem);
        if (i == 0)
            expect_refused(status, STATUS_PERMISSION_DENIED, &problem, "secrets");
        else
            cr_assert_eq(status, STATUS_OK, "%s: %s", problem.field, problem.message);
        result_close(&result);
    }
}

/* Where it must never be: what the programs wrote, and what the kernel shows of their processes. */
static void expect_nowhere(const struct testbed *bed, const char *value, const char *except)
{
    AUTO(result_close) struct result result = { 0 };
    pid_t pids[256];
    char control[400];
    bool finds_control = false;
    snprintf(control, sizeof control, "%s/control", bed->dir);
    cr_assert_eq(file_write(control, span_of_text(value), 0600), STATUS_OK);
    const char *const argv[] = { "/bin/grep", "-r", "-l", "-a", "-F", "-e", value, bed->dir, NULL };
    command_run(&(struct command){ .argv = argv, .environment = testbed_environment(bed) },
                &result);
    cr_assert(result.exit_code == 0 || result.exit_code == 1, "%s", result_err(&result));
    for (char *line = strtok((char *)result_out(&result), "\n"); line != NULL;
         line = strtok(NULL, "\n")) {
        bool is_control = strcmp(line, control) == 0;
        finds_control = finds_control || is_control;
        if (!is_control)
            expect_contains(line, except);
    }
    cr_assert(finds_control, "this search finds nothing");
    size_t count = testbed_processes(bed, pids, COUNT_OF(pids));
    cr_assert_gt(count, 5);
    for (size_t i = 0; i < count; i++) {
        static const char *const files[] = { "cmdline", "environ" };
        for (size_t file = 0; file < COUNT_OF(files); file++) {
            char path[64];
            AUTO(buffer_close) struct buffer content = { .limit = 1 << 20 };
            snprintf(path, sizeof path, "/proc/%d/%s", pids[i], files[file]);
            if (file_read(path, &content) == STATUS_OK)
                cr_assert_null(memmem(content.data, content.size, value, strlen(value)), "%s",
                               path);
        }
    }
}

Test(delivery, a_value_is_nowhere_but_in_its_file)
{
    static const char value[] = "quagga-8862-canary-value";
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    put(&bed, "db", value);
    service_deploy(&bed,
                   spec_of("api", "test -s \"$CREDENTIALS_DIRECTORY/db\" && exec sleep 1000000",
                           json_pack("[s]", "db")));
    service_await(&bed, "acme", "api", "running", WAIT_MS);
    testbed_recoveryd(&bed, &result, "--dry-run", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "Vault    open");
    expect_nowhere(&bed, value, "/+credentials/api/db");
}

/* The secret_access_denied of this method, told to acme; waits for it. */
static json_t *await_denied(const struct testbed *bed, const char *method)
{
    json_t *denied = NULL;
    for (int left_ms = WAIT_MS; denied == NULL && left_ms > 0; left_ms -= 50) {
        sleep_ms(50);
        json_t *events = events_after(bed, 0);
        json_t *event;
        size_t i;
        json_array_foreach(events, i, event)
        {
            if (denied == NULL && strcmp(text_in(event, "type"), "secret_access_denied") == 0 &&
                strcmp(text_in(json_object_get(event, "payload"), "method"), method) == 0)
                denied = json_incref(event);
        }
        json_decref(events);
    }
    cr_assert_not_null(denied, "no secret_access_denied of %s", method);
    expect_text(denied, "tenant", "acme");
    return denied;
}

Test(delivery, who_was_not_given_a_secret_is_in_the_log)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    struct problem problem = { 0 };
    char token[256];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    put(&bed, "db", "one");
    testbed_soloctl(&bed, &result, "token", "create", "-t", "acme", "--permission", "read", NULL);
    expect_exit(&result, 0);
    snprintf(token, sizeof token, "%s", result_out(&result));
    token[strcspn(token, "\n")] = '\0';
    enum status status =
        testbed_call(&bed, "vaultd", "secret.read",
                     json_pack("{s:s, s:s, s:s}", "tenant", "acme", "name", "db", "token", token),
                     NULL, &problem);
    expect_refused(status, STATUS_PERMISSION_DENIED, &problem, NULL);
    json_t *denied = await_denied(&bed, "secret.read");
    json_t *payload = json_object_get(denied, "payload");
    expect_text(payload, "reason", "permission_denied");
    json_decref(denied);

    /* another tenant's: told to its own, and named as what it is */
    status =
        testbed_call(&bed, "vaultd", "secret.describe",
                     json_pack("{s:s, s:s, s:s}", "tenant", "beta", "name", "db", "token", token),
                     NULL, &problem);
    expect_refused(status, STATUS_UNAUTHENTICATED, &problem, NULL);
    denied = await_denied(&bed, "secret.describe");
    payload = json_object_get(denied, "payload");
    expect_text(denied, "subject", "secret");
    expect_text(payload, "tenant", "beta");
    expect_text(payload, "name", "db");
    json_decref(denied);
}
