/* What is due, carried out by the turn: in bounded steps, and never inside one another. */
#include <stdio.h>

#include "common/base/clock.h"
#include "deployd/reconcile.h"
#include "deployd/retry.h"
#include "deployd/turn.h"
#include "tests/support/criterion.h"
#include "tests/unit/deployd/operation_world.h"

enum { SERVICES_MANY = 6000 };

TestSuite(reconcile, .init = world_open, .fini = world_close, .timeout = 120);

static void want_many(unsigned count)
{
    struct catalog *catalog = &world.deployd.catalog;
    world.live = (struct live_row){ .generation = 7, .since = 8 }; /* it ran before */
    world.deployd.boot.state = BOOT_RECONCILING;
    for (unsigned i = 0; i < count; i++) {
        char name[16];
        struct service *service;
        struct problem problem;
        snprintf(name, sizeof name, "s%u", i);
        cr_assert_eq(catalog_service_make(catalog, world.tenant, name, &service, &problem),
                     STATUS_OK);
        catalog_want(catalog, service, &world.live);
    }
}

static unsigned count_state(enum service_state state)
{
    unsigned count = 0;
    for (struct service *service = world.deployd.catalog.services; service != NULL;
         service = service->hh.next)
        count += service->state == state && service->queue == NULL;
    return count;
}

Test(reconcile, thousands_of_operations_that_end_at_once_are_worked_off_in_turns)
{
    world.tenant->supervisor.is_ending = true;
    want_many(SERVICES_MANY);
    reconcile_all(&world.deployd);
    cr_assert_eq(count_state(SERVICE_failed), 0, "nothing is begun before the turn");
    cr_assert(turn_step(&world.deployd), "it is too much for one turn");
    cr_assert_gt(count_state(SERVICE_failed), 0);
    cr_assert_lt(count_state(SERVICE_failed), SERVICES_MANY / 10, "others are served between");
    cr_assert_eq(world.boots, 0);
    world_turn();
    cr_assert_eq(count_state(SERVICE_failed), SERVICES_MANY);
    cr_assert_eq(world.deployd.reconcile.running, 0);
    cr_assert_gt(world.boots, 0);
}

Test(reconcile, a_bounded_number_is_begun_and_more_as_they_end)
{
    want_many(RECONCILE_PARALLEL + 1);
    for (struct service *service = world.tenant->services; service != NULL; service = service->next)
        if (service->queue == NULL && service != world.service)
            catalog_want(&world.deployd.catalog, service, &world.live);
    world.tenant->supervisor.state = SUPERVISOR_DELAYED; /* so that they wait */
    reconcile_all(&world.deployd);
    world_turn();
    cr_assert_eq(world.deployd.reconcile.running, RECONCILE_PARALLEL);
    cr_assert_not_null(world.deployd.catalog.due);
    world.live = (struct live_row){ 0 }; /* all killed meanwhile: each ends as it is looked at */
    world_supervisor_ready();
    world_nothing_asked();
    cr_assert_eq(world.deployd.reconcile.running, 0);
    cr_assert_null(world.deployd.catalog.due);
}

/* What was found to be due may be another one by the time that its turn has come. */
Test(reconcile, a_stop_that_waited_while_its_service_was_deployed_again_stops_nothing)
{
    world.deployd.boot.state = BOOT_READY;
    world_runs(7, "");
    world.live = (struct live_row){ 0 };
    catalog_want(&world.deployd.catalog, world.service, &world.live);
    reconcile_all(&world.deployd);
    cr_assert_eq(world.service->due, DUE_STOP);
    world_runs(9, "");
    world_nothing_asked();
    world.live = (struct live_row){ 0 }; /* killed and gone from the log, held in another one */
    world_nothing_asked();
    cr_assert_eq(world.service->due, DUE_NOTHING);
}

Test(reconcile, a_pass_forgets_what_is_not_due_any_more)
{
    world.deployd.boot.state = BOOT_READY;
    world_runs(7, "");
    world.live = (struct live_row){ 0 };
    catalog_want(&world.deployd.catalog, world.service, &world.live);
    reconcile_all(&world.deployd);
    cr_assert_eq(world.service->due, DUE_STOP);
    world_runs(7, "");
    reconcile_all(&world.deployd);
    cr_assert_eq(world.service->due, DUE_NOTHING);
    cr_assert_null(world.deployd.catalog.due);
}

/* ---- what an operation was at is not forgotten when it ends ---- */

/* Its supervisor died and came back while the operation was at it: the pass left it alone. */
static void supervisor_comes_anew(void)
{
    world_supervisor_lost();
    catalog_unhold(&world.deployd.catalog, world.service, SERVICE_wanted, "its supervisor ended");
    world.tenant->supervisor.state = SUPERVISOR_READY;
    reconcile_tenant(&world.deployd, world.tenant);
    cr_assert_eq(world.service->due, DUE_NOTHING);
}

static void expect_started(uint64_t generation)
{
    cr_assert_eq(world_take("supervisor.start").generation, generation);
    world_nothing_asked();
}

Test(reconcile, a_deploy_that_the_log_refuses_leaves_what_ran_before_running)
{
    world.deployd.boot.state = BOOT_READY;
    world_runs(7, "");
    world.has_run = true;
    size_t deploy = world_ask(OPERATION_DEPLOY);
    struct asked append = world_take("service_deployed");
    supervisor_comes_anew();
    append.on_reply(append.context, STATUS_RESOURCE_EXHAUSTED, NULL, NULL);
    expect_started(7);
    cr_assert_eq(world.answers[deploy].status, STATUS_RESOURCE_EXHAUSTED);
}

Test(reconcile, a_deploy_that_is_refused_in_the_queue_leaves_what_ran_before_running)
{
    struct operation *operation;
    world.deployd.boot.state = BOOT_READY;
    world_runs(7, "");
    world.has_run = true;
    world_ask(OPERATION_DEPLOY);
    struct asked append = world_take("service_deployed");
    size_t queued = world_prepare(OPERATION_DEPLOY, &operation);
    operation->if_event = world.last_event - 1;
    world_begin(operation);
    supervisor_comes_anew();
    append.on_reply(append.context, STATUS_RESOURCE_EXHAUSTED, NULL, NULL);
    expect_started(7);
    cr_assert_eq(world.answers[queued].status, STATUS_ABORTED);
}

/* It was killed, and its supervisor brought it back while a deploy of it was on its way. */
Test(reconcile, a_deploy_that_is_refused_leaves_nothing_running_that_was_killed)
{
    world.deployd.boot.state = BOOT_READY;
    world_runs(7, "");
    world.live = (struct live_row){ 0 };
    size_t deploy = world_ask(OPERATION_DEPLOY);
    struct asked append = world_take("service_deployed");
    reconcile_tenant(&world.deployd, world.tenant);
    world_nothing_asked(); /* the deploy is at it */
    append.on_reply(append.context, STATUS_RESOURCE_EXHAUSTED, NULL, NULL);
    cr_assert_eq(world.answers[deploy].status, STATUS_RESOURCE_EXHAUSTED);
    world_turn();
    cr_assert_eq(world.asked[0].generation, 7);
    world_stops(STATUS_OK);
    world_nothing_asked();
}

/* Whose stop is not ours stays: in a new run until the recovery is done. */
Test(reconcile, what_a_recovery_has_not_looked_at_is_not_stopped)
{
    world.deployd.boot.state = BOOT_READY;
    world.deployd.run.is_new = true;
    world_runs(7, "");
    world.live = (struct live_row){ 0 };
    world_ask(OPERATION_DEPLOY);
    world_append_fails("service_deployed", STATUS_RESOURCE_EXHAUSTED);
    world_nothing_asked();
    reconcile_look(&world.deployd);
    world_nothing_asked();
    world.deployd.recovery.phase = RECOVERY_DONE;
    reconcile_look(&world.deployd);
    world_stops(STATUS_OK);
}

Test(reconcile, a_start_that_is_refused_does_not_begin_itself_again)
{
    world.deployd.boot.state = BOOT_READY;
    world_runs(7, "");
    catalog_unhold(&world.deployd.catalog, world.service, SERVICE_wanted, "");
    world.log_is_unreadable = true;
    reconcile_all(&world.deployd);
    world_nothing_asked();
    cr_assert_null(world.service->queue);
    cr_assert_eq(world.long_turns, 0);
    world.log_is_unreadable = false;
    reconcile_look(&world.deployd);
    expect_started(7);
}

Test(reconcile, the_net_catches_what_is_wanted_and_left_alone_and_nothing_else)
{
    world.deployd.boot.state = BOOT_READY;
    world_runs(7, "");
    reconcile_look(&world.deployd);
    world_nothing_asked();

    catalog_unhold(&world.deployd.catalog, world.service, SERVICE_failed, "no program");
    reconcile_look(&world.deployd);
    world_nothing_asked(); /* a person has to see to it */

    catalog_unhold(&world.deployd.catalog, world.service, SERVICE_wanted, "");
    world.tenant->supervisor.state = SUPERVISOR_DELAYED;
    reconcile_look(&world.deployd);
    world_nothing_asked(); /* it is compared when its supervisor is there */

    world.tenant->supervisor.state = SUPERVISOR_READY;
    world.deployd.drain.is_begun = true;
    reconcile_look(&world.deployd);
    world.deployd.drain.is_begun = false;
    world_nothing_asked();

    reconcile_look(&world.deployd);
    expect_started(7);
    reconcile_look(&world.deployd);
    world_nothing_asked(); /* an operation is at it */
}

static void wait_out(struct service *service)
{
    cr_assert_neq(service->retry_ns, 0);
    service->retry_ns = 1; /* long ago */
}

/* A minute of a full disk must not leave it down until a person looks. */
static void tries_again(void)
{
    uint64_t pause_ns = 0, before_ns;
    for (unsigned attempt = 0; attempt < 8; attempt++) {
        before_ns = clock_boottime_ns();
        world_start_fails(STATUS_RESOURCE_EXHAUSTED, "no space left on device");
        cr_assert_eq(world.service->state, SERVICE_failed);
        cr_assert_geq(world.service->retry_ns - before_ns, pause_ns, "attempt %u", attempt);
        pause_ns = world.service->retry_ns - clock_boottime_ns();
        cr_assert_leq(pause_ns, RETRY_MS_MAX * UINT64_C(1000000));
        reconcile_look(&world.deployd);
        world_turn();
        world_nothing_asked();
        wait_out(world.service);
        reconcile_look(&world.deployd);
        world_turn();
        cr_assert_str_eq(world.asked[0].cause, "reconcile");
    }
    cr_assert_gt(pause_ns, 9 * 60 * UINT64_C(1000000000));
    world_starts("running");
    cr_assert_eq(world.service->retry_ns, 0);
    cr_assert_eq(world.service->retries, 0);
}

static void begin_start(void)
{
    world.deployd.boot.state = BOOT_READY;
    catalog_want(&world.deployd.catalog, world.service, &world.live);
    catalog_look(&world.deployd.catalog, world.service);
    world_turn();
}

Test(reconcile, a_start_that_failed_for_a_passing_cause_is_tried_again_after_growing_pauses)
{
    world.live = (struct live_row){ .generation = 7, .since = 8 };
    world.has_run = true;
    begin_start();
    tries_again();
}

/* Nothing is taken back by an attempt that fails as the one before. */
Test(reconcile, another_attempt_takes_no_deploy_back)
{
    world.live = (struct live_row){ .generation = 7, .since = 7 };
    world.has_run = true;
    begin_start();
    world_start_fails(STATUS_RESOURCE_EXHAUSTED, "no space left on device");
    world.has_run = false;
    wait_out(world.service);
    reconcile_look(&world.deployd);
    world_turn();
    world_start_fails(STATUS_RESOURCE_EXHAUSTED, "no space left on device");
    world_nothing_asked();
    cr_assert_eq(world.live.generation, 7);
}

Test(reconcile, what_failed_for_good_is_not_tried_again)
{
    world.live = (struct live_row){ .generation = 7, .since = 8 };
    world.has_run = true;
    begin_start();
    world_start_fails(STATUS_FAILED_PRECONDITION, "exec format error");
    cr_assert_eq(world.service->state, SERVICE_failed);
    cr_assert_eq(world.service->retry_ns, 0);
}
