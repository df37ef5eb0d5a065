/* A backup while Solo works, and the drill of putting it back. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(backup, .timeout = 180);

enum { PATIENCE_MS = 60000 };

static struct testbed bed;
static char backup[400], token_file[400];

static void set_up(void)
{
    testbed_open(&bed, 0);
    snprintf(backup, sizeof backup, "%s/backup", bed.dir);
    snprintf(token_file, sizeof token_file, "%s/agent.token", bed.dir);
    testbed_start(&bed);
}

static void tear_down(void)
{
    testbed_close(&bed);
}

static void run(const char *input, int exit_code, const char *first, const char *second,
                const char *third, const char *fourth)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl_input(&bed, &result, input, first, second, third, fourth, NULL);
    expect_exit(&result, exit_code);
}

static void make_backup(void)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(&bed, &result, "backup", backup, NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "vault.key");
}

static void restore(int exit_code, const char *words)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(&bed, &result, "restore", backup, "--data", bed.data, NULL);
    expect_exit(&result, exit_code);
    expect_contains(exit_code == 0 ? result_out(&result) : result_err(&result), words);
}

/* The disk is lost: only the backup and the vault's key are left. */
static void lose_data(void)
{
    char from[400], kept[400];
    AUTO(buffer_close) struct buffer key = { .limit = 4096 };
    snprintf(from, sizeof from, "%s/vault.key", bed.data);
    snprintf(kept, sizeof kept, "%s/vault.key", bed.dir);
    cr_assert_eq(rename(from, kept), 0);
    cr_assert_eq(directory_empty(bed.data), STATUS_OK);
    cr_assert_eq(rename(kept, from), 0);
}

static void expect_value(const char *secret, const char *value)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(&bed, &result, "secret", "read", secret, "--reveal", NULL);
    expect_exit(&result, 0);
    cr_assert_str_eq(result_out(&result), value);
}

Test(backup, what_was_backed_up_is_there_after_the_disk_was_lost, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result granted = { 0 }, verified = { 0 }, used = { 0 };
    uint64_t generation = service_deploy_sleeper(&bed, "acme", "api");
    run("very secret", 0, "secret", "set", "acme/db-password", NULL);
    testbed_soloctl(&bed, &granted, "token", "create", "-t", "acme", "--permission", "read",
                    "--out", token_file, NULL);
    expect_exit(&granted, 0);
    pid_t pid = service_pid(&bed, "acme", "api");
    make_backup();
    cr_assert_eq(service_pid(&bed, "acme", "api"), pid);
    run("", 6, "backup", backup, NULL, NULL); /* it is there already */
    service_deploy_sleeper(&bed, "acme", "later");
    cr_assert_eq(testbed_stop(&bed), 0);

    restore(6, "there is a store");
    lose_data();
    restore(0, "is in its place");
    testbed_start(&bed);
    service_await(&bed, "acme", "api", "running", 30000);
    json_t *row = service_row_of(&bed, "acme", "api");
    expect_number(row, "generation", generation);
    json_decref(row);
    row = service_row_of(&bed, "acme", "later");
    cr_assert_null(row, "it was deployed after the backup");
    expect_value("acme/db-password", "very secret");
    testbed_soloctl(&bed, &used, "--token-file", token_file, "get", "services", NULL);
    expect_exit(&used, 0);
    testbed_recoveryd(&bed, &verified, "verify", "--full", "--detailed-exitcode", NULL);
    expect_exit(&verified, 0);
    /* New events of tokend and vaultd reach the log under their new incarnations. */
    uint64_t before = log_settled_id(&bed);
    run("another", 0, "secret", "set", "acme/db-password", NULL);
    testbed_soloctl(&bed, &granted, "token", "create", "-t", "acme", "--permission", "read", NULL);
    expect_exit(&granted, 0);
    for (int waited = 0;; waited += 50) {
        json_t *events = events_after(&bed, before);
        bool are_there = events_count(events, "secret_stored", NULL, NULL) == 1 &&
                         events_count(events, "capability_granted", NULL, NULL) == 1;
        json_decref(events);
        if (are_there)
            break;
        cr_assert_lt(waited, 30000);
        sleep_ms(50);
    }
}

/* Solo is killed, its supervisors and services live on; then DATA is moved away. */
static void lose_data_behind_living_supervisors(pid_t *supervisor, pid_t *service)
{
    char moved[400];
    *supervisor = testbed_supervisor(&bed, "acme");
    *service = service_pid(&bed, "acme", "api");
    testbed_kill_solod(&bed);
    cr_assert(process_is_alive(*service), "a service outlives solod");
    snprintf(moved, sizeof moved, "%s.lost", bed.data);
    cr_assert_eq(rename(bed.data, moved), 0);
}

static void expect_plan(uint64_t to_start)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(&bed, &result, "--dry-run", "-o", "json", NULL);
    expect_exit(&result, 0);
    json_t *plan = result_json(&result);
    json_t *summary = json_object_get(plan, "summary");
    expect_number(summary, "start", to_start);
    expect_number(summary, "keep", 0);
    expect_number(summary, "replace", 0);
    expect_number(summary, "report", 0);
    json_decref(plan);
}

/* What it is asked for happens: nobody fences it with numbers of another log. */
static void expect_obeyed(void)
{
    pid_t pid = service_pid(&bed, "acme", "api");
    run("", 0, "restart", "acme/api", NULL, NULL);
    pid_t now = service_await_new_pid(&bed, "acme", "api", pid, 10000);
    service_deploy_sleeper(&bed, "acme", "api");
    cr_assert(process_wait_gone(now, PATIENCE_MS),
              "a redeploy was answered ok and not carried out");
    pid = service_pid(&bed, "acme", "api");
    service_kill(&bed, "acme", "api");
    cr_assert(process_wait_gone(pid, PATIENCE_MS), "a kill was answered ok and not carried out");
}

static void restore_behind_living_supervisors(unsigned flags)
{
    pid_t supervisor, service;
    testbed_open(&bed, flags);
    snprintf(backup, sizeof backup, "%s/backup", bed.dir);
    testbed_start(&bed);
    uint64_t generation = service_deploy_sleeper(&bed, "acme", "api");
    make_backup();
    service_deploy_sleeper(&bed, "acme", "later");
    for (int i = 0; i < 3; i++)
        service_deploy_sleeper(&bed, "acme", "api");
    pid_t later = service_pid(&bed, "acme", "later");
    lose_data_behind_living_supervisors(&supervisor, &service);
    restore(0, "is in its place");
    expect_plan(1);
    testbed_start(&bed);
    service_await(&bed, "acme", "api", "running", 30000);
    cr_assert(process_wait_gone(supervisor, PATIENCE_MS),
              "a supervisor of the lost log was adopted");
    cr_assert(process_wait_gone(service, PATIENCE_MS), "two instances of one service");
    cr_assert(process_wait_gone(later, PATIENCE_MS), "a process outlives its supervisor");
    cr_assert_null(service_row_of(&bed, "acme", "later"), "it was deployed after the backup");
    json_t *row = service_row_of(&bed, "acme", "api");
    expect_number(row, "generation", generation);
    json_decref(row);
    uint64_t before = log_settled_id(&bed);
    expect_obeyed();
    event_await(&bed, before, "service_restarted", "acme", "api", 10000);
    AUTO(result_close) struct result verified = { 0 };
    testbed_recoveryd(&bed, &verified, "verify", "--detailed-exitcode", NULL);
    expect_exit(&verified, 0);
    testbed_close(&bed);
}

Test(backup, a_restore_behind_living_supervisors_ends_them)
{
    restore_behind_living_supervisors(0);
}

Test(backup, a_restore_behind_living_supervisors_ends_them_as_a_user)
{
    restore_behind_living_supervisors(TESTBED_AS_USER);
}

Test(backup, supervisors_of_a_data_directory_that_was_removed_end, .init = set_up,
     .fini = tear_down)
{
    pid_t supervisor, service;
    service_deploy_sleeper(&bed, "acme", "api");
    lose_data_behind_living_supervisors(&supervisor, &service);
    cr_assert_eq(mkdir(bed.data, 0755), 0);
    expect_plan(0);
    testbed_start(&bed);
    cr_assert(process_wait_gone(supervisor, PATIENCE_MS));
    cr_assert(process_wait_gone(service, PATIENCE_MS));
    cr_assert_null(service_row_of(&bed, "acme", "api"), "the new log knows of nothing");
    service_deploy_sleeper(&bed, "acme", "api");
    expect_obeyed();
}

/* The marks of processes, and cgroups, are those of the original. */
Test(backup, a_copy_that_is_started_beside_its_original_ends_nothing, .init = set_up,
     .fini = tear_down)
{
    struct testbed copy;
    AUTO(result_close) struct result result = { 0 };
    service_deploy_sleeper(&bed, "acme", "api");
    make_backup();
    pid_t pid = service_pid(&bed, "acme", "api");
    testbed_open(&copy, 0);
    testbed_soloctl(&copy, &result, "restore", backup, "--data", copy.data, NULL);
    expect_exit(&result, 0);
    testbed_launch(&copy, NULL);
    for (int waited = 0; testbed_log_count(&copy, "another Solo runs with a copy") == 0;
         waited += 50) {
        cr_assert_lt(waited, 30000);
        sleep_ms(50);
    }
    cr_assert(process_is_alive(pid));
    cr_assert_eq(service_pid(&bed, "acme", "api"), pid);
    cr_assert_eq(testbed_stop(&bed), 0);
    cr_assert(testbed_wait_ready(&copy, 60000), "then it goes on by itself");
    service_await(&copy, "acme", "api", "running", 30000);
    testbed_close(&copy);
}

/* A set-user-id program is root's at once, whoever gave it these arguments. */
Test(backup, a_process_that_only_looks_like_a_supervisor_keeps_nobody_waiting, .init = set_up,
     .fini = tear_down)
{
    char pretended[300], sleeper[4096];
    AUTO(buffer_close) struct buffer line = { .limit = 64 << 10 };
    service_deploy_sleeper(&bed, "acme", "api");
    cr_assert(process_read(testbed_supervisor(&bed, "acme"), "cmdline", &line));
    const char *id = "--store-id", *at = memmem(line.data, line.size, id, strlen(id) + 1);
    cr_assert_not_null(at);
    snprintf(pretended, sizeof pretended, "%s/tenantd", bed.dir);
    cr_assert_eq(symlink(testbed_program(&bed, "sleeper", sleeper), pretended), 0);
    const char *const argv[] = { pretended, id,  at + strlen(id) + 1, "--run", bed.dir, "--data",
                                 bed.dir,   NULL };
    pid_t pretender = command_start(
        &(struct command){ .argv = argv, .environment = testbed_environment(&bed) }, "/dev/null");
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_start(&bed);
    service_await(&bed, "acme", "api", "running", 30000);
    process_signal(pretender, SIGKILL);
}

Test(backup, a_backup_that_was_not_finished_or_is_damaged_is_not_put_back, .init = set_up,
     .fini = tear_down)
{
    char manifest[500], kept[500], log[4096];
    service_deploy_sleeper(&bed, "acme", "api");
    cr_assert_eq(testbed_stop(&bed), 0); /* a clean end writes the row that is looked for below */
    testbed_start(&bed);
    make_backup();
    cr_assert_eq(testbed_stop(&bed), 0);
    lose_data();
    snprintf(manifest, sizeof manifest, "%s/backup.json", backup);
    snprintf(kept, sizeof kept, "%s/backup.json.kept", backup);
    cr_assert_eq(rename(manifest, kept), 0);
    restore(65, "not finished");
    cr_assert_eq(rename(kept, manifest), 0);

    /* A daemon that was started by something else than solod. */
    {
        AUTO(file_lock_release) struct file_lock lease = FILE_LOCK_NONE;
        cr_assert_eq(path_join(log, bed.data, "vault.lock"), STATUS_OK);
        cr_assert_eq(file_lock_take(&lease, log, 0), STATUS_OK);
        restore(75, "a Solo runs there");
    }

    snprintf(log, sizeof log, "%s/events/data.mdb", backup);
    struct stat whole;
    cr_assert_eq(stat(log, &whole), 0);
    AUTO(buffer_close) struct buffer bytes = { .limit = 64 << 20 };
    cr_assert_eq(file_read(log, &bytes), STATUS_OK);
    cr_assert_eq(truncate(log, whole.st_size / 2), 0);
    restore(86, "data_loss");
    /* What is half there starts nothing, and is made whole by the same command. */
    testbed_launch(&bed, NULL);
    cr_assert_eq(command_wait(bed.solod, PATIENCE_MS), 6);
    bed.solod = 0;
    /* A row that no open reads: what is put back was read whole. */
    static const char head[] = "tacme";
    uint8_t *row = memmem(bytes.data, bytes.size, head, sizeof head - 1);
    cr_assert_not_null(row);
    row[sizeof head] ^= 1;
    cr_assert_eq(file_write_durably(log, buffer_span(&bytes), 0600), STATUS_OK);
    restore(86, "the backup is damaged");
    row[sizeof head] ^= 1;
    cr_assert_eq(file_write_durably(log, buffer_span(&bytes), 0600), STATUS_OK);
    restore(0, "is in its place");
    testbed_start(&bed);
    service_await(&bed, "acme", "api", "running", 30000);
}

/* A daemon that hangs, before or while it copies, holds nobody up who asked for a backup. */
/* RUN is emptied at a boot, and a store's folder is set aside with the store. */
Test(backup, it_goes_where_it_outlives_what_it_is_of, .init = set_up, .fini = tear_down)
{
    const struct {
        const char *folder, *words;
    } wrong[] = { { "run", "lies in RUN" }, { "data/events", "is the folder of a store" } };
    char place[500];
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        AUTO(result_close) struct result result = { 0 };
        snprintf(place, sizeof place, "%s/%s/backup", bed.dir, wrong[i].folder);
        testbed_soloctl(&bed, &result, "backup", place, NULL);
        expect_exit(&result, 6);
        expect_contains(result_err(&result), wrong[i].words);
        cr_assert_neq(access(place, F_OK), 0, "nothing is left there");
    }
    snprintf(place, sizeof place, "%s/backup", bed.data); /* where the units may write */
    run("", 0, "backup", place, NULL, NULL);
}

static void expect_silent(const char *daemon, const char *store)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(&bed, &result, "backup", backup, NULL);
    expect_exit(&result, 7);
    expect_contains(result_err(&result), daemon);
    expect_contains(result_err(&result), store);
    cr_assert_eq(directory_remove(backup), STATUS_OK);
}

Test(backup, of_a_daemon_that_hangs_is_given_up_and_it_is_named, .init = set_up, .fini = tear_down)
{
    pid_t vaultd = testbed_daemon(&bed, "vaultd");
    process_signal(vaultd, SIGSTOP);
    expect_silent("vaultd does not answer", "(vault)");
    process_signal(vaultd, SIGCONT);
    make_backup();
}

Test(backup, of_a_daemon_that_hangs_in_the_middle_is_given_up, .fini = tear_down)
{
    char path[4200], begun[512];
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_FAULT_BOUND", "copy_us:events:120000000");
    snprintf(backup, sizeof backup, "%s/backup", bed.dir);
    testbed_start(&bed);
    snprintf(path, sizeof path, "%s/soloctl", bed.bin);
    snprintf(begun, sizeof begun, "%s/events", backup);
    const char *const argv[] = { path, "--run", bed.run, "backup", backup, NULL };
    struct command command = { .argv = argv, .environment = testbed_environment(&bed) };
    pid_t eventd = testbed_daemon(&bed, "eventd"), soloctl = command_start(&command, bed.log);
    for (int waited = 0; access(begun, F_OK) != 0; waited += 20) {
        cr_assert_lt(waited, 60000);
        sleep_ms(20);
    }
    process_signal(eventd, SIGSTOP);
    cr_expect_eq(command_wait(soloctl, 60000), 7);
    process_signal(eventd, SIGCONT);
    cr_expect_eq(testbed_log_count(&bed, "eventd does not answer"), 1);
}

Test(backup, a_backup_is_made_while_services_are_deployed_and_reads_back, .init = set_up,
     .fini = tear_down)
{
    AUTO(result_close) struct result verified = { 0 };
    char run_dir[400], data_dir[400];
    const char *soloctl[] = { NULL, "--run", bed.run, "backup", backup, NULL };
    char program[4200], log[400];
    snprintf(program, sizeof program, "%s/soloctl", bed.bin);
    snprintf(log, sizeof log, "%s/soloctl.log", bed.dir);
    soloctl[0] = program;
    pid_t pid = command_start(
        &(struct command){ .argv = soloctl, .environment = testbed_environment(&bed) }, log);
    char name[16];
    int deployed = 0;
    int exit_code = -1;
    do {
        snprintf(name, sizeof name, "s%d", deployed++);
        service_deploy_sleeper(&bed, "acme", name);
        exit_code = command_wait(pid, 1);
    } while (exit_code == -1 && deployed < 500);
    cr_assert_eq(exit_code, 0);
    cr_assert_gt(deployed, 0);
    /* Read as it lies there, daemons away: the log is whole, whatever was being written. */
    snprintf(run_dir, sizeof run_dir, "%s/empty-run", bed.dir);
    snprintf(data_dir, sizeof data_dir, "%s/copy", bed.dir);
    snprintf(program, sizeof program, "%s/recoveryd", bed.bin);
    const char *put_back[] = { program, "restore", backup, "--data", data_dir, NULL };
    command_run(&(struct command){ .argv = put_back, .environment = testbed_environment(&bed) },
                &verified);
    expect_exit(&verified, 0);
    const char *verify[] = {
        program, "verify", "--full", "--data", data_dir, "--run", run_dir, NULL
    };
    command_run(&(struct command){ .argv = verify, .environment = testbed_environment(&bed) },
                &verified);
    expect_exit(&verified, 0);
    expect_contains(result_out(&verified), "chain intact");
}

static void expect_left_alone(void)
{
    char mark[500], aside[500];
    snprintf(mark, sizeof mark, "%s/backup.unfinished", backup);
    snprintf(aside, sizeof aside, "%s/somebody's", backup);
    cr_assert_eq(rename(mark, aside), 0);
    run("", 6, "backup", backup, NULL, NULL);
    cr_assert_eq(link(aside, mark), 0);
    run("", 6, "backup", backup, NULL, NULL);
    cr_assert_eq(unlink(aside), 0);
    AUTO(file_lock_release) struct file_lock another = FILE_LOCK_NONE;
    cr_assert_eq(file_lock_take(&another, mark, 0), STATUS_OK);
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(&bed, &result, "backup", backup, NULL);
    expect_exit(&result, 6);
    expect_contains(result_err(&result), "is under way");
}

/* A copy that dies counts for nothing; a restore that dies is repeated. Builds without SOLO_FAULTS
 * do both in one go. */
Test(backup, cut_off_it_is_made_or_put_back_again, .init = set_up, .fini = tear_down)
{
    static const char *const points[] = { "restore.before_rename", "restore.before_rename:2",
                                          "restore.before_rename:3" };
    AUTO(result_close) struct result cut = { 0 };
    char manifest[500];
    service_deploy_sleeper(&bed, "acme", "api");
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_set(&bed, "SOLO_FAULT", "copy.before_copy");
    testbed_start(&bed);
    testbed_soloctl(&bed, &cut, "backup", backup, NULL);
    snprintf(manifest, sizeof manifest, "%s/backup.json", backup);
    cr_assert_eq(access(manifest, F_OK) == 0, cut.exit_code == 0);
    service_await(&bed, "acme", "api", "running", 30000);
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_set(&bed, "SOLO_FAULT", "none");
    testbed_start(&bed);
    /* What was cut off is begun anew; what is not of it would stay, and is not touched. */
    if (cut.exit_code == 0)
        cr_assert_eq(directory_remove(backup), STATUS_OK);
    else
        expect_left_alone();
    make_backup();
    snprintf(manifest, sizeof manifest, "%s/backup.unfinished", backup);
    cr_assert_neq(access(manifest, F_OK), 0);
    run("", 6, "backup", backup, NULL, NULL);
    cr_assert_eq(testbed_stop(&bed), 0);
    for (size_t i = 0; i < COUNT_OF(points); i++) {
        AUTO(result_close) struct result died = { 0 };
        lose_data();
        testbed_set(&bed, "SOLO_FAULT", points[i]);
        testbed_soloctl(&bed, &died, "restore", backup, "--data", bed.data, NULL);
        testbed_set(&bed, "SOLO_FAULT", "none");
        if (died.exit_code != 0) {
            testbed_launch(&bed, NULL);
            cr_assert_eq(command_wait(bed.solod, PATIENCE_MS), 6, "%s: half of it starts nothing",
                         points[i]);
            bed.solod = 0;
            restore(0, "is in its place");
        }
    }
    testbed_start(&bed);
    service_await(&bed, "acme", "api", "running", 30000);
}
