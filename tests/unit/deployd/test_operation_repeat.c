/* A request that comes again: it is not appended again, and its caller is told what came of it. */
#include <string.h>

#include "common/base/auto.h"
#include "tests/support/criterion.h"
#include "tests/unit/deployd/operation_world.h"

TestSuite(operation_repeat, .init = world_open, .fini = world_close);

/* A deploy that comes again; it is not appended again. */
static size_t repeat_deploy(uint64_t generation)
{
    world.repeat = (struct request_record){ .event_id = generation, .generation = generation };
    return world_ask(OPERATION_DEPLOY);
}

Test(operation_repeat, a_request_id_of_something_else_is_refused)
{
    world_runs(7, "");
    world.repeat = (struct request_record){ .event_id = 6, .generation = 6 };
    world.repeat_body = hash_of(span_of_text("another body"));
    size_t deploy = world_ask(OPERATION_DEPLOY);
    size_t kill = world_ask(OPERATION_KILL), restart = world_ask(OPERATION_RESTART);
    world_nothing_asked();
    cr_assert_eq(world.answers[deploy].status, STATUS_ABORTED);
    cr_assert_str_eq(world.answers[deploy].problem.field, "request_id");
    cr_assert_eq(world.answers[kill].status, STATUS_ABORTED);
    cr_assert_eq(world.answers[restart].status, STATUS_ABORTED);
}

Test(operation_repeat, a_repeated_deploy_gets_the_recorded_refusal)
{
    world_runs(7, "");
    world.program_is_missing = true; /* by now; it was there then */
    world.outcome = (struct generation_outcome){ FATE_FAILED, 10, "no such interpreter" };
    size_t deploy = repeat_deploy(9);
    world_nothing_asked();
    cr_assert_eq(world.answers[deploy].status, STATUS_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(world.answers[deploy].problem.message, "no such interpreter"));
}

Test(operation_repeat, a_repeated_deploy_that_was_replaced_says_so)
{
    world_runs(12, "");
    world.outcome = (struct generation_outcome){ .fate = FATE_REPLACED, .event_id = 12 };
    size_t deploy = repeat_deploy(9);
    world_nothing_asked();
    cr_assert_eq(world.answers[deploy].status, STATUS_OK);
    cr_assert_eq(world.answers[deploy].reply.deploy.generation, 9);
    cr_assert_eq(world.answers[deploy].reply.deploy.pid, 0);
    cr_assert_str_eq(world.answers[deploy].texts[0], "replaced");
}

Test(operation_repeat, a_repeated_deploy_that_is_the_current_one_is_carried_on)
{
    world_runs(9, "");
    size_t deploy = repeat_deploy(9);
    cr_assert_eq(world.asked[0].generation, 9);
    world_starts("running");
    cr_assert_eq(world.answers[deploy].reply.deploy.generation, 9);
}

/* It was acknowledged: that it cannot be started now changes nothing that is wanted. */
Test(operation_repeat, a_repeat_of_a_deploy_that_ran_unwants_nothing)
{
    world.live = (struct live_row){ .generation = 9, .since = 9, .previous = 7 };
    world.has_run = true;
    size_t deploy = repeat_deploy(9);
    world_start_fails(STATUS_FAILED_PRECONDITION, "no such interpreter");
    world_nothing_asked();
    cr_assert_eq(world.answers[deploy].status, STATUS_OK, "the outcome that it had");
    cr_assert_eq(world.answers[deploy].reply.deploy.generation, 9);
    cr_assert_str_eq(world.answers[deploy].texts[0], "failed");
    cr_assert_eq(world.service->wanted.generation, 9);
    cr_assert_eq(world.service->state, SERVICE_failed);
}

/* What crashed after it was ready may become so again: who waits is told what its next start comes
 * to, and not that it is fine. */
Test(operation_repeat, who_waits_for_an_unchanged_service_in_backoff_is_told_what_becomes_of_it)
{
    struct operation *operation;
    size_t index[2];
    world.has_run = true;
    for (unsigned i = 0; i < 2; i++) {
        world_runs(7, "");
        world_tells("backoff", 7);
        index[i] = world_prepare(OPERATION_DEPLOY, &operation);
        operation->wait = operation->only_if_changed = true;
        world.live.spec_hash = operation->spec_hash;
        world_begin(operation);
        cr_assert_not(world.answers[index[i]].is_there);
        if (i == 0)
            world_starts("running");
        else
            world_start_fails(STATUS_DEADLINE_EXCEEDED, "exited with code 3");
    }
    cr_assert_eq(world.answers[index[0]].status, STATUS_OK);
    cr_assert(world.answers[index[0]].reply.deploy.unchanged);
    cr_assert_eq(world.answers[index[1]].status, STATUS_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(world.answers[index[1]].problem.message, "did not become ready"));
    world_nothing_asked();
}

Test(operation_repeat, a_repeat_of_a_deploy_that_never_ran_falls_back)
{
    world.live = (struct live_row){ .generation = 9, .since = 9, .previous = 7 };
    size_t deploy = repeat_deploy(9);
    world_start_fails(STATUS_FAILED_PRECONDITION, "no such interpreter");
    world_append("service_deployment_failed");
    cr_assert_eq(world.asked[0].generation, 7);
    world_starts("running");
    cr_assert_eq(world.answers[deploy].status, STATUS_FAILED_PRECONDITION);
}

/* Whether it ever ran decides between two different ends: so nothing is decided without it. */
Test(operation_repeat, a_failed_start_whose_history_cannot_be_read_is_of_unknown_outcome)
{
    world.live = (struct live_row){ .generation = 9, .since = 9, .previous = 7 };
    size_t deploy = repeat_deploy(9);
    world.log_is_unreadable = true;
    world_start_fails(STATUS_FAILED_PRECONDITION, "no such interpreter");
    world_nothing_asked();
    cr_assert_eq(world.answers[deploy].status, STATUS_UNKNOWN);
    cr_assert_eq(world.reconciled, 1);
}
