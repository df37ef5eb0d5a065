/* Generations that were not ready yet when something else came: deploys over them, kills, and who
 * tells of their failure. */
#include <string.h>

#include "deployd/operation_queue.h"
#include "deployd/supervisors.h"
#include "tests/support/criterion.h"
#include "tests/unit/deployd/operation_world.h"

TestSuite(operation_trial, .init = world_open, .fini = world_close);

/* Over generation 7, which runs; its supervisor says that it starts. */
static size_t deploy_on_trial(uint64_t *generation, struct asked *start)
{
    struct operation *operation;
    size_t deploy = world_prepare(OPERATION_DEPLOY, &operation);
    operation->wait = true;
    world_begin(operation);
    *generation = world_append("service_deployed");
    *start = world_take("supervisor.start");
    world_tells("starting", *generation);
    return deploy;
}

static void is_replaced_by(uint64_t newer)
{
    world.outcome = (struct generation_outcome){ .fate = FATE_REPLACED, .event_id = newer };
}

Test(operation_trial, a_deploy_over_it_falls_back_to_what_was_ready)
{
    uint64_t hasty, second;
    struct asked start, newer;
    world_runs(7, "");
    size_t first = deploy_on_trial(&hasty, &start);
    size_t deploy = deploy_on_trial(&second, &newer);
    cr_assert_eq(newer.generation, second);
    cr_assert_eq(world.live.previous, 7);
    is_replaced_by(second);
    start.on_reply(start.context, STATUS_ABORTED, NULL, NULL);
    cr_assert_eq(world.answers[first].status, STATUS_ABORTED);
    cr_assert_not_null(strstr(world.answers[first].problem.message, "before it was ready"));
    world_nothing_asked(); /* what was ready is not started in between */
    newer.on_reply(newer.context, STATUS_DEADLINE_EXCEEDED, NULL, NULL);
    world_append("service_deployment_failed");
    cr_assert_eq(world.asked[0].generation, 7);
    world_starts("running");
    cr_assert_eq(world.answers[deploy].status, STATUS_FAILED_PRECONDITION);
    cr_assert_not_null(
        strstr(world.answers[deploy].problem.message, "generation 7 was started again"));
}

Test(operation_trial, however_many_deploys_came_what_was_ready_is_fallen_back_to)
{
    uint64_t generation, last;
    struct asked start[3];
    world_runs(7, "");
    for (size_t i = 0; i < 3; i++) {
        uint64_t before = world.live.generation;
        deploy_on_trial(&generation, &start[i]);
        cr_assert_eq(world.live.previous, 7, "after deploy %zu", i);
        if (i > 0) {
            is_replaced_by(generation);
            start[i - 1].on_reply(start[i - 1].context, STATUS_ABORTED, NULL, NULL);
            cr_assert_neq(before, generation);
        }
    }
    last = generation;
    cr_assert_eq(start[2].generation, last);
    start[2].on_reply(start[2].context, STATUS_DEADLINE_EXCEEDED, NULL, NULL);
    world_append("service_deployment_failed");
    cr_assert_eq(world.asked[0].generation, 7);
}

Test(operation_trial, a_first_deploy_that_was_tried_is_not_fallen_back_to)
{
    uint64_t generation, newer;
    struct asked start, second;
    deploy_on_trial(&generation, &start);
    size_t deploy = deploy_on_trial(&newer, &second);
    cr_assert_eq(world.live.previous, 0);
    is_replaced_by(newer);
    start.on_reply(start.context, STATUS_ABORTED, NULL, NULL);
    second.on_reply(second.context, STATUS_DEADLINE_EXCEEDED, NULL, NULL);
    world_append("service_deployment_failed");
    world_stops(STATUS_OK);
    cr_assert_eq(world.answers[deploy].status, STATUS_FAILED_PRECONDITION);
    cr_assert_eq(world.live.generation, 0);
}

/* It has failed in nothing. */
Test(operation_trial, a_first_deploy_that_waits_for_a_secret_is_fallen_back_to)
{
    world_ask(OPERATION_DEPLOY);
    uint64_t waiting = world_append("service_deployed");
    world_starts("waiting_for_secret");
    world_ask(OPERATION_DEPLOY);
    cr_assert_eq(world.asked[0].trial_ended, 0);
    world_append("service_deployed");
    cr_assert_eq(world.live.previous, waiting);
}

Test(operation_trial, what_was_ready_is_fallen_back_to_whatever_it_does_now)
{
    uint64_t generation;
    struct asked start;
    world_runs(7, "");
    deploy_on_trial(&generation, &start);
    world.has_run = true;
    world_ask(OPERATION_DEPLOY);
    cr_assert_eq(world.asked[0].trial_ended, 0);
    world_append("service_deployed");
    cr_assert_eq(world.live.previous, generation);
}

Test(operation_trial, a_deploy_that_is_not_recorded_leaves_it_on_trial)
{
    uint64_t generation;
    struct asked start;
    world_runs(7, "");
    size_t first = deploy_on_trial(&generation, &start);
    size_t second = world_ask(OPERATION_DEPLOY);
    cr_assert_eq(world.asked[0].trial_ended, generation);
    world_append_fails("service_deployed", STATUS_RESOURCE_EXHAUSTED);
    cr_assert_eq(world.answers[second].status, STATUS_RESOURCE_EXHAUSTED);
    cr_assert_not(world.answers[first].is_there);
    start.on_reply(start.context, STATUS_DEADLINE_EXCEEDED, NULL, NULL);
    world_append("service_deployment_failed");
    cr_assert_eq(world.asked[0].generation, 7);
}

Test(operation_trial, a_kill_leaves_nothing_to_fall_back_to)
{
    uint64_t generation, newer;
    struct asked start, second;
    world_runs(7, "");
    deploy_on_trial(&generation, &start);
    size_t deploy = deploy_on_trial(&newer, &second);
    size_t kill = world_ask(OPERATION_KILL);
    world_append("service_killed");
    second.on_reply(second.context, STATUS_DEADLINE_EXCEEDED, NULL, NULL);
    cr_assert_eq(world.answers[deploy].status, STATUS_FAILED_PRECONDITION);
    world_stops(STATUS_OK);
    cr_assert_eq(world.answers[kill].status, STATUS_OK);
    world_nothing_asked();
}

/* ---- one failure is told once ---- */

Test(operation_trial, what_fails_beside_a_newer_deploy_is_not_recorded_again)
{
    uint64_t generation, newer;
    struct asked start, second;
    world_runs(7, "");
    size_t first = deploy_on_trial(&generation, &start);
    size_t deploy = deploy_on_trial(&newer, &second);
    start.on_reply(start.context, STATUS_DEADLINE_EXCEEDED, NULL, NULL);
    world_nothing_asked();
    cr_assert_eq(world.answers[first].status, STATUS_FAILED_PRECONDITION);
    const struct supervisor_start_reply reply = { 0 };
    world_tells("running", newer);
    second.on_reply(second.context, STATUS_OK, NULL, &reply);
    cr_assert_eq(world.answers[deploy].status, STATUS_OK);
}

Test(operation_trial, what_fails_while_a_newer_deploy_is_recorded_is_that_one_s_to_tell)
{
    uint64_t generation;
    struct asked start;
    world_runs(7, "");
    size_t first = deploy_on_trial(&generation, &start);
    world_ask(OPERATION_DEPLOY);
    start.on_reply(start.context, STATUS_DEADLINE_EXCEEDED, NULL, NULL);
    cr_assert_eq(world.answers[first].status, STATUS_FAILED_PRECONDITION);
    world_append("service_deployed");
    world_take("supervisor.start");
    world_nothing_asked();
    cr_assert_eq(world.live.previous, 7);
}

/* Its caller asks again after a crash, while a recovery waits for its readiness, too. */
Test(operation_trial, a_recovery_and_a_repeat_that_wait_for_one_start_record_one_failure)
{
    struct operation *operation;
    world_runs(7, "");
    world.live = (struct live_row){ .generation = 9, .since = 9, .previous = 7 };
    catalog_unhold(&world.deployd.catalog, world.service, SERVICE_wanted, "");
    size_t act = world_prepare(OPERATION_START, &operation);
    operation->is_recovery = true;
    operation->generation = operation->since = 9;
    world_begin(operation);
    struct asked recovering = world_take("supervisor.start");
    world_tells("starting", 9);
    world.repeat = (struct request_record){ 9, 9 };
    size_t repeat = world_prepare(OPERATION_DEPLOY, &operation);
    operation->wait = true;
    world_begin(operation);
    struct asked waiting = world_take("supervisor.start");
    recovering.on_reply(recovering.context, STATUS_DEADLINE_EXCEEDED, NULL, NULL);
    waiting.on_reply(waiting.context, STATUS_DEADLINE_EXCEEDED, NULL, NULL);
    cr_assert_eq(world.answers[repeat].status, STATUS_FAILED_PRECONDITION);
    world_append("service_deployment_failed");
    world_starts("running");
    world_nothing_asked();
    cr_assert_str_eq(world.answers[act].texts[0], "failed");
    cr_assert_eq(world.live.generation, 7);
}
