/* A daemon that cannot start, or that does not answer: the others do what they can without it, and
 * a person is told which one it is. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/run_folder.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"
#include "tests/support/secrets.h"

TestSuite(missing, .timeout = 180);

enum { WAIT_MS = 60 * 1000 };

/* The programs in a folder of their own: solod looks for the others beside itself. */
static void programs_copy(struct testbed *bed)
{
    static const char *const linked[] = { "eventd",  "tokend",    "vaultd", "deployd",
                                          "tenantd", "recoveryd", "soloctl" };
    AUTO(buffer_close) struct buffer solod = { .limit = 512 * 1024 * 1024 };
    char from[4200], to[400], folder[300];
    snprintf(folder, sizeof folder, "%s/others", bed->dir);
    cr_assert_eq(directory_make(folder, 0755), STATUS_OK);
    for (size_t i = 0; i < COUNT_OF(linked); i++) {
        snprintf(from, sizeof from, "%s/%s", bed->bin, linked[i]);
        snprintf(to, sizeof to, "%s/%s", folder, linked[i]);
        cr_assert_eq(symlink(from, to), 0);
    }
    snprintf(from, sizeof from, "%s/solod", bed->bin);
    snprintf(to, sizeof to, "%s/solod", folder);
    cr_assert_eq(file_read(from, &solod), STATUS_OK);
    cr_assert_eq(file_write(to, buffer_span(&solod), 0755), STATUS_OK);
    snprintf(bed->bin, sizeof bed->bin, "%s", folder);
}

/* Puts `script`, or with NULL what was there before, in the place of a program, at once. */
static void program_replace(const struct testbed *bed, const char *name, const char *script)
{
    char path[4200], before[4300], made[4300];
    snprintf(path, sizeof path, "%s/%s", bed->bin, name);
    snprintf(before, sizeof before, "%s.before", path);
    snprintf(made, sizeof made, "%s.made", path);
    if (script == NULL) {
        cr_assert_eq(rename(before, path), 0);
        return;
    }
    cr_assert_eq(file_write(made, span_of_text(script), 0755), STATUS_OK);
    cr_assert_eq(rename(path, before), 0);
    cr_assert_eq(rename(made, path), 0);
}

static void expect_said(const struct testbed *bed, int exit_code, const char *what)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(bed, &result, "wait", "--ready", "--timeout", "60s", NULL);
    expect_exit(&result, exit_code);
    expect_contains(result_out(&result), what);
    testbed_soloctl(bed, &result, "status", "--check", NULL);
    expect_exit(&result, exit_code);
    expect_contains(result_out(&result), what);
}

Test(missing, services_without_secrets_run_while_vaultd_and_tokend_cannot_start)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    programs_copy(&bed);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "plain");
    cr_assert_eq(secret_put(&bed, "acme", "db", "v"), STATUS_OK);
    service_deploy(&bed, json_pack("{s:s, s:s, s:[s, s], s:[s]}", "tenant", "acme", "name",
                                   "sealed", "argv", "/bin/sleep", "1000000", "secrets", "db"));
    cr_assert_eq(testbed_stop(&bed), 0);
    program_replace(&bed, "vaultd", "#!/bin/sh\nexit 3\n");
    program_replace(&bed, "tokend", "#!/bin/sh\nexit 4\n");
    testbed_start(&bed);
    service_await(&bed, "acme", "plain", "running", WAIT_MS);
    service_await(&bed, "acme", "sealed", "waiting_for_secret", WAIT_MS);
    service_deploy_sleeper(&bed, "acme", "more");
    service_kill(&bed, "acme", "more");
    expect_said(&bed, 3, "vaultd is ");
    expect_said(&bed, 3, "tokend is ");
    program_replace(&bed, "vaultd", NULL);
    program_replace(&bed, "tokend", NULL);
    service_await(&bed, "acme", "sealed", "running", WAIT_MS);
    for (int left_ms = WAIT_MS; left_ms > 0; left_ms -= 100) {
        AUTO(result_close) struct result result = { 0 };
        testbed_soloctl(&bed, &result, "status", "--check", NULL);
        if (result.exit_code == 0)
            break;
        sleep_ms(100);
    }
    expect_said(&bed, 0, "ready");
}

Test(missing, what_does_not_answer_is_named_and_costs_little_patience)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    static const char *const daemons[] = { "eventd", "deployd", "tokend", "vaultd" };
    pid_t pids[COUNT_OF(daemons)];
    for (size_t i = 0; i < COUNT_OF(daemons); i++) {
        pids[i] = testbed_daemon(&bed, daemons[i]);
        cr_assert_eq(process_signal(pids[i], SIGSTOP), 0);
    }
    uint64_t began_ns = clock_boottime_ns();
    testbed_soloctl(&bed, &result, "-o", "json", "daemon", "list", NULL);
    expect_exit(&result, 0);
    json_t *document = result_json(&result), *item;
    size_t i, silent = 0, supervisors = 0;
    json_array_foreach(json_object_get(document, "items"), i, item)
    {
        silent += strcmp(text_in(item, "state"), "silent") == 0;
        supervisors += strcmp(text_in(item, "name"), "tenantd") == 0;
        cr_assert_gt(number_in(item, "pid"), 0, "known all the same: %s", result_out(&result));
    }
    cr_assert_eq(silent, COUNT_OF(daemons), "%s", result_out(&result));
    cr_assert_eq(supervisors, 1, "by its lock: %s", result_out(&result));
    json_decref(document);
    testbed_soloctl(&bed, &result, "status", "--check", NULL);
    expect_exit(&result, 3);
    expect_contains(result_out(&result), "eventd does not answer");
    expect_contains(result_out(&result), "soloctl daemon restart vaultd");
    /* Each within 2 s; the bound leaves room for a busy machine, not for a wait in a row. */
    cr_assert_lt(clock_boottime_ns() - began_ns, 15 * NS_PER_S);
    for (i = 0; i < COUNT_OF(daemons); i++)
        cr_assert_eq(process_signal(pids[i], SIGCONT), 0);
}

static pid_t wait_begin(const struct testbed *bed, char output[400])
{
    char soloctl[4200];
    snprintf(output, 400, "%s/waiting", bed->dir);
    snprintf(soloctl, sizeof soloctl, "%s/soloctl", bed->bin);
    const char *const argv[] = { soloctl,   "--run",     bed->run, "wait",
                                 "--ready", "--timeout", "600s",   NULL };
    return command_start(&(struct command){ .argv = argv, .environment = testbed_environment(bed) },
                         output);
}

static void expect_wait_is_over(pid_t pid, const char *output, const char *what)
{
    AUTO(buffer_close) struct buffer text = { .limit = 64 * 1024 };
    int exit_code = command_wait(pid, WAIT_MS);
    cr_assert_eq(file_read(output, &text), STATUS_OK);
    cr_assert_eq(buffer_append(&text, "", 1), STATUS_OK);
    cr_assert_eq(exit_code, 9, "exit code %d: %s", exit_code, (const char *)text.data);
    expect_contains((const char *)text.data, what);
}

Test(missing, wait_ready_is_over_when_solod_has_ended)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char output[400], socket[4096];
    testbed_open(&bed, 0);
    programs_copy(&bed);
    program_replace(&bed, "eventd", "#!/bin/sh\nexec sleep 1000\n");
    testbed_launch(&bed, NULL);
    pid_t pid = wait_begin(&bed, output);
    while (access(testbed_socket(&bed, "eventd", socket), F_OK) != 0)
        sleep_ms(10);
    cr_assert_eq(command_wait(pid, 500), -1, "it is being started");
    cr_assert_eq(process_signal(bed.solod, SIGKILL), 0);
    cr_assert_geq(command_wait(bed.solod, WAIT_MS), 0);
    bed.solod = 0;
    expect_wait_is_over(pid, output, "solod has ended");
}

/* A crash right behind its start, and the next start: the lock was taken just before the wait. */
Test(missing, wait_ready_waits_for_the_solod_after_one_that_was_killed)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char output[400], lock[4096];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    testbed_kill_everything(&bed);
    cr_assert_eq(run_internal_path(lock, bed.run, "solod.lock"), STATUS_OK);
    cr_assert_eq(utimensat(AT_FDCWD, lock, NULL, 0), 0);
    pid_t pid = wait_begin(&bed, output);
    cr_assert_eq(command_wait(pid, 300), -1, "the next may be on its way");
    testbed_launch(&bed, NULL);
    cr_assert_eq(command_wait(pid, WAIT_MS), 0);
}

/* Its socket stays open: who asks is not left waiting, and is told what it said. */
Test(missing, a_deployd_that_cannot_start_is_told_and_holds_nobody_up)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char registry[400];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    cr_assert_eq(testbed_stop(&bed), 0);
    snprintf(registry, sizeof registry, "%s/registry", bed.run);
    cr_assert_eq(directory_empty(registry), STATUS_OK);
    cr_assert_eq(rmdir(registry), 0);
    cr_assert_eq(file_write(registry, span_of_text(""), 0644), STATUS_OK);
    testbed_set(&bed, "SOLO_SHUTDOWN_TIMEOUT_MS", "100000");
    testbed_launch(&bed, NULL);
    for (int left_ms = WAIT_MS; left_ms > 0; left_ms -= 100) {
        testbed_soloctl(&bed, &result, "status", "--check", NULL);
        if (strstr(result_out(&result), "deployd is backoff after exit code") != NULL &&
            strstr(result_out(&result), registry) != NULL)
            break;
        sleep_ms(100);
    }
    expect_exit(&result, 3);
    expect_contains(result_out(&result), registry);
    testbed_soloctl(&bed, &result, "get", "services", NULL);
    expect_exit(&result, 9);
    expect_contains(result_err(&result), registry);
    uint64_t began_ns = clock_boottime_ns();
    cr_assert_eq(testbed_stop(&bed), 0, "nothing was held, nothing was killed");
    /* Not the whole shutdown_timeout_ms. */
    cr_assert_lt(clock_boottime_ns() - began_ns, 60 * NS_PER_S);
}

/* Nobody has seen it listen. */
Test(missing, wait_ready_is_over_when_solod_could_not_start)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char output[400], marker[400];
    testbed_open(&bed, 0);
    cr_assert_eq(directory_make(bed.data, 0755), STATUS_OK);
    snprintf(marker, sizeof marker, "%s/%s", bed.data, RESTORE_MARKER);
    cr_assert_eq(file_write(marker, span_of_text(""), 0644), STATUS_OK);
    pid_t pid = wait_begin(&bed, output);
    cr_assert_eq(command_wait(pid, 500), -1, "it may be started yet");
    testbed_launch(&bed, NULL);
    cr_assert_neq(command_wait(bed.solod, WAIT_MS), 0);
    bed.solod = 0;
    expect_wait_is_over(pid, output, "solod has ended");
}
