/* Any single daemon may die: no service notices, and work goes on within two seconds. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/uuid.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(daemons, .timeout = 120);

enum { WORKS_AGAIN_MS = 2000, PATIENCE_MS = 60000, ROUNDS = 3 };
enum { SILENT_MS = 9000 }; /* after ten seconds a supervisor that hangs is given up at the latest */

static void deploy_two_tenants(const struct testbed *bed, pid_t pids[4])
{
    static const char *const services[4][2] = {
        { "acme", "a" }, { "acme", "b" }, { "beta", "a" }, { "beta", "b" }
    };
    for (size_t i = 0; i < 4; i++) {
        service_deploy_sleeper(bed, services[i][0], services[i][1]);
        pids[i] = service_pid(bed, services[i][0], services[i][1]);
    }
}

static void expect_same_pids(const struct testbed *bed, const pid_t pids[4])
{
    cr_assert_eq(service_pid(bed, "acme", "a"), pids[0]);
    cr_assert_eq(service_pid(bed, "acme", "b"), pids[1]);
    cr_assert_eq(service_pid(bed, "beta", "a"), pids[2]);
    cr_assert_eq(service_pid(bed, "beta", "b"), pids[3]);
    for (size_t i = 0; i < 4; i++)
        cr_assert(process_is_alive(pids[i]), "service %zu has died", i);
}

/* One request, waiting and repeating as a client would: how long until a deploy was done. */
static uint64_t deploy_ms(const struct testbed *bed, const char *name)
{
    uint64_t begin = clock_boottime_ns();
    char text[37];
    struct uuid uuid = uuid_draw();
    uuid_text(text, &uuid);
    for (;;) {
        struct problem problem = { 0 };
        enum status status = testbed_call(
            bed, "deployd", "service.deploy",
            json_pack("{s:o, s:s}", "spec", service_spec(bed, "acme", name, "sleeper", NULL),
                      "request_id", text),
            NULL, &problem);
        uint64_t took_ms = (clock_boottime_ns() - begin) / 1000000;
        if (status == STATUS_OK)
            return took_ms;
        cr_assert(status == STATUS_UNAVAILABLE || status == STATUS_UNKNOWN ||
                      status == STATUS_RESOURCE_EXHAUSTED,
                  "%s %s", status_name(status), problem.message);
        cr_assert_lt(took_ms, PATIENCE_MS, "no deploy for a minute");
        sleep_ms(5);
    }
}

static void kill_and_expect_no_change(const char *daemon)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    pid_t pids[4];
    deploy_two_tenants(&bed, pids);
    uint64_t least_ms = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        char name[16];
        pid_t old = testbed_daemon(&bed, daemon);
        cr_assert_neq(old, 0);
        process_signal(old, SIGKILL);
        snprintf(name, sizeof name, "new%d", round);
        uint64_t took_ms = deploy_ms(&bed, name);
        least_ms = took_ms < least_ms ? took_ms : least_ms;
        printf("deploy %lu ms after kill -9 of %s\n", (unsigned long)took_ms, daemon);
        testbed_await_new_daemon(&bed, daemon, old);
        expect_same_pids(&bed, pids);
    }
    /* The best of them: what else the machine does meanwhile is not ours. */
    cr_assert_leq(least_ms, WORKS_AGAIN_MS, "a deploy took %lu ms after the death of %s",
                  (unsigned long)least_ms, daemon);
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "system_started", NULL, NULL), 1, "that was no new run");
    cr_assert_eq(events_count(events, "service_crashed", NULL, NULL), 0);
    json_decref(events);
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(&bed, &result, "verify", "--full", NULL);
    expect_exit(&result, 0);
}

Test(daemons, the_death_of_eventd_changes_no_service)
{
    kill_and_expect_no_change("eventd");
}

Test(daemons, the_death_of_deployd_changes_no_service)
{
    kill_and_expect_no_change("deployd");
}

Test(daemons, the_death_of_a_supervisor_takes_its_own_tenant_only_and_brings_it_back)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    pid_t pids[4];
    deploy_two_tenants(&bed, pids);
    pid_t supervisor = testbed_supervisor(&bed, "acme");
    cr_assert(process_is_alive(supervisor));
    process_signal(supervisor, SIGKILL);
    cr_assert(process_wait_gone(supervisor, PATIENCE_MS));
    uint64_t begin = clock_boottime_ns();
    pid_t a = service_await_new_pid(&bed, "acme", "a", pids[0], 10000);
    pid_t b = service_await_new_pid(&bed, "acme", "b", pids[1], 10000);
    uint64_t took_ms = (clock_boottime_ns() - begin) / 1000000;
    printf("%lu ms until both ran again\n", (unsigned long)took_ms);
    cr_assert_not(process_is_alive(pids[0]), "a service outlives its supervisor");
    cr_assert_not(process_is_alive(pids[1]), "a service outlives its supervisor");
    cr_assert(process_is_alive(a) && process_is_alive(b));
    cr_assert_eq(service_pid(&bed, "beta", "a"), pids[2]);
    cr_assert_eq(service_pid(&bed, "beta", "b"), pids[3]);
    service_deploy_sleeper(&bed, "acme", "new"); /* asked once */
    char path[4096];
    pid_t found[1];
    cr_assert_eq(process_find(testbed_program(&bed, "sleeper", path), found, 1), 5);
}

Test(daemons, services_outlive_solod_and_the_next_one_finds_them)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    pid_t pids[4];
    deploy_two_tenants(&bed, pids);
    testbed_kill_solod(&bed);
    for (size_t i = 0; i < 4; i++)
        cr_assert(process_is_alive(pids[i]), "service %zu died with solod", i);
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(&bed, &result, "--dry-run", "-o", "json", NULL);
    expect_exit(&result, 0);
    json_t *plan = result_json(&result);
    expect_number(json_object_get(plan, "summary"), "keep", 4);
    cr_assert_not(json_is_true(json_object_get(plan, "has_changes")));
    json_decref(plan);
    testbed_start(&bed);
    expect_same_pids(&bed, pids);
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "system_started", NULL, NULL), 2);
    cr_assert_eq(events_count(events, "service_recovered", NULL, NULL), 0);
    json_decref(events);
}

Test(daemons, a_crash_of_a_service_while_deployd_is_away_is_reported_once)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t generation = service_deploy_sleeper(&bed, "acme", "a");
    pid_t pid = service_pid(&bed, "acme", "a");
    process_signal(testbed_daemon(&bed, "deployd"), SIGKILL);
    process_signal(pid, SIGKILL);
    event_await(&bed, generation, "service_restarted", "acme", "a", 20000);
    pid_t again = service_await_new_pid(&bed, "acme", "a", pid, 10000);
    cr_assert(process_is_alive(again));
    sleep_ms(300);
    json_t *events = events_after(&bed, generation);
    cr_assert_eq(events_count(events, "service_crashed", "acme", "a"), 1);
    json_decref(events);
}

Test(daemons, a_restart_by_hand_changes_no_service)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    pid_t pids[4];
    deploy_two_tenants(&bed, pids);
    static const char *const names[] = { "eventd", "tokend", "vaultd", "deployd" };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        pid_t old = testbed_daemon(&bed, names[i]);
        testbed_soloctl(&bed, &result, "daemon", "restart", names[i], NULL);
        expect_exit(&result, 0);
        cr_assert_neq(testbed_daemon(&bed, names[i]), old);
        expect_same_pids(&bed, pids);
    }
    testbed_soloctl(&bed, &result, "daemon", "restart", "nobody", NULL);
    expect_exit(&result, 4);
}

static void config_write(const struct testbed *bed, char path[300], const char *text)
{
    snprintf(path, 300, "%s/solo.conf", bed->dir);
    cr_assert_eq(file_write(path, span_of_text(text), 0644), STATUS_OK);
}

static void log_await(const struct testbed *bed, const char *text, size_t count)
{
    for (int i = 0; i < 1200 && testbed_log_count(bed, text) < count; i++)
        sleep_ms(50);
    cr_assert_eq(testbed_log_count(bed, text), count, "%s", text);
}

Test(daemons, a_hangup_has_every_daemon_read_its_settings_again)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char path[300];
    testbed_open(&bed, 0);
    config_write(&bed, path, "verify_interval_ms = 0\n");
    testbed_set(&bed, "SOLO_CONFIG", path);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "a");
    pid_t eventd = testbed_daemon(&bed, "eventd");
    config_write(&bed, path,
                 "log_level = debug\nverify_interval_ms = 20\noperator = token\n"
                 "tenant_services_max = 1\n");
    process_signal(bed.solod, SIGHUP);
    log_await(&bed, "msg=\"settings reloaded\"", 5); /* solod and its four */
    log_await(&bed, "msg=\"setting changed\" key=log_level from=info to=debug", 5);
    /* solod alone knows what the file says of the others. */
    log_await(&bed, "needs a restart\" key=operator value=uid changed_to=token", 1);
    struct problem problem = { 0 };
    enum status status =
        service_try_deploy(&bed, service_spec(&bed, "acme", "b", "sleeper", NULL), NULL, &problem);
    cr_assert_eq(status, STATUS_RESOURCE_EXHAUSTED, "%s", problem.message);
    cr_assert_eq(testbed_daemon(&bed, "eventd"), eventd);
    event_await(&bed, 0, "verification_completed", NULL, NULL, 30000);

    /* What cannot be read changes nothing; a daemon that starts later has what is in force. */
    config_write(&bed, path, "log_level = loud\n");
    process_signal(bed.solod, SIGHUP);
    log_await(&bed, "the settings are not reloaded", 1);
    log_await(&bed, "msg=\"the settings have a mistake\" reason=", 1);
    AUTO(result_close) struct result restarted = { 0 };
    testbed_soloctl(&bed, &restarted, "daemon", "restart", "deployd", NULL);
    expect_exit(&restarted, 0);
    status =
        service_try_deploy(&bed, service_spec(&bed, "acme", "b", "sleeper", NULL), NULL, &problem);
    cr_assert_eq(status, STATUS_RESOURCE_EXHAUSTED, "%s", problem.message);
}

Test(daemons, a_second_instance_is_refused)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    pid_t first = bed.solod;
    pid_t pids[4];
    deploy_two_tenants(&bed, pids);
    char other[300];
    snprintf(other, sizeof other, "%s/other", bed.dir);
    static const struct {
        int has_data, has_run;
    } same[] = { { 1, 1 }, { 1, 0 }, { 0, 1 } };
    for (size_t i = 0; i < COUNT_OF(same); i++) {
        /* the last of two equal flags counts, or both are refused: then the test says so */
        char program[4200];
        snprintf(program, sizeof program, "%s/solod", bed.bin);
        const char *const argv[] = { program,
                                     "--data",
                                     same[i].has_data ? bed.data : other,
                                     "--run",
                                     same[i].has_run ? bed.run : other,
                                     NULL };
        AUTO(result_close) struct result result = { 0 };
        command_run(&(struct command){ .argv = argv,
                                       .environment = testbed_environment(&bed),
                                       .timeout_ms = PATIENCE_MS },
                    &result);
        expect_exit(&result, 75);
    }
    cr_assert(process_is_alive(first));
    expect_same_pids(&bed, pids);
    service_deploy_sleeper(&bed, "acme", "after"); /* asked once */
}

Test(daemons, a_path_longer_than_a_socket_address_works)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    char below[200];
    memset(below, 'd', sizeof below - 1);
    below[sizeof below - 1] = '\0';
    snprintf(bed.run, sizeof bed.run, "%s/%.150s", bed.dir, below);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    service_await(&bed, "acme", "api", "running", PATIENCE_MS);
}

/* Moved or emptied, it takes the old supervisors' locks with it, but not the supervisors. */
static void lose_the_run_folder(unsigned flags)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char moved[320];
    testbed_open(&bed, flags);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    pid_t supervisor = testbed_supervisor(&bed, "acme");
    pid_t service = service_pid(&bed, "acme", "api");
    testbed_kill_solod(&bed);
    cr_assert(process_is_alive(supervisor), "a supervisor outlives solod");
    snprintf(moved, sizeof moved, "%s.moved", bed.run);
    cr_assert_eq(rename(bed.run, moved), 0);
    testbed_start(&bed);
    service_await(&bed, "acme", "api", "running", PATIENCE_MS);
    cr_assert(process_wait_gone(supervisor, PATIENCE_MS), "two supervisors of one tenant");
    cr_assert(process_wait_gone(service, PATIENCE_MS), "two instances of one service");
    pid_t now = service_pid(&bed, "acme", "api");
    service_kill(&bed, "acme", "api");
    cr_assert(process_wait_gone(now, PATIENCE_MS));
}

Test(daemons, a_run_folder_that_was_moved_leaves_no_second_instance)
{
    lose_the_run_folder(0);
}

Test(daemons, a_run_folder_that_was_moved_leaves_no_second_instance_as_a_user)
{
    lose_the_run_folder(TESTBED_AS_USER);
}

/* Not at once: what a supervisor does and what it says of itself are two messages. */
static void await_answering(const struct testbed *bed, const char *tenant, const char *name)
{
    for (int left_ms = PATIENCE_MS;; left_ms -= 20, sleep_ms(20)) {
        json_t *row = service_row_of(bed, tenant, name);
        bool answers = strstr(text_in(row, "reason"), "does not answer") == NULL;
        json_decref(row);
        if (answers)
            return;
        cr_assert_gt(left_ms, 0, "%s/%s: its supervisor does not answer", tenant, name);
    }
}

/* A supervisor that hangs holds up its own tenant only: deployd serves the others without it, says
 * so, starts no second one, and takes it back when it answers. */
Test(daemons, a_deployd_that_comes_back_does_not_wait_for_a_supervisor_that_hangs)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    pid_t pids[4];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    deploy_two_tenants(&bed, pids);
    pid_t hanging = testbed_supervisor(&bed, "beta");
    cr_assert_eq(process_signal(hanging, SIGSTOP), 0);
    cr_assert_eq(process_signal(testbed_daemon(&bed, "deployd"), SIGKILL), 0);
    uint64_t took_ms = deploy_ms(&bed, "other");
    cr_assert_lt(took_ms, SILENT_MS, "%lu ms", (unsigned long)took_ms);

    json_t *row = service_row_of(&bed, "beta", "a");
    expect_text(row, "state", "running");
    expect_contains(text_in(row, "reason"), "its supervisor does not answer");
    expect_number(row, "pid", pids[2]);
    json_decref(row);
    struct problem problem = { 0 };
    uint64_t last = log_last_id(&bed);
    enum status status = service_try_deploy(
        &bed, service_spec(&bed, "beta", "a", "sleeper", "again", NULL), NULL, &problem);
    expect_refused(status, STATUS_UNAVAILABLE, &problem, "tenant");
    expect_contains(problem.message, "the supervisor of tenant beta");
    cr_assert_eq(log_last_id(&bed), last, "what is refused changes nothing");
    status = testbed_call(&bed, "deployd", "service.kill",
                          json_pack("{s:s, s:s}", "tenant", "beta", "name", "b"), NULL, &problem);
    expect_refused(status, STATUS_UNKNOWN, &problem, NULL);
    expect_contains(problem.message, "the kill is recorded");
    cr_assert(process_is_alive(pids[2]));
    cr_assert(process_is_alive(hanging));

    cr_assert_eq(process_signal(hanging, SIGCONT), 0);
    cr_assert(process_wait_gone(pids[3], PATIENCE_MS), "the kill is carried out when it answers");
    cr_assert_eq(service_pid(&bed, "beta", "a"), pids[2]);
    await_answering(&bed, "beta", "a");
    service_deploy(&bed, service_spec(&bed, "beta", "a", "sleeper", "again", NULL));
    cr_assert_eq(testbed_supervisor(&bed, "beta"), hanging, "there never was a second one");
}
