/* Each daemon killed at each named point of its work, by itself: the first request that arrives
 * there finds out, the next start must not. Builds without SOLO_FAULTS skip this. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/faults/judge.h"
#include "tests/support/build.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(fault_points, .timeout = 300);

/* fault_point() names, and how many arrivals pass before the fatal one: the first are the start's
 * own. */
static const struct {
    const char *point;
    int arrivals[2];
} points[] = {
    { "eventd.before_commit", { 1, 6 } },
    { "eventd.after_commit", { 1, 6 } },
    { "rpc_committed", { 1, 6 } },
    { "deployd.before_append", { 1, 3 } },
    { "deployd.after_append", { 1, 3 } },
    { "deployd.before_kill_append", { 1, 2 } },
    { "deployd.after_kill_append", { 1, 2 } },
    { "deployd.after_start", { 1, 3 } },
    { "tenantd.before_spawn", { 1, 3 } },
    { "tenantd.after_spawn", { 1, 3 } },
};

struct step {
    const char *method;
    const char *name;
    const char *token;
};

static const struct step steps[] = {
    { "service.deploy", "a", "a1" }, { "service.deploy", "b", "b1" },
    { "service.deploy", "a", "a2" }, { "service.kill", "b", "" },
    { "service.deploy", "b", "b2" }, { "service.kill", "a", "" },
    { "service.deploy", "c", "c1" },
};

static json_t *params_of(const struct testbed *bed, const struct step *step, const char *id)
{
    char key[SERVICE_KEY_BYTES];
    if (strcmp(step->method, "service.deploy") != 0)
        return json_pack("{s:s, s:s, s:s}", "tenant", "acme", "name", step->name, "request_id", id);
    return json_pack("{s:o, s:s}", "spec",
                     service_spec(bed, "acme", step->name, "sleeper",
                                  service_key(key, "acme", step->name), step->token, NULL),
                     "request_id", id);
}

/* Sends with one id until it is answered, starting solod again when the fault took it. With the
 * fault set for every life of a daemon, each life gets as far as its point and no further: so it is
 * taken back after the first few failures by a start without it. */
static void insist(struct testbed *bed, const struct step *step, const char *id, unsigned *failures)
{
    for (int i = 0; i < 6000; i++) {
        struct problem problem = { 0 };
        json_t *reply = NULL;
        enum status status =
            testbed_call(bed, "deployd", step->method, params_of(bed, step, id), &reply, &problem);
        json_decref(reply);
        if (status == STATUS_OK)
            return;
        ++*failures;
        if (*failures == 3) {
            testbed_kill_everything(bed);
            testbed_set(bed, "SOLO_FAULT", "none");
            testbed_start(bed);
        }
        if (status != STATUS_UNAVAILABLE && status != STATUS_UNKNOWN &&
            status != STATUS_RESOURCE_EXHAUSTED && status != STATUS_DEADLINE_EXCEEDED)
            test_fail("%s %s: %s %s", step->method, step->name, status_name(status),
                      problem.message);
        sleep_ms(10);
    }
    test_fail("%s %s was never answered", step->method, step->name);
}

static void die_at(const char *point, int arrival)
{
    struct testbed bed = { 0 };
    char fault[100];
    unsigned failures = 0;
    testbed_open(&bed, 0);
    if (!build_has_faults(&bed)) {
        testbed_discard(&bed);
        cr_skip_test("this build has no fault points (SOLO_FAULTS)");
    }
    snprintf(fault, sizeof fault, "%s:%d", point, arrival);
    testbed_start(&bed);
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_set(&bed, "SOLO_FAULT", fault);
    testbed_launch(&bed, NULL);
    /* It may never become ready: the point may lie on the way of the start itself. */
    if (!testbed_wait_ready(&bed, 1000)) {
        failures = 3;
        testbed_kill_everything(&bed);
        testbed_set(&bed, "SOLO_FAULT", "none");
        testbed_start(&bed);
    }
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        char id[UUID_TEXT_BYTES];
        struct uuid uuid = uuid_draw();
        insist(&bed, &steps[i], uuid_text(id, &uuid), &failures);
    }
    /* The first arrival is on the way of these steps, whatever changes: something must have died.
     */
    if (failures < 3 && testbed_log_count(&bed, "level=error") == 0 && arrival == 1)
        test_fail("%s: nothing died at this point", fault);
    testbed_kill_everything(&bed);
    testbed_set(&bed, "SOLO_FAULT", "none");
    testbed_start(&bed);
    json_t *events = judge_read_log(&bed);
    json_t *wanted = judge_fold(events);
    size_t running = judge_processes(&bed, wanted);
    cr_assert_eq(running, 2, "%s: %zu run", fault, running);
    expect_text(json_object_get(wanted, "acme/b"), "token", "b2");
    expect_text(json_object_get(wanted, "acme/c"), "token", "c1");
    size_t deploys = events_count(events, "service_deployed", "acme", NULL);
    cr_assert_eq(deploys, 5, "%s: %zu deploys in the log", fault, deploys);
    cr_assert_eq(events_count(events, "service_killed", "acme", NULL), 2);
    json_decref(events);
    json_decref(wanted);
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(&bed, &result, "verify", "--full", NULL);
    expect_exit(&result, 0);
    printf("%s: %u failed calls, nothing lost\n", fault, failures);
    fflush(stdout);
    testbed_close(&bed);
}

static void die_at_each_of(const char *program)
{
    size_t size = strlen(program);
    for (size_t i = 0; i < COUNT_OF(points); i++)
        if (strncmp(points[i].point, program, size) == 0)
            for (size_t k = 0; k < COUNT_OF(points[i].arrivals); k++)
                die_at(points[i].point, points[i].arrivals[k]);
}

Test(fault_points, of_eventd)
{
    die_at_each_of("eventd.");
}

Test(fault_points, of_the_answer_after_the_commit)
{
    die_at_each_of("rpc_");
}

Test(fault_points, of_deployd)
{
    die_at_each_of("deployd.");
}

Test(fault_points, of_tenantd)
{
    die_at_each_of("tenantd.");
}

/* deployd dies in the middle of a restart, and the caller asks again. */
static void restart_dies_at(const char *fault)
{
    struct testbed bed = { 0 };
    unsigned failures = 0;
    char id[UUID_TEXT_BYTES];
    struct uuid uuid = uuid_draw();
    testbed_open(&bed, 0);
    if (!build_has_faults(&bed)) {
        testbed_discard(&bed);
        cr_skip_test("this build has no fault points (SOLO_FAULTS)");
    }
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "a");
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_set(&bed, "SOLO_FAULT", fault);
    testbed_start(&bed);
    pid_t before = service_pid(&bed, "acme", "a");
    static const struct step restart = { "service.restart", "a", "" };
    insist(&bed, &restart, uuid_text(id, &uuid), &failures);
    cr_assert(failures > 0 && failures < 3, "%s: %u failed calls", fault, failures);
    pid_t after = service_pid(&bed, "acme", "a");
    cr_assert_neq(after, before, "%s: was not restarted", fault);
    event_await(&bed, 0, "service_restarted", "acme", "a", 60000);
    log_settled_id(&bed);
    json_t *events = judge_read_log(&bed);
    cr_assert_eq(events_count(events, "service_restart_requested", "acme", "a"), 1);
    cr_assert_eq(events_count(events, "service_restarted", "acme", "a"), 1, "%s", fault);
    expect_number(event_last(events, "service_restarted", "acme", "a"), "causation_id",
                  number_in(event_last(events, "service_restart_requested", "acme", "a"), "id"));
    json_decref(events);
    insist(&bed, &restart, id, &failures);
    cr_assert_eq(service_pid(&bed, "acme", "a"), after, "%s: the repeat restarted it", fault);
    testbed_close(&bed);
}

Test(fault_points, of_a_restart_that_is_repeated)
{
    restart_dies_at("deployd.after_restart_append:1");
    restart_dies_at("deployd.after_start:2"); /* the first is the recovery's */
}

/* A store that was never finished is not mistaken for one: the next start begins anew. */
static void die_while_creating(const char *point)
{
    struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    if (!build_has_faults(&bed)) {
        testbed_discard(&bed);
        cr_skip_test("this build has no fault points (SOLO_FAULTS)");
    }
    testbed_set(&bed, "SOLO_FAULT", point);
    testbed_launch(&bed, NULL);
    cr_assert_not(testbed_wait_ready(&bed, 1000), "%s: nothing died", point);
    testbed_kill_everything(&bed);
    testbed_set(&bed, "SOLO_FAULT", "none");
    testbed_start(&bed);
    uint64_t generation = service_deploy_sleeper(&bed, "acme", "a");
    json_t *events = judge_read_log(&bed);
    expect_number(event_last(events, "service_deployed", "acme", "a"), "id", generation);
    json_decref(events);
    testbed_close(&bed);
}

Test(fault_points, of_a_store_that_is_being_created)
{
    die_while_creating("eventd.before_rename");
    die_while_creating("deployd.before_rename");
}

static json_t *never_ready(const struct testbed *bed, const char *token)
{
    json_t *spec = service_spec(bed, "acme", "a", "announcer", token, "sleep:1", NULL);
    json_object_set_new(spec, "ready", json_pack("{s:s, s:s}", "by", "notify", "timeout", "8s"));
    return spec;
}

/* A deploy over one that is on trial is two events in one commit: both or none, and a repeat is
 * answered with the second. */
static void hasty_deploy_dies_at(const char *fault)
{
    struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    if (!build_has_faults(&bed)) {
        testbed_discard(&bed);
        cr_skip_test("this build has no fault points (SOLO_FAULTS)");
    }
    testbed_set(&bed, "SOLO_FAULT", fault);
    testbed_start(&bed);
    uint64_t ready = service_deploy_sleeper(&bed, "acme", "a");
    uint64_t trial = service_deploy(&bed, never_ready(&bed, "print:b"));
    pid_t deployd = testbed_daemon(&bed, "deployd");
    char id[UUID_TEXT_BYTES];
    struct uuid uuid = uuid_draw();
    uuid_text(id, &uuid);
    json_t *reply = NULL;
    for (int i = 0; reply == NULL; i++) {
        struct problem problem = { 0 };
        testbed_call(
            &bed, "deployd", "service.deploy",
            json_pack("{s:o, s:s}", "spec", never_ready(&bed, "print:c"), "request_id", id), &reply,
            &problem);
        cr_assert_lt(i, 6000, "%s", problem.message);
        sleep_ms(10);
    }
    cr_assert_neq(testbed_daemon(&bed, "deployd"), deployd, "%s: nothing died", fault);
    uint64_t last = number_in(reply, "generation");
    json_decref(reply);
    testbed_kill_everything(&bed);
    testbed_set(&bed, "SOLO_FAULT", "none");
    testbed_start(&bed);
    event_await(&bed, last, "service_deployment_failed", "acme", "a", 20000);
    service_await(&bed, "acme", "a", "running", 20000);
    json_t *row = service_row_of(&bed, "acme", "a");
    expect_number(row, "generation", ready);
    json_decref(row);
    json_t *events = events_after(&bed, trial);
    cr_assert_eq(events_count(events, "service_deployed", "acme", "a"), 1);
    cr_assert_eq(events_count(events, "service_deployment_failed", "acme", "a"), 2);
    json_decref(events);
    testbed_close(&bed);
}

Test(fault_points, of_a_deploy_over_one_that_is_on_trial)
{
    hasty_deploy_dies_at("deployd.before_append:3");
    hasty_deploy_dies_at("deployd.after_append:3");
}
