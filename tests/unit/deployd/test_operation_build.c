/* Deploys, kills and starts of what has a build. */
#include <string.h>

#include "tests/support/criterion.h"
#include "tests/unit/deployd/operation_world.h"

static void open_with_build(void)
{
    world_open();
    world.has_build = true;
}

TestSuite(operation_build, .init = open_with_build, .fini = world_close);

Test(operation_build, it_is_built_then_appended_then_built_once_more_and_started)
{
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_builds(STATUS_OK, "");
    uint64_t generation = world_append("service_deployed");
    cr_assert_eq(world.asked[0].generation, generation);
    cr_assert_str_eq(world.asked[0].what, "supervisor.start", "what was just built is there");
    world_starts("running");
    cr_assert(world.answers[deploy].is_there);
    cr_assert_eq(world.answers[deploy].status, STATUS_OK);
}

Test(operation_build, one_that_fails_is_the_answer_and_changes_nothing)
{
    world_runs(7, "x");
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_builds(STATUS_FAILED_PRECONDITION, "cc exited with code 1\ncode.c:1: error");
    cr_assert_eq(world.answers[deploy].status, STATUS_FAILED_PRECONDITION);
    cr_assert_str_eq(world.answers[deploy].problem.message,
                     "cc exited with code 1\ncode.c:1: error");
    cr_assert_str_eq(world.answers[deploy].problem.field, "build");
    world_nothing_asked();
    cr_assert_eq(world.live.generation, 7);
    cr_assert_eq(world.service->state, SERVICE_running);
}

Test(operation_build, a_repeat_that_waits_gets_the_same_refusal)
{
    struct operation *repeat;
    size_t first = world_ask(OPERATION_DEPLOY);
    size_t second = world_prepare(OPERATION_DEPLOY, &repeat);
    repeat->request_id = world.service->queue->request_id;
    repeat->body_hash = world.service->queue->body_hash;
    world_begin(repeat);
    size_t other = world_ask(OPERATION_DEPLOY);
    world_builds(STATUS_FAILED_PRECONDITION, "cc exited with code 1");
    cr_assert_eq(world.answers[first].status, STATUS_FAILED_PRECONDITION);
    cr_assert_eq(world.answers[second].status, STATUS_FAILED_PRECONDITION);
    cr_assert_not(world.answers[other].is_there, "another request is built for itself");
    world_builds(STATUS_OK, "");
    cr_assert_eq(world.asked_count, 1);
}

Test(operation_build, a_kill_does_not_wait_for_it)
{
    world_runs(7, "x");
    size_t deploy = world_ask(OPERATION_DEPLOY);
    size_t kill = world_ask(OPERATION_KILL);
    struct asked build = world_take("supervisor.build");
    world_append("service_killed");
    cr_assert_str_eq(world.asked[0].what, "supervisor.stop");
    /* The supervisor ends the build first. */
    struct problem aborted = { .code = STATUS_ABORTED, .message = "killed" };
    build.on_reply(build.context, STATUS_ABORTED, &aborted, NULL);
    world_stops(STATUS_OK);
    cr_assert_eq(world.answers[deploy].status, STATUS_ABORTED);
    cr_assert_eq(world.answers[kill].status, STATUS_OK);
    cr_assert_eq(world.live.generation, 0);
}

Test(operation_build, a_kill_of_a_first_deploy_ends_it_and_is_recorded)
{
    size_t deploy = world_ask(OPERATION_DEPLOY);
    size_t kill = world_ask(OPERATION_KILL);
    struct asked build = world_take("supervisor.build");
    world_append("service_killed");
    struct problem aborted = { .code = STATUS_ABORTED, .message = "killed" };
    build.on_reply(build.context, STATUS_ABORTED, &aborted, NULL);
    cr_assert_str_eq(world.asked[0].what, "supervisor.stop");
    world_stops(STATUS_NOT_FOUND);
    cr_assert_eq(world.answers[deploy].status, STATUS_ABORTED);
    cr_assert_eq(world.answers[kill].status, STATUS_OK);
    world_nothing_asked();
    cr_assert_eq(world.live.generation, 0);
}

/* The build ends while the kill is on its way into the log: deployed behind it, the service would
 * live. */
Test(operation_build, what_is_built_just_before_a_kill_is_not_deployed_after_it)
{
    size_t deploy = world_ask(OPERATION_DEPLOY);
    size_t kill = world_ask(OPERATION_KILL);
    struct asked build = world_take("supervisor.build");
    const struct supervisor_build_reply built = { .was_built = true };
    build.on_reply(build.context, STATUS_OK, NULL, &built);
    world_append("service_killed");
    cr_assert_eq(world.answers[deploy].status, STATUS_ABORTED);
    cr_assert_not_null(strstr(world.answers[deploy].problem.message, "was killed while"));
    world_stops(STATUS_NOT_FOUND);
    cr_assert_eq(world.answers[kill].status, STATUS_OK);
    world_nothing_asked();
    cr_assert_eq(world.live.generation, 0);
}

Test(operation_build, a_kill_that_waits_for_a_supervisor_ends_what_waits_to_be_built)
{
    world_supervisor_lost();
    size_t deploy = world_ask(OPERATION_DEPLOY);
    size_t kill = world_ask(OPERATION_KILL);
    world_append("service_killed");
    cr_assert_eq(world.answers[deploy].status, STATUS_ABORTED);
    world_supervisor_ready();
    world_stops(STATUS_NOT_FOUND);
    cr_assert_eq(world.answers[kill].status, STATUS_OK);
    world_nothing_asked();
}

Test(operation_build, it_is_asked_for_again_when_the_supervisor_dies)
{
    size_t deploy = world_ask(OPERATION_DEPLOY);
    struct asked build = world_take("supervisor.build");
    (void)build; /* its client is closed: nobody answers */
    cr_assert_neq(world.service->building_since_ns, 0);
    world_supervisor_lost();
    cr_assert_eq(world.service->building_since_ns, 0, "nobody builds it now");
    world_nothing_asked();
    cr_assert_eq(world.live.generation, 0, "nothing has changed");
    world_supervisor_ready();
    world_builds(STATUS_OK, "");
    world_append("service_deployed");
    world_starts("running");
    cr_assert_eq(world.answers[deploy].status, STATUS_OK);
}

Test(operation_build, without_a_supervisor_nothing_was_changed)
{
    size_t deploy = world_ask(OPERATION_DEPLOY);
    for (int i = 0; i < SUPERVISOR_ATTEMPTS_MAX; i++)
        world_builds(STATUS_UNAVAILABLE, "the supervisor ends");
    cr_assert_eq(world.answers[deploy].status, STATUS_UNAVAILABLE);
    cr_assert_not_null(strstr(world.answers[deploy].problem.message, "nothing was changed"));
    cr_assert_eq(world.live.generation, 0);
}

Test(operation_build, what_was_removed_between_is_built_again)
{
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_builds(STATUS_OK, "");
    world_append("service_deployed");
    world_start_fails(STATUS_NOT_FOUND, "the artefact has to be built");
    world_builds(STATUS_OK, "");
    world_starts("running");
    cr_assert_eq(world.answers[deploy].status, STATUS_OK);
}

Test(operation_build, a_recovery_builds_and_says_when_that_fails)
{
    struct operation *operation;
    world.live = (struct live_row){ .generation = 5, .since = 5 };
    world.has_run = true;
    size_t act = world_prepare(OPERATION_START, &operation);
    operation->is_recovery = true;
    operation->generation = operation->since = 5;
    world_begin(operation);
    world_builds(STATUS_FAILED_PRECONDITION, "cc exited with code 1\noutput");
    cr_assert_str_eq(world.asked[0].reason, "its build failed: cc exited with code 1");
    world_append("service_recovery_failed");
    cr_assert_str_eq(world.answers[act].texts[0], "failed");
    cr_assert_str_eq(world.answers[act].texts[1], "build_failed");
}
