/* Starts that fail, supervisors that go away, and what recovery asks for. */
#include <string.h>

#include "common/wire/writer.h"
#include "deployd/operation_queue.h"
#include "tests/support/criterion.h"
#include "tests/unit/deployd/operation_world.h"

TestSuite(operation_start, .init = world_open, .fini = world_close);

static size_t act(enum operation_kind kind, uint64_t generation, uint64_t since)
{
    struct operation *operation;
    size_t index = world_prepare(kind, &operation);
    operation->is_recovery = true;
    operation->has_request_id = false;
    operation->generation = generation;
    operation->since = since;
    operation->recovery_id = 5;
    world_begin(operation);
    return index;
}

static void expect(size_t index, const char *result, const char *code)
{
    cr_assert(world.answers[index].is_there);
    cr_assert_eq(world.answers[index].status, STATUS_OK);
    cr_assert_str_eq(world.answers[index].texts[0], result);
    cr_assert_str_eq(world.answers[index].texts[1], code);
}

Test(operation_start, a_failed_deploy_falls_back_to_what_ran_before)
{
    world_runs(7, "");
    size_t deploy = world_ask(OPERATION_DEPLOY);
    uint64_t generation = world_append("service_deployed");
    world_start_fails(STATUS_FAILED_PRECONDITION, "no such interpreter");
    cr_assert_not(world.answers[deploy].is_there);
    cr_assert_eq(world.asked[0].generation, generation);
    uint64_t failed = world_append("service_deployment_failed");
    cr_assert_eq(world.asked[0].generation, 7);
    cr_assert_eq(world.asked[0].since, failed, "newer than the generation that failed");
    cr_assert_str_eq(world.asked[0].cause, "fallback");
    world_starts("running");
    const struct answer *answer = &world.answers[deploy];
    cr_assert_eq(answer->status, STATUS_FAILED_PRECONDITION);
    cr_assert_str_eq(answer->problem.field, "argv[0]");
    cr_assert_not_null(strstr(answer->problem.message, "no such interpreter"));
    cr_assert_not_null(strstr(answer->problem.message, "generation 7 was started again"));
    cr_assert_eq(world.service->generation, 7);
}

Test(operation_start, a_fallback_that_fails_too_is_said)
{
    world_runs(7, "");
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_append("service_deployed");
    world_start_fails(STATUS_FAILED_PRECONDITION, "first");
    uint64_t fell_back = world_append("service_deployment_failed");
    world_start_fails(STATUS_FAILED_PRECONDITION, "second\nwith what it printed");
    cr_assert_not(world.answers[deploy].is_there, "it is on its way into the log");
    cr_assert_eq(world.asked[0].generation, 7);
    cr_assert_eq(world.asked[0].cause_id, fell_back);
    cr_assert_str_eq(world.asked[0].code, "exec_failed");
    cr_assert_str_eq(world.asked[0].reason,
                     "its newer generation failed, and it cannot be started again: second");
    world_append("service_recovery_failed");
    world_nothing_asked();
    cr_assert_eq(world.answers[deploy].status, STATUS_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(world.answers[deploy].problem.message, "second"));
    cr_assert_eq(world.service->wanted.generation, 7, "it stays wanted");
}

/* Its supervisor keeps the trial that failed; that says nothing about what is wanted. */
Test(operation_start, a_fallback_that_fails_is_shown_and_not_the_trial_before_it)
{
    char reason[REASON_BYTES_MAX + 1];
    world_runs(7, "");
    world_ask(OPERATION_DEPLOY);
    uint64_t generation = world_append("service_deployed");
    world_tells("failed", generation);
    world_start_fails(STATUS_DEADLINE_EXCEEDED, "was not ready within 1s");
    world_append("service_deployment_failed");
    world_start_fails(STATUS_FAILED_PRECONDITION, "its build failed");
    world_append("service_recovery_failed");
    cr_assert_not(world.service->is_held);
    cr_assert_eq(world.service->state, SERVICE_failed);
    cr_assert_str_eq(service_reason(world.service, reason),
                     "its newer generation failed, and it cannot be started again: its build "
                     "failed");
}

/* It ended what ran: that nothing runs since stands in the log. */
Test(operation_start, a_restart_that_cannot_start_it_again_is_recorded)
{
    world_runs(7, "");
    world.has_run = true;
    size_t restart = world_ask(OPERATION_RESTART);
    uint64_t event = world_append("service_restart_requested");
    struct asked asked = world_take("supervisor.restart");
    struct problem problem;
    problem_set(&problem, STATUS_FAILED_PRECONDITION, "argv[0]", "no such file");
    world_tells("failed", 7);
    asked.on_reply(asked.context, STATUS_FAILED_PRECONDITION, &problem, NULL);
    cr_assert_eq(world.asked[0].cause_id, event);
    cr_assert_str_eq(world.asked[0].reason, "no such file");
    world_append("service_recovery_failed");
    cr_assert_eq(world.answers[restart].status, STATUS_FAILED_PRECONDITION);
    world_nothing_asked();
    cr_assert_eq(world.service->wanted.generation, 7);
}

Test(operation_start, a_first_deploy_that_fails_is_shown_until_it_is_killed)
{
    size_t deploy = world_ask(OPERATION_DEPLOY);
    uint64_t generation = world_append("service_deployed");
    world_start_fails(STATUS_FAILED_PRECONDITION, "no such interpreter");
    cr_assert_eq(world.asked[0].generation, generation);
    world_append("service_deployment_failed");
    cr_assert_not(world.answers[deploy].is_there, "its supervisor holds it still");
    cr_assert_eq(world.asked[0].generation, generation, "the one that failed, and nothing newer");
    cr_assert_eq(world.asked[0].since, generation);
    world_stops(STATUS_OK);
    cr_assert_eq(world.answers[deploy].status, STATUS_FAILED_PRECONDITION);
    world_nothing_asked();
    cr_assert(world.service->is_failed_deploy);
    cr_assert_eq(world.service->state, SERVICE_failed);
    cr_assert_eq(world.service->generation, generation);
    cr_assert_eq(world.service->wanted.generation, 0);
    size_t restart = world_ask(OPERATION_RESTART);
    cr_assert_eq(world.answers[restart].status, STATUS_FAILED_PRECONDITION);
    size_t kill = world_ask(OPERATION_KILL);
    world_append("service_killed");
    world_nothing_asked(); /* no supervisor has anything of it */
    cr_assert_eq(world.answers[kill].status, STATUS_OK);
    cr_assert_eq(world.answers[kill].reply.kill.generation, generation);
    cr_assert_not(service_exists(world.service));
    cr_assert_null(world.service->queue);
}

Test(operation_start, a_failure_that_cannot_be_recorded_is_unknown)
{
    world_runs(7, "");
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_append("service_deployed");
    world_start_fails(STATUS_FAILED_PRECONDITION, "no such interpreter");
    world_append_fails("service_deployment_failed", STATUS_UNAVAILABLE);
    cr_assert_eq(world.answers[deploy].status, STATUS_UNKNOWN);
    cr_assert_eq(world.reconciled, 1);
}

Test(operation_start, a_start_is_asked_again_of_the_next_supervisor)
{
    size_t deploy = world_ask(OPERATION_DEPLOY);
    uint64_t generation = world_append("service_deployed");
    world_supervisor_lost();
    world_nothing_asked();
    cr_assert_not(world.answers[deploy].is_there);
    world_supervisor_ready();
    cr_assert_eq(world.asked[0].generation, generation);
    world_starts("running");
    cr_assert_eq(world.answers[deploy].status, STATUS_OK);
}

Test(operation_start, a_start_that_ends_every_supervisor_is_given_up)
{
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_append("service_deployed");
    for (int attempt = 0; attempt < SUPERVISOR_ATTEMPTS_MAX; attempt++) {
        cr_assert_not(world.answers[deploy].is_there);
        struct asked start = world_take("supervisor.start");
        start.on_reply(start.context, STATUS_UNKNOWN, NULL, NULL);
    }
    world_nothing_asked();
    cr_assert_eq(world.answers[deploy].status, STATUS_UNKNOWN, "it is recorded");
    cr_assert_neq(world.service->wanted.generation, 0, "it stays wanted");
    cr_assert_eq(world.service->state, SERVICE_failed);
}

Test(operation_start, nothing_is_started_that_the_log_does_not_want_any_more)
{
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_append("service_deployed");
    world_supervisor_lost();
    world.live = (struct live_row){ .generation = 99, .since = 99 };
    world.outcome = (struct generation_outcome){ .fate = FATE_REPLACED, .event_id = 99 };
    world_supervisor_ready();
    world_nothing_asked();
    cr_assert_eq(world.answers[deploy].status, STATUS_OK, "as any repeat of it");
    cr_assert_str_eq(world.answers[deploy].texts[0], "replaced");
}

Test(operation_start, a_supervisor_that_is_lost_too_often_is_given_up)
{
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_append("service_deployed");
    for (int attempt = 0; attempt < SUPERVISOR_ATTEMPTS_MAX; attempt++) {
        cr_assert_not(world.answers[deploy].is_there);
        world_take("supervisor.start");
        world_supervisor_lost();
        if (attempt + 1 < SUPERVISOR_ATTEMPTS_MAX)
            world_supervisor_ready();
    }
    cr_assert_eq(world.answers[deploy].status, STATUS_UNKNOWN);
}

Test(operation_start, what_nobody_wants_needs_no_supervisor)
{
    world_supervisor_lost();
    expect(act(OPERATION_START, 7, 7), "skipped", "superseded");
    world.live = (struct live_row){ .generation = 9, .since = 9 };
    expect(act(OPERATION_STOP, 7, 0), "skipped", "superseded");
    cr_assert_eq(world.supervisors_needed, 0);
}

Test(operation_start, a_recovery_that_is_refused_fails_its_call)
{
    world.log_is_unreadable = true;
    size_t start = act(OPERATION_START, 7, 7);
    cr_assert_eq(world.answers[start].status, STATUS_UNAVAILABLE);
    cr_assert_neq(world.answers[start].problem.message[0], '\0');
    cr_assert_eq(world.recoveries_failed, 1);
    world.log_is_unreadable = false;

    struct problem problem;
    world.live = (struct live_row){ .generation = 7, .since = 7 };
    act(OPERATION_START, 7, 7);
    size_t queued = act(OPERATION_START, 7, 7);
    problem_set(&problem, STATUS_UNAVAILABLE, "", "Solo is shutting down");
    operations_refuse_queued(&world.deployd, &problem);
    cr_assert_eq(world.answers[queued].status, STATUS_UNAVAILABLE);
    cr_assert_eq(world.recoveries_failed, 2);
}

Test(operation_start, an_unreadable_log_starts_nothing)
{
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_append("service_deployed");
    world_supervisor_lost();
    world.log_is_unreadable = true;
    world_supervisor_ready();
    world_nothing_asked();
    cr_assert_not(world.answers[deploy].is_there);
}

Test(operation_start, recovery_starts_what_is_wanted)
{
    world.live = (struct live_row){ .generation = 7, .since = 8 };
    size_t start = act(OPERATION_START, 7, 8);
    cr_assert_str_eq(world.asked[0].cause, "recover");
    cr_assert_eq(world.asked[0].since, 8);
    world_starts("running");
    expect(start, "recovered", "");
    cr_assert_eq(world.answers[start].reply.act.pid, 4711);
}

Test(operation_start, recovery_is_fenced_by_generation_and_since)
{
    world.live = (struct live_row){ .generation = 7, .since = 8 };
    expect(act(OPERATION_START, 6, 8), "skipped", "superseded");
    expect(act(OPERATION_START, 7, 7), "skipped", "superseded");
    world.live = (struct live_row){ 0 };
    expect(act(OPERATION_START, 7, 8), "skipped", "superseded");
    world_nothing_asked();
}

Test(operation_start, recovery_leaves_what_is_held_alone)
{
    world_runs(7, "");
    expect(act(OPERATION_START, 7, 7), "skipped", "held");
    world_nothing_asked();
}

Test(operation_start, recovery_starts_a_parked_service_once_more)
{
    world_runs(7, "");
    world.service->state = SERVICE_parked;
    act(OPERATION_START, 7, 7);
    cr_assert_str_eq(world_take("supervisor.start").cause, "recover");
}

Test(operation_start, a_recovery_without_its_program_fails_and_is_recorded)
{
    world.live = (struct live_row){ .generation = 7, .since = 7 };
    world.program_is_missing = true;
    size_t start = act(OPERATION_START, 7, 7);
    world_append("service_recovery_failed");
    expect(start, "failed", "program_missing");
    cr_assert_eq(world.service->state, SERVICE_failed);
    cr_assert_eq(world.live.generation, 7, "it stays wanted");
}

Test(operation_start, a_recovery_that_cannot_exec_fails_and_is_recorded)
{
    world.live = (struct live_row){ .generation = 7, .since = 7 };
    size_t start = act(OPERATION_START, 7, 7);
    world_start_fails(STATUS_FAILED_PRECONDITION, "exec format error");
    world_append("service_recovery_failed");
    expect(start, "failed", "exec_failed");
}

/* The generation that ran before was acknowledged; the one that never ran was not. */
Test(operation_start, a_recovery_of_a_deploy_that_nobody_finished_falls_back)
{
    world.live = (struct live_row){ .generation = 9, .since = 9, .previous = 7 };
    world.has_run = false;
    size_t start = act(OPERATION_START, 9, 9);
    world_start_fails(STATUS_FAILED_PRECONDITION, "no such interpreter");
    world_append("service_deployment_failed");
    cr_assert_eq(world.asked[0].generation, 7);
    world_starts("running");
    expect(start, "failed", "exec_failed");
    cr_assert_eq(world.live.generation, 7);
    cr_assert_null(world.service->queue);
}

Test(operation_start, a_recovery_whose_fallback_is_overtaken_has_failed)
{
    world.live = (struct live_row){ .generation = 9, .since = 9, .previous = 7 };
    size_t start = act(OPERATION_START, 9, 9);
    world_start_fails(STATUS_FAILED_PRECONDITION, "no such interpreter");
    world.tenant->supervisor.state = SUPERVISOR_DELAYED;
    world_append("service_deployment_failed");
    world.live = (struct live_row){ .generation = 99, .since = 99 };
    world_supervisor_ready();
    world_nothing_asked();
    expect(start, "failed", "exec_failed");
}

Test(operation_start, a_fallback_without_a_supervisor_still_says_why_the_deploy_failed)
{
    world_runs(7, "");
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_append("service_deployed");
    world_start_fails(STATUS_FAILED_PRECONDITION, "no such interpreter");
    world.tenant->supervisor.state = SUPERVISOR_DELAYED;
    world_append("service_deployment_failed");
    ev_timer_stop(world.deployd.loop, &world.service->queue->timer); /* the time is over */
    catalog_mark(&world.deployd.catalog, world.service);
    world_turn();
    cr_assert_str_eq(world.asked[0].code, "supervisor_unavailable");
    world_append_fails("service_recovery_failed", STATUS_UNAVAILABLE);
    world_nothing_asked();
    const struct answer *answer = &world.answers[deploy];
    cr_assert_eq(answer->status, STATUS_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(answer->problem.message, "no such interpreter"));
    cr_assert_not_null(strstr(answer->problem.message, "generation 7 is wanted again"));
}

/* On trial still, its first start anew fails: what is wanted then is the same as after a deploy. */
Test(operation_start, a_restart_of_what_never_ran_falls_back)
{
    world.live = (struct live_row){ .generation = 9, .since = 9, .previous = 7 };
    size_t restart = world_ask(OPERATION_RESTART);
    world_append("service_restart_requested");
    cr_assert_str_eq(world.asked[0].cause, "restart");
    world_start_fails(STATUS_FAILED_PRECONDITION, "no such interpreter");
    world_append("service_deployment_failed");
    cr_assert_eq(world.asked[0].generation, 7);
    world_starts("running");
    cr_assert_eq(world.answers[restart].status, STATUS_FAILED_PRECONDITION);
}

Test(operation_start, recovery_stops_only_what_is_not_wanted)
{
    world_runs(7, "");
    expect(act(OPERATION_STOP, 7, 0), "skipped", "superseded");
    world_nothing_asked();
    world.live = (struct live_row){ 0 };
    size_t stop = act(OPERATION_STOP, 7, 0);
    world_stops(STATUS_OK);
    expect(stop, "stopped", "");
}

Test(operation_start, a_stop_that_was_planned_before_a_deploy_stops_nothing)
{
    world_runs(9, "");
    expect(act(OPERATION_STOP, 7, 0), "skipped", "superseded");
    world.live = (struct live_row){ 0 }; /* 9 was killed meanwhile, and is still held */
    expect(act(OPERATION_STOP, 7, 0), "skipped", "superseded");
    world_nothing_asked();
}

Test(operation_start, a_stop_that_its_supervisor_refuses_is_superseded)
{
    world_runs(7, "");
    world.live = (struct live_row){ 0 };
    size_t stop = act(OPERATION_STOP, 7, 0);
    cr_assert_eq(world.asked[0].generation, 7);
    cr_assert_eq(world.asked[0].since, 7);
    world_stops(STATUS_ABORTED);
    expect(stop, "skipped", "superseded");
    cr_assert_eq(world.reconciled, 1, "the log says what is to become of it");
}

/* What reconciling begins: nobody waits for the answer. */
static void reconcile(enum operation_kind kind)
{
    struct problem problem;
    struct operation *operation = operation_new(&world.deployd, world.service, kind, &problem);
    world_begin(operation);
}

Test(operation_start, a_deploy_that_nobody_finished_falls_back_when_it_fails)
{
    world.live = (struct live_row){ .generation = 9, .since = 9, .previous = 7 };
    world.has_run = false;
    reconcile(OPERATION_START);
    cr_assert_str_eq(world.asked[0].cause, "deploy");
    world_start_fails(STATUS_FAILED_PRECONDITION, "no such interpreter");
    world_append("service_deployment_failed");
    cr_assert_eq(world.asked[0].generation, 7);
    world_starts("running");
    cr_assert_null(world.service->queue);
}

Test(operation_start, what_ran_before_stays_wanted_when_it_fails)
{
    world.live = (struct live_row){ .generation = 9, .since = 9, .previous = 7 };
    world.has_run = true;
    reconcile(OPERATION_START);
    cr_assert_str_eq(world.asked[0].cause, "reconcile");
    world_start_fails(STATUS_FAILED_PRECONDITION, "no such interpreter");
    world_append("service_recovery_failed");
    world_nothing_asked();
    cr_assert_eq(world.service->wanted.generation, 9);
    cr_assert_eq(world.service->state, SERVICE_failed);
}

static void parked_at(uint64_t generation, uint64_t since)
{
    struct buffer row = { .limit = 64 };
    write_map(&row, 2);
    write_str(&row, "generation");
    write_u64(&row, generation);
    write_str(&row, "since");
    write_u64(&row, since);
    free((void *)world.service->parked.data);
    world.service->parked = buffer_span(&row); /* the service's from now on */
}

Test(operation_start, what_was_parked_when_its_supervisor_died_is_not_started)
{
    world.live = (struct live_row){ .generation = 9, .since = 9 };
    world.has_run = true;
    parked_at(9, 9);
    reconcile(OPERATION_START);
    cr_assert(world.asked[0].is_parked);
    world_starts("parked");
    cr_assert_null(world.service->queue);
}

Test(operation_start, recovery_starts_what_was_parked_when_its_supervisor_died)
{
    world.live = (struct live_row){ .generation = 9, .since = 9 };
    parked_at(9, 9);
    act(OPERATION_START, 9, 9);
    cr_assert_not(world_take("supervisor.start").is_parked);
}

Test(operation_start, another_generation_than_the_one_that_was_parked_is_started)
{
    world.live = (struct live_row){ .generation = 9, .since = 9 };
    world.has_run = true;
    parked_at(7, 7);
    reconcile(OPERATION_START);
    cr_assert_not(world_take("supervisor.start").is_parked);
}

/* What its supervisor holds is newer than the log, which knows of nobody who has overtaken it. */
Test(operation_start, what_a_supervisor_refuses_against_the_log_is_never_answered_ok)
{
    world_runs(7, "");
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_append("service_deployed");
    world_start_fails(STATUS_ABORTED, "acme/api is held since event 400");
    cr_assert_eq(world.answers[deploy].status, STATUS_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(world.answers[deploy].problem.message, "held since event 400"));
    size_t restart = world_ask(OPERATION_RESTART);
    world_append("service_restart_requested");
    world_start_fails(STATUS_ABORTED, "acme/api is held since event 400");
    cr_assert_eq(world.answers[restart].status, STATUS_FAILED_PRECONDITION);
    size_t start = act(OPERATION_START, world.live.generation, world.live.since);
    world_start_fails(STATUS_ABORTED, "acme/api is held since event 400");
    world_append("service_recovery_failed");
    expect(start, "failed", "log_went_back");
}

/* Neither replaced nor ready: it is started again with Solo. */
Test(operation_start, who_waits_for_what_a_shutdown_ends_is_not_told_that_it_runs)
{
    world_runs(7, "");
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_append("service_deployed");
    world.tenant->supervisor.is_ending = true;
    world_start_fails(STATUS_ABORTED, "it was asked to stop");
    cr_assert(world.answers[deploy].is_there);
    cr_assert_eq(world.answers[deploy].status, STATUS_UNKNOWN);
    cr_assert_not_null(strstr(world.answers[deploy].problem.message, "is shutting down"));
    cr_assert_eq(world.live.generation, world.last_event, "it stays wanted");
}
