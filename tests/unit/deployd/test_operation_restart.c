/* Restarts, one at a time. */
#include <string.h>

#include "common/base/auto.h"
#include "tests/support/criterion.h"
#include "tests/unit/deployd/operation_world.h"

TestSuite(operation_restart, .init = world_open, .fini = world_close);

Test(operation_restart, a_restart_is_appended_then_carried_out_then_answered)
{
    world_runs(7, "");
    size_t restart = world_ask(OPERATION_RESTART);
    cr_assert_eq(world.asked[0].generation, 7);
    uint64_t event = world_append("service_restart_requested");
    cr_assert_eq(world.asked[0].cause_id, event);
    world_restarts(STATUS_OK);
    cr_assert_eq(world.answers[restart].status, STATUS_OK);
    cr_assert_eq(world.answers[restart].reply.restart.generation, 7);
}

Test(operation_restart, a_restart_of_what_runs_on_secrets_asks_for_them_first)
{
    world_runs(7, "");
    world.has_secrets = true;
    size_t restart = world_ask(OPERATION_RESTART);
    const struct problem sealed = { .code = STATUS_FAILED_PRECONDITION,
                                    .message = "the vault is sealed" };
    struct asked asked = world_take("secret.deliver");
    cr_assert_eq(asked.generation, 7);
    asked.on_reply(asked.context, STATUS_FAILED_PRECONDITION, &sealed, NULL);
    world_nothing_asked();
    cr_assert_eq(world.answers[restart].status, STATUS_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(world.answers[restart].problem.message, "runs on"));
    cr_assert_not_null(strstr(world.answers[restart].problem.message, "the vault is sealed"));

    restart = world_ask(OPERATION_RESTART);
    asked = world_take("secret.deliver");
    asked.on_reply(asked.context, STATUS_OK, NULL, NULL);
    world_append("service_restart_requested");
    world_restarts(STATUS_OK);
    cr_assert_eq(world.answers[restart].status, STATUS_OK);
}

Test(operation_restart, a_restart_is_answered_when_its_report_is_in_the_log)
{
    world_runs(7, "");
    world.report = 3;
    size_t restart = world_ask(OPERATION_RESTART);
    world_append("service_restart_requested");
    world_restarts(STATUS_OK);
    cr_assert_not(world.answers[restart].is_there);
    world.tenant->supervisor.acknowledged = 3;
    catalog_mark(&world.deployd.catalog, world.service);
    world_turn();
    cr_assert_eq(world.answers[restart].status, STATUS_OK);
}

static size_t repeat_restart(uint64_t event, uint64_t generation)
{
    world.repeat = (struct request_record){ .event_id = event, .generation = generation };
    return world_ask(OPERATION_RESTART);
}

Test(operation_restart, a_repeated_restart_that_was_carried_out_is_answered)
{
    world_runs(7, "");
    world.started_for = 9;
    size_t restart = repeat_restart(9, 7);
    world_nothing_asked();
    cr_assert_eq(world.answers[restart].status, STATUS_OK);
    cr_assert_eq(world.answers[restart].reply.restart.generation, 7);
}

Test(operation_restart, a_repeated_restart_asks_the_supervisor_about_the_same_event)
{
    world_runs(7, "");
    size_t restart = repeat_restart(9, 7);
    cr_assert_eq(world.asked[0].cause_id, 9);
    world_restarts(STATUS_OK);
    cr_assert_eq(world.answers[restart].status, STATUS_OK);
}

Test(operation_restart, a_repeated_restart_of_what_was_replaced_restarts_nothing)
{
    world_runs(12, "");
    size_t restart = repeat_restart(9, 7);
    world_nothing_asked();
    cr_assert_eq(world.answers[restart].status, STATUS_ABORTED);
}

Test(operation_restart, a_restart_that_the_log_refuses_restarts_nothing)
{
    world_runs(7, "");
    size_t restart = world_ask(OPERATION_RESTART);
    world_append_fails("service_restart_requested", STATUS_ABORTED);
    world_nothing_asked();
    cr_assert_eq(world.answers[restart].status, STATUS_ABORTED);
}

Test(operation_restart, a_restart_starts_what_nothing_holds)
{
    world.live = (struct live_row){ .generation = 7, .since = 7 };
    size_t restart = world_ask(OPERATION_RESTART);
    uint64_t event = world_append("service_restart_requested");
    cr_assert_str_eq(world.asked[0].cause, "restart");
    cr_assert_eq(world.asked[0].cause_id, event);
    world_starts("running");
    cr_assert_eq(world.answers[restart].status, STATUS_OK);
}

Test(operation_restart, what_runs_is_not_ended_for_a_program_that_is_gone)
{
    world_runs(7, "");
    world.program_is_missing = true;
    size_t restart = world_ask(OPERATION_RESTART);
    world_nothing_asked();
    cr_assert_eq(world.answers[restart].status, STATUS_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(world.answers[restart].problem.message, "runs on"));
    world.service->state = SERVICE_parked;
    world_ask(OPERATION_RESTART);
    world_take("service_restart_requested");
}

Test(operation_restart, a_restart_of_what_is_not_wanted_is_refused)
{
    size_t restart = world_ask(OPERATION_RESTART);
    world_nothing_asked();
    cr_assert_eq(world.answers[restart].status, STATUS_NOT_FOUND);
}
