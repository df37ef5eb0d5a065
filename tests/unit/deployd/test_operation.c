/* Deploy, kill and restart, one at a time, with everything that can happen on their way. */
#include <string.h>

#include "common/base/auto.h"
#include "tests/support/criterion.h"
#include "tests/unit/deployd/operation_world.h"

TestSuite(operation, .init = world_open, .fini = world_close);

Test(operation, every_state_leads_to_done_and_nothing_leaves_it)
{
    for (int from = 0; from < OPERATION_DONE; from++) {
        enum operation_state state = (enum operation_state)from;
        cr_assert(operation_may_move(state, OPERATION_DONE), "state %d", from);
        cr_assert_not(operation_may_move(OPERATION_DONE, state));
        cr_assert_not(operation_may_move(state, OPERATION_QUEUED));
    }
    cr_assert_not(operation_may_move(OPERATION_QUEUED, OPERATION_ACTING));
    cr_assert_not(operation_may_move(OPERATION_COMMITTING, OPERATION_ACTING));
}

Test(operation, a_deploy_is_appended_then_started_then_answered)
{
    size_t deploy = world_ask(OPERATION_DEPLOY);
    cr_assert_eq(world.asked_count, 1);
    uint64_t generation = world_append("service_deployed");
    cr_assert_not(world.answers[deploy].is_there, "exec'd first, answered then");
    cr_assert_eq(world.asked[0].generation, generation);
    cr_assert_eq(world.asked[0].since, generation);
    cr_assert_str_eq(world.asked[0].cause, "deploy");
    world_starts("running");
    const struct answer *answer = &world.answers[deploy];
    cr_assert(answer->is_there);
    cr_assert_eq(answer->status, STATUS_OK);
    cr_assert_eq(answer->reply.deploy.event_id, generation);
    cr_assert_eq(answer->reply.deploy.generation, generation);
    cr_assert_eq(answer->reply.deploy.pid, 4711);
    cr_assert_str_eq(answer->texts[0], "running");
    cr_assert_null(world.service->queue);
}

Test(operation, a_missing_program_is_refused_before_anything_is_appended)
{
    world.program_is_missing = true;
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_nothing_asked();
    cr_assert_eq(world.answers[deploy].status, STATUS_FAILED_PRECONDITION);
    cr_assert_str_eq(world.answers[deploy].problem.field, "argv[0]");
}

Test(operation, a_deploy_whose_event_moved_is_refused)
{
    struct operation *operation;
    size_t deploy = world_prepare(OPERATION_DEPLOY, &operation);
    operation->if_event = world.last_event - 1;
    world_begin(operation);
    world_nothing_asked();
    cr_assert_eq(world.answers[deploy].status, STATUS_ABORTED);
    cr_assert_str_eq(world.answers[deploy].problem.field, "if_event");
    deploy = world_prepare(OPERATION_DEPLOY, &operation);
    operation->if_event = world.last_event;
    world_begin(operation);
    world_take("service_deployed");
}

Test(operation, the_same_spec_is_not_deployed_again_when_asked_so)
{
    struct operation *operation;
    size_t deploy = world_prepare(OPERATION_DEPLOY, &operation);
    world_runs(7, "\x80");
    operation->only_if_changed = true;
    operation->spec_hash = world.live.spec_hash;
    world_begin(operation);
    world_nothing_asked();
    cr_assert(world.answers[deploy].reply.deploy.unchanged);
    cr_assert_eq(world.answers[deploy].reply.deploy.generation, 7);

    world_prepare(OPERATION_DEPLOY, &operation);
    operation->only_if_changed = true;
    operation->spec_hash = hash_of(span_of_text("another"));
    world_begin(operation);
    world_take("service_deployed");
}

static size_t ask_unchanged(enum service_state state, bool wait)
{
    struct operation *operation;
    size_t deploy = world_prepare(OPERATION_DEPLOY, &operation);
    operation->only_if_changed = true;
    operation->wait = wait;
    operation->spec_hash = world.live.spec_hash;
    world.service->state = state;
    world_begin(operation);
    return deploy;
}

Test(operation, an_unchanged_spec_is_awaited_until_it_is_ready)
{
    world_runs(7, "\x80");
    size_t deploy = ask_unchanged(SERVICE_starting, true);
    cr_assert_not(world.answers[deploy].is_there);
    cr_assert_eq(world.asked[0].generation, 7);
    world_starts("running");
    cr_assert_eq(world.answers[deploy].status, STATUS_OK);
    cr_assert(world.answers[deploy].reply.deploy.unchanged);
    world_nothing_asked();
    deploy = ask_unchanged(SERVICE_starting, false);
    cr_assert(world.answers[deploy].is_there, "nobody wants to wait for it");
}

Test(operation, what_was_given_up_is_deployed_again_unchanged_or_not)
{
    world_runs(7, "\x80");
    ask_unchanged(SERVICE_backoff, false);
    world_nothing_asked();
    ask_unchanged(SERVICE_parked, false);
    world_append("service_deployed");
    world_starts("running");
    ask_unchanged(SERVICE_failed, false);
    world_take("service_deployed");
}

Test(operation, a_new_tenant_is_recorded_first)
{
    world.tenant->is_recorded = false;
    size_t deploy = world_ask(OPERATION_DEPLOY);
    cr_assert_eq(world.tenants_asked, 1);
    world_nothing_asked();
    world.tenant->is_recorded = true;
    world.tenant->on_created(world.tenant, NULL);
    world_take("service_deployed");
    cr_assert_not(world.answers[deploy].is_there);
}

Test(operation, a_tenant_that_is_refused_refuses_the_deploy)
{
    struct problem problem;
    world.tenant->is_recorded = false;
    size_t deploy = world_ask(OPERATION_DEPLOY);
    problem_set(&problem, STATUS_RESOURCE_EXHAUSTED, "tenant", "too many");
    world.tenant->on_created(world.tenant, &problem);
    cr_assert_eq(world.answers[deploy].status, STATUS_RESOURCE_EXHAUSTED);
    cr_assert_null(world.service->queue);
}

Test(operation, an_append_of_unknown_outcome_is_said_and_looked_after)
{
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_append_fails("service_deployed", STATUS_UNKNOWN);
    cr_assert_eq(world.answers[deploy].status, STATUS_UNKNOWN);
    cr_assert_eq(world.reconciled, 1);
    world_nothing_asked();
}

Test(operation, a_refused_append_changes_nothing)
{
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_append_fails("service_deployed", STATUS_RESOURCE_EXHAUSTED);
    cr_assert_eq(world.answers[deploy].status, STATUS_RESOURCE_EXHAUSTED);
    cr_assert_eq(world.reconciled, 0);
    world_nothing_asked();
}

Test(operation, a_kill_is_appended_then_carried_out_then_answered)
{
    world_runs(7, "");
    size_t kill = world_ask(OPERATION_KILL);
    cr_assert_eq(world.asked[0].generation, 7);
    uint64_t event = world_append("service_killed");
    cr_assert_not(world.answers[kill].is_there, "it still runs");
    cr_assert_eq(world.asked[0].since, event);
    cr_assert_not(world.asked[0].has_grace);
    world_stops(STATUS_OK);
    cr_assert_eq(world.answers[kill].status, STATUS_OK);
    cr_assert_eq(world.answers[kill].reply.kill.event_id, event);
    cr_assert_eq(world.answers[kill].reply.kill.generation, 7);
    cr_assert_not(service_exists(world.service));
}

/* Only the log can say that it was deployed again since. */
Test(operation, a_kill_that_its_supervisor_refuses_is_not_answered_ok)
{
    world_runs(7, "");
    size_t kill = world_ask(OPERATION_KILL);
    world_append("service_killed");
    world_stops(STATUS_ABORTED);
    cr_assert_eq(world.answers[kill].status, STATUS_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(world.answers[kill].problem.message, "its supervisor refuses it"));
    cr_assert(world.service->was_killed, "it is still to be carried out");
    cr_assert_eq(world.reconciled, 1);
    kill = world_ask(OPERATION_KILL);
    world_append("service_killed");
    world.live = (struct live_row){ .generation = 90, .since = 90 };
    world_stops(STATUS_ABORTED);
    cr_assert_eq(world.answers[kill].status, STATUS_OK, "deployed again since");
}

Test(operation, a_forced_kill_asks_for_no_grace)
{
    struct operation *operation;
    world_runs(7, "");
    world_prepare(OPERATION_KILL, &operation);
    operation->is_forced = true;
    world_begin(operation);
    world_append("service_killed");
    cr_assert(world.asked[0].has_grace);
}

Test(operation, a_kill_of_nothing_is_not_found)
{
    size_t kill = world_ask(OPERATION_KILL);
    world_nothing_asked();
    cr_assert_eq(world.answers[kill].status, STATUS_NOT_FOUND);
}

Test(operation, a_kill_of_what_its_supervisor_does_not_hold_is_done)
{
    world_runs(7, "");
    size_t kill = world_ask(OPERATION_KILL);
    world_append("service_killed");
    world_stops(STATUS_NOT_FOUND);
    cr_assert_eq(world.answers[kill].status, STATUS_OK);
}

Test(operation, a_kill_waits_for_a_supervisor_that_is_not_there)
{
    world_runs(7, "");
    world_supervisor_lost();
    size_t kill = world_ask(OPERATION_KILL);
    world_append("service_killed");
    world_nothing_asked();
    cr_assert_eq(world.supervisors_needed, 1);
    cr_assert_not(world.answers[kill].is_there, "something of it may still run");
    world_supervisor_ready();
    world_stops(STATUS_NOT_FOUND);
    cr_assert_eq(world.answers[kill].status, STATUS_OK);
}

Test(operation, a_repeated_kill_leaves_a_later_deploy_alone)
{
    world_runs(12, "");
    world.repeat = (struct request_record){ .event_id = 11, .generation = 7 };
    size_t kill = world_ask(OPERATION_KILL);
    world_nothing_asked();
    cr_assert_eq(world.answers[kill].status, STATUS_OK);
    cr_assert_eq(world.answers[kill].reply.kill.event_id, 11);
    cr_assert_eq(world.answers[kill].reply.kill.generation, 7);
}

Test(operation, a_deploy_over_what_runs_asks_for_its_secrets_first)
{
    world_runs(7, "");
    world.has_secrets = true;
    size_t deploy = world_ask(OPERATION_DEPLOY);
    const struct problem sealed = { .code = STATUS_FAILED_PRECONDITION,
                                    .message = "the vault is sealed" };
    struct asked asked = world_take("secret.deliver");
    asked.on_reply(asked.context, STATUS_FAILED_PRECONDITION, &sealed, NULL);
    world_nothing_asked();
    cr_assert_eq(world.answers[deploy].status, STATUS_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(world.answers[deploy].problem.message, "was not replaced"));

    world_ask(OPERATION_DEPLOY);
    asked = world_take("secret.deliver");
    asked.on_reply(asked.context, STATUS_OK, NULL, NULL);
    world_append("service_deployed");
}

/* It ends nothing, and waits for them. */
Test(operation, a_first_deploy_does_not_ask_for_its_secrets)
{
    world.has_secrets = true;
    world_ask(OPERATION_DEPLOY);
    world_append("service_deployed");
}

Test(operation, nothing_begins_once_a_shutdown_has)
{
    world_runs(7, "");
    world.deployd.drain.is_begun = true;
    size_t kill = world_ask(OPERATION_KILL);
    world_nothing_asked();
    cr_assert_eq(world.answers[kill].status, STATUS_UNAVAILABLE);
}

/* ---- what is acknowledged has run by the log ---- */

Test(operation, a_deploy_is_answered_when_its_start_is_in_the_log)
{
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_append("service_deployed");
    world.report = 5;
    world_starts("running");
    cr_assert_not(world.answers[deploy].is_there, "its report is on the way");
    world.tenant->supervisor.acknowledged = 4;
    catalog_mark(&world.deployd.catalog, world.service);
    world_nothing_asked();
    cr_assert_not(world.answers[deploy].is_there, "that was the one before");
    world.tenant->supervisor.acknowledged = 5;
    catalog_mark(&world.deployd.catalog, world.service);
    world_nothing_asked();
    cr_assert_eq(world.answers[deploy].status, STATUS_OK);
    cr_assert_str_eq(world.answers[deploy].texts[0], "running");
}

Test(operation, a_deploy_whose_supervisor_is_lost_before_its_report_starts_again)
{
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_append("service_deployed");
    world.report = 5;
    world_starts("running");
    world_supervisor_lost();
    world_supervisor_ready();
    cr_assert_not(world.answers[deploy].is_there);
    world.report = 0; /* it was acknowledged meanwhile */
    world_starts("running");
    cr_assert_eq(world.answers[deploy].status, STATUS_OK);
}

Test(operation, a_start_that_the_log_does_not_take_is_of_unknown_outcome)
{
    size_t deploy = world_ask(OPERATION_DEPLOY);
    world_append("service_deployed");
    world.report = 5;
    world_starts("running");
    ev_timer_stop(world.deployd.loop, &world.service->queue->timer); /* the time is over */
    catalog_mark(&world.deployd.catalog, world.service);
    world_nothing_asked();
    cr_assert_eq(world.answers[deploy].status, STATUS_UNKNOWN);
}

Test(operation, a_supervisor_prepares_for_what_is_new_while_the_log_has_it)
{
    world_ask(OPERATION_DEPLOY);
    cr_assert_eq(world.prepared, 1);
    cr_assert_str_eq(world.asked[0].what, "service_deployed", "it does not wait for that");
    world_append("service_deployed");
    world_starts("running");
    world_ask(OPERATION_DEPLOY);
    world_append("service_deployed");
    cr_assert_eq(world.prepared, 1, "what ran before has its folder");
    world_starts("running");
    world_ask(OPERATION_DEPLOY);
    world_append_fails("service_deployed", STATUS_RESOURCE_EXHAUSTED);
    cr_assert_eq(world.taken_back, 0, "and keeps it");
}

Test(operation, what_was_prepared_is_taken_back_when_the_log_does_not_have_it)
{
    static const enum status refusals[] = { STATUS_RESOURCE_EXHAUSTED, STATUS_UNKNOWN };
    for (unsigned i = 0; i < COUNT_OF(refusals); i++) {
        world_ask(OPERATION_DEPLOY);
        cr_assert_eq(world.taken_back, i);
        world_append_fails("service_deployed", refusals[i]);
        cr_assert_eq(world.prepared, i + 1);
        cr_assert_eq(world.taken_back, i + 1);
    }
    world_ask(OPERATION_DEPLOY);
    world.tenant->supervisor.state = SUPERVISOR_ABSENT;
    world_append_fails("service_deployed", STATUS_RESOURCE_EXHAUSTED);
    cr_assert_eq(world.taken_back, 2, "nobody is there who could");
}

Test(operation, a_supervisor_comes_up_while_the_log_has_its_first_deploy)
{
    world.tenant->supervisor.state = SUPERVISOR_ABSENT;
    world_ask(OPERATION_DEPLOY);
    cr_assert_eq(world.supervisors_needed, 1);
    cr_assert_eq(world.prepared, 0);
    world_take("service_deployed");
}
