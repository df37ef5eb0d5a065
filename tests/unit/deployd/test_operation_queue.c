/* Several operations of one service. */
#include "deployd/operation_queue.h"
#include "tests/support/criterion.h"
#include "tests/unit/deployd/operation_world.h"

TestSuite(operation_queue, .init = world_open, .fini = world_close);

Test(operation_queue, deploys_run_one_after_the_other_in_their_order)
{
    size_t first = world_ask(OPERATION_DEPLOY), second = world_ask(OPERATION_DEPLOY);
    cr_assert_eq(world.asked_count, 1);
    uint64_t generation = world_append("service_deployed");
    cr_assert_eq(world.asked_count, 1, "only the first one goes on");
    world_starts("running");
    cr_assert(world.answers[first].is_there);
    cr_assert_not(world.answers[second].is_there);
    cr_assert_gt(world_append("service_deployed"), generation);
    world_starts("running");
    cr_assert_gt(world.answers[second].reply.deploy.generation, generation);
}

/* What was acknowledged must not fall to the end of the one before it. */
Test(operation_queue, a_failed_first_deploy_is_forgotten_before_the_next_one_begins)
{
    size_t first = world_ask(OPERATION_DEPLOY), second = world_ask(OPERATION_DEPLOY);
    uint64_t failed = world_append("service_deployed");
    world_start_fails(STATUS_FAILED_PRECONDITION, "no such interpreter");
    world_append("service_deployment_failed");
    cr_assert_eq(world.asked_count, 1, "the second one waits");
    cr_assert_eq(world.asked[0].generation, failed);
    world_stops(STATUS_OK);
    cr_assert_eq(world.answers[first].status, STATUS_FAILED_PRECONDITION);
    world_append("service_deployed");
    world_starts("running");
    cr_assert_eq(world.answers[second].status, STATUS_OK);
    world_nothing_asked();
    cr_assert_eq(world.service->state, SERVICE_running);
}

Test(operation_queue, a_kill_does_not_overtake_a_commit)
{
    world_runs(7, "");
    world_ask(OPERATION_DEPLOY);
    world_ask(OPERATION_KILL);
    cr_assert_eq(world.asked_count, 1);
    world_append("service_deployed");
    world_take("supervisor.start");
    world_take("service_killed"); /* but it does not wait for the start */
    world_nothing_asked();
}

Test(operation_queue, a_kill_runs_beside_a_deploy_that_is_being_started)
{
    world_runs(7, "");
    size_t deploy = world_ask(OPERATION_DEPLOY);
    uint64_t generation = world_append("service_deployed");
    size_t kill = world_ask(OPERATION_KILL);
    struct asked start = world_take("supervisor.start");
    cr_assert_eq(world.asked[0].generation, generation);
    uint64_t event = world_append("service_killed");
    cr_assert_eq(world.asked[0].since, event, "newer than the start, so the supervisor takes it");
    /* The supervisor drops the order that waits, then stops what runs. */
    world.outcome = (struct generation_outcome){ .fate = FATE_KILLED, .event_id = event };
    start.on_reply(start.context, STATUS_ABORTED, NULL, NULL);
    cr_assert_eq(world.answers[deploy].status, STATUS_OK, "as any repeat of it");
    cr_assert_str_eq(world.answers[deploy].texts[0], "killed");
    world_stops(STATUS_OK);
    cr_assert_eq(world.answers[kill].status, STATUS_OK);
    cr_assert_null(world.service->queue);
    cr_assert_not(service_exists(world.service));
}

Test(operation_queue, a_failure_after_a_kill_starts_nothing_again)
{
    world_runs(7, "");
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_append("service_deployed");
    size_t kill = world_ask(OPERATION_KILL);
    struct asked start = world_take("supervisor.start");
    world_append("service_killed");
    start.on_reply(start.context, STATUS_FAILED_PRECONDITION, NULL, NULL);
    world_stops(STATUS_OK);
    cr_assert_eq(world.answers[kill].status, STATUS_OK);
    world_nothing_asked();
    cr_assert_eq(world.answers[deploy].status, STATUS_FAILED_PRECONDITION);
}

Test(operation_queue, a_deploy_behind_a_kill_comes_after_it)
{
    world_runs(7, "");
    world_ask(OPERATION_KILL);
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_append("service_killed");
    world_stops(STATUS_OK);
    uint64_t generation = world_append("service_deployed");
    world_starts("running");
    cr_assert_eq(world.answers[deploy].reply.deploy.generation, generation);
    cr_assert_eq(world.service->wanted.generation, generation);
}

Test(operation_queue, a_kill_refuses_what_has_not_begun)
{
    world_runs(7, "");
    size_t running = world_ask(OPERATION_DEPLOY), queued = world_ask(OPERATION_DEPLOY);
    size_t restart = world_ask(OPERATION_RESTART);
    world_append("service_deployed");
    size_t kill = world_ask(OPERATION_KILL);
    cr_assert_eq(world.answers[queued].status, STATUS_ABORTED);
    cr_assert_eq(world.answers[restart].status, STATUS_ABORTED);
    cr_assert_not(world.answers[running].is_there);
    world_take("supervisor.start");
    world_append("service_killed");
    world_stops(STATUS_OK);
    cr_assert_eq(world.answers[kill].status, STATUS_OK);
}

/* Sent right behind a deploy, it ends that one. */
Test(operation_queue, a_kill_does_not_refuse_what_is_about_to_begin)
{
    struct operation *operation;
    size_t deploy = world_prepare(OPERATION_DEPLOY, &operation);
    operation_begin(operation);
    size_t kill = world_ask(OPERATION_KILL);
    world_append("service_deployed");
    world_take("supervisor.start");
    world_append("service_killed");
    cr_assert_not(world.answers[deploy].is_there);
    world_stops(STATUS_OK);
    cr_assert_eq(world.answers[kill].status, STATUS_OK);
}

/* ---- what only waits for its program to be ready ---- */

static size_t deploy_on_trial(uint64_t *generation, struct asked *start)
{
    struct operation *operation;
    size_t deploy = world_prepare(OPERATION_DEPLOY, &operation);
    operation->wait = true;
    world_begin(operation);
    *generation = world_append("service_deployed");
    *start = world_take("supervisor.start");
    return deploy;
}

Test(operation_queue, who_waits_for_what_is_killed_on_trial_is_told_so)
{
    uint64_t generation;
    struct asked start;
    size_t deploy = deploy_on_trial(&generation, &start);
    world_tells("starting", generation);
    size_t kill = world_ask(OPERATION_KILL);
    uint64_t event = world_append("service_killed");
    world.outcome = (struct generation_outcome){ .fate = FATE_KILLED, .event_id = event };
    start.on_reply(start.context, STATUS_ABORTED, NULL, NULL);
    cr_assert_eq(world.answers[deploy].status, STATUS_ABORTED);
    cr_assert_not_null(strstr(world.answers[deploy].problem.message,
                              "generation 11 was killed (event 12) before it was ready"));
    world_stops(STATUS_OK);
    cr_assert_eq(world.answers[kill].status, STATUS_OK);
}

/* Its row still says that it starts: what the log says of it counts. */
Test(operation_queue, what_is_killed_is_not_answered_with_what_its_row_showed)
{
    size_t deploy = world_ask(OPERATION_DEPLOY);
    uint64_t generation = world_append("service_deployed");
    struct asked start = world_take("supervisor.start");
    world_tells("starting", generation);
    world_ask(OPERATION_KILL);
    uint64_t event = world_append("service_killed");
    world.outcome = (struct generation_outcome){ .fate = FATE_KILLED, .event_id = event };
    start.on_reply(start.context, STATUS_ABORTED, NULL, NULL);
    cr_assert_eq(world.answers[deploy].status, STATUS_OK);
    cr_assert_str_eq(world.answers[deploy].texts[0], "killed");
    cr_assert_eq(world.answers[deploy].reply.deploy.pid, 0);
}

Test(operation_queue, a_deploy_does_not_wait_until_the_one_before_it_is_ready)
{
    uint64_t generation;
    struct asked start;
    world_runs(7, "");
    size_t first = deploy_on_trial(&generation, &start), second = world_ask(OPERATION_DEPLOY);
    world_nothing_asked(); /* its supervisor has not said that it starts */
    world_tells("starting", generation);
    uint64_t newer = world_append("service_deployed");
    cr_assert_eq(world.asked[0].generation, newer);
    world.outcome = (struct generation_outcome){ .fate = FATE_REPLACED, .event_id = newer };
    start.on_reply(start.context, STATUS_ABORTED, NULL, NULL);
    cr_assert_eq(world.answers[first].status, STATUS_ABORTED);
    cr_assert_not_null(strstr(world.answers[first].problem.message, "was replaced (event 13)"));
    world_starts("running");
    cr_assert_eq(world.answers[second].status, STATUS_OK);
    cr_assert_null(world.service->queue);
}

Test(operation_queue, a_restart_does_not_wait_until_the_deploy_before_it_is_ready)
{
    uint64_t generation;
    struct asked start;
    size_t deploy = deploy_on_trial(&generation, &start), restart = world_ask(OPERATION_RESTART);
    world_nothing_asked(); /* its supervisor has not said that it starts */
    world_tells("starting", generation);
    world_append("service_restart_requested");
    struct asked asked = world_take("supervisor.restart");
    cr_assert_eq(asked.generation, generation);
    const struct supervisor_restart_reply restarted = { 0 };
    asked.on_reply(asked.context, STATUS_OK, NULL, &restarted);
    cr_assert_eq(world.answers[restart].status, STATUS_OK);
    cr_assert_str_eq(world.answers[restart].texts[0], "starting");
    cr_assert_not(world.answers[deploy].is_there, "it waits for the new process");
    const struct supervisor_start_reply ready = { 0 };
    world_tells("running", generation);
    start.on_reply(start.context, STATUS_OK, NULL, &ready);
    cr_assert_eq(world.answers[deploy].status, STATUS_OK);
}

Test(operation_queue, a_restart_that_fails_beside_its_deploy_is_recorded_once)
{
    uint64_t generation;
    struct asked start;
    struct problem problem;
    world_runs(7, "");
    size_t deploy = deploy_on_trial(&generation, &start);
    world_tells("starting", generation);
    size_t restart = world_ask(OPERATION_RESTART);
    world_append("service_restart_requested");
    struct asked asked = world_take("supervisor.restart");
    problem_set(&problem, STATUS_FAILED_PRECONDITION, "argv[0]", "no such file");
    asked.on_reply(asked.context, STATUS_FAILED_PRECONDITION, &problem, NULL);
    cr_assert_eq(world.answers[restart].status, STATUS_FAILED_PRECONDITION);
    world_nothing_asked();
    start.on_reply(start.context, STATUS_FAILED_PRECONDITION, &problem, NULL);
    world_append("service_deployment_failed");
    world_starts("running");
    cr_assert_eq(world.answers[deploy].status, STATUS_FAILED_PRECONDITION);
    cr_assert_eq(world.service->generation, 7);
    world_nothing_asked();
}

/* A kill finds every deploy before it that is not in the log. */
Test(operation_queue, a_kill_ends_a_build_behind_what_is_on_trial)
{
    uint64_t generation;
    struct asked start;
    size_t first = deploy_on_trial(&generation, &start);
    world_tells("starting", generation);
    world.has_build = true;
    size_t second = world_ask(OPERATION_DEPLOY);
    struct asked build = world_take("supervisor.build");
    size_t kill = world_ask(OPERATION_KILL);
    uint64_t event = world_append("service_killed");
    world.outcome = (struct generation_outcome){ .fate = FATE_KILLED, .event_id = event };
    start.on_reply(start.context, STATUS_ABORTED, NULL, NULL);
    world_stops(STATUS_OK);
    static const struct supervisor_build_reply built = { .was_built = true };
    build.on_reply(build.context, STATUS_OK, NULL, &built);
    world_nothing_asked();
    cr_assert_eq(world.answers[first].status, STATUS_ABORTED);
    cr_assert_eq(world.answers[second].status, STATUS_ABORTED);
    cr_assert_eq(world.answers[kill].status, STATUS_OK);
    cr_assert_null(world.service->queue);
}

Test(operation_queue, a_full_queue_refuses_with_its_bound)
{
    struct problem problem = { 0 };
    for (int i = 0; i < OPERATIONS_QUEUED_MAX; i++)
        world_ask(OPERATION_DEPLOY);
    cr_assert_null(operation_new(&world.deployd, world.service, OPERATION_DEPLOY, &problem));
    cr_assert_eq(problem.code, STATUS_RESOURCE_EXHAUSTED);
    cr_assert_gt(problem.retry_after_ms, 0);
    world_append("service_deployed");
    world_starts("running");
    struct operation *operation =
        operation_new(&world.deployd, world.service, OPERATION_DEPLOY, &problem);
    cr_assert_not_null(operation, "one has left");
    operation_free(operation);
}

Test(operation_queue, a_shutdown_refuses_what_is_queued_and_lets_go_on_what_runs)
{
    struct problem problem;
    size_t running = world_ask(OPERATION_DEPLOY), queued = world_ask(OPERATION_DEPLOY);
    problem_set(&problem, STATUS_UNAVAILABLE, "", "Solo is shutting down");
    operations_refuse_queued(&world.deployd, &problem);
    cr_assert_eq(world.answers[queued].status, STATUS_UNAVAILABLE);
    cr_assert_not(world.answers[running].is_there);
    world_append("service_deployed");
    world_starts("running");
    cr_assert_eq(world.answers[running].status, STATUS_OK);
}

/* However many end at once, nothing is begun inside the end of another. */
Test(operation_queue, a_full_queue_whose_operations_all_fail_at_once_is_worked_off)
{
    world.program_is_missing = true;
    struct operation *operation;
    for (int i = 0; i < OPERATIONS_QUEUED_MAX; i++) {
        world_prepare(OPERATION_DEPLOY, &operation);
        operation_begin(operation);
        cr_assert_not(world.answers[i].is_there, "it is not its turn");
    }
    world_nothing_asked();
    for (int i = 0; i < OPERATIONS_QUEUED_MAX; i++)
        cr_assert_eq(world.answers[i].status, STATUS_FAILED_PRECONDITION);
    cr_assert_null(world.service->queue);
}

Test(operation_queue, a_forced_kill_does_not_wait_for_the_start_before_it)
{
    struct operation *operation;
    world_runs(7, "");
    world_ask(OPERATION_DEPLOY);
    size_t kill = world_prepare(OPERATION_KILL, &operation);
    operation->is_forced = true;
    world_begin(operation);
    cr_assert_eq(world.asked_count, 1, "the commit comes first");
    world_append("service_deployed");
    struct asked start = world_take("supervisor.start");
    world_append("service_killed");
    world_stops(STATUS_OK);
    cr_assert_eq(world.answers[kill].status, STATUS_OK, "while the start goes on");
    start.on_reply(start.context, STATUS_ABORTED, NULL, NULL);
    cr_assert_null(world.service->queue);
}

/* ---- a supervisor that lives and does not answer ---- */

static void fall_silent(void)
{
    world.tenant->supervisor.is_silent = true;
    operations_supervisor_silent(world.tenant);
    catalog_mark_queues(&world.deployd.catalog, world.tenant);
    world_turn();
}

static void expect_answer(size_t index, enum status status, const char *part)
{
    const struct answer *answer = &world.answers[index];
    cr_assert(answer->is_there, "nobody waits for a supervisor that hangs");
    cr_assert_eq(answer->status, status, "%s", status_name(answer->status));
    cr_assert_not_null(strstr(answer->problem.message, part), "%s", answer->problem.message);
}

Test(operation_queue, who_waits_for_a_kill_is_told_when_the_supervisor_falls_silent)
{
    world_runs(7, "");
    size_t kill = world_ask(OPERATION_KILL);
    world_append("service_killed");
    struct asked stop = world_take("supervisor.stop");
    fall_silent();
    expect_answer(kill, STATUS_UNKNOWN, "the kill is recorded (event 11)");
    cr_assert_not_null(world.service->queue, "what was sent may still be done");
    world.tenant->supervisor.is_silent = false;
    const struct supervisor_stop_reply reply = { 0 };
    stop.on_reply(stop.context, STATUS_OK, NULL, &reply);
    world_turn();
    cr_assert_null(world.service->queue);
    cr_assert_eq(world.service->state, SERVICE_wanted, "the late answer is taken");
}

Test(operation_queue, what_is_behind_what_a_silent_supervisor_does_not_answer_is_told_too)
{
    size_t first = world_ask(OPERATION_DEPLOY);
    world_append("service_deployed");
    struct asked start = world_take("supervisor.start");
    size_t second = world_ask(OPERATION_DEPLOY), restart = world_ask(OPERATION_RESTART);
    fall_silent();
    expect_answer(first, STATUS_UNKNOWN, "generation 11 is recorded");
    expect_answer(second, STATUS_UNAVAILABLE, "nothing was changed");
    expect_answer(restart, STATUS_UNAVAILABLE, "nothing was changed");
    size_t late = world_ask(OPERATION_DEPLOY), kill = world_ask(OPERATION_KILL);
    expect_answer(late, STATUS_UNAVAILABLE, "nothing was changed");
    cr_assert_not(world.answers[kill].is_there);
    world_append("service_killed");
    expect_answer(kill, STATUS_UNKNOWN, "the kill is recorded (event 12)");
    world.tenant->supervisor.is_silent = false;
    start.on_reply(start.context, STATUS_ABORTED, NULL, NULL);
    world_turn();
    cr_assert_null(world.service->queue);
}

Test(operation_queue, what_a_silent_supervisor_was_to_build_is_not_deployed)
{
    world.has_build = true;
    size_t deploy = world_ask(OPERATION_DEPLOY);
    struct asked build = world_take("supervisor.build");
    fall_silent();
    expect_answer(deploy, STATUS_UNAVAILABLE, "nothing was changed");
    world.tenant->supervisor.is_silent = false;
    build.on_reply(build.context, STATUS_OK, NULL, NULL);
    world_nothing_asked();
    cr_assert_null(world.service->queue);
}
