/* What an operation asks of its tenant's supervisor, and what becomes of the answers. The normal
 * path: supervisor.start or supervisor.stop is answered ok, the row goes into the catalog, the
 * caller gets its answer. Ways to fail: no supervisor can be had (the log carries it on later), the
 * connection breaks (asked again), the program cannot be started (operation_failure.h). */
#include "deployd/operation_act.h"

#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/plan/plan.h"
#include "common/wire/reader.h"
#include "deployd/operation_build.h"
#include "deployd/operation_failure.h"
#include "deployd/operation_outcome.h"
#include "deployd/operation_refused.h"
#include "deployd/operation_start.h"
#include "deployd/supervisors.h"

typedef unsigned long long number;

/* As the supervisor told them last. */
static struct span exits_of(const struct service *service, uint64_t generation)
{
    struct reader value;
    struct span exits;
    bool is_its = service->is_held && service->generation == generation;
    return is_its && map_find(service->row, "exits", &value) == STATUS_OK &&
                   reader_any(&value, &exits) == STATUS_OK
               ? exits
               : (struct span){ 0 };
}

/* The refusal stands whatever became of the rest; a supervisor that still holds it is told when
 * everything it holds is compared with the log. */
static void discarded(struct operation *operation, bool is_gone)
{
    struct service *service = operation->service;
    if (service->wanted.generation == 0 && (is_gone || !service_has_row(service)))
        catalog_fail_deploy(&operation->owner->catalog, service, operation->generation,
                            operation->reason, exits_of(service, operation->generation));
    operation_end_failed(operation);
}

static const char silent_text[] =
    "its supervisor does not answer (`soloctl status` says what to do)";

/* What its caller is told who cannot wait for the supervisor. What stands in the log is carried out
 * later; of a restart that was asked for it is not known. */
static void say_why(struct operation *operation, const char *why)
{
    struct problem *problem = &operation->problem;
    const char *key = operation->service->key;
    number id = operation->event_id;
    if (operation_is_uncommitted(operation))
        problem_set(problem, STATUS_UNAVAILABLE, "",
                    "%s was not built, and nothing was changed: %s", key, why);
    else if (operation->kind == OPERATION_DEPLOY)
        problem_set(problem, STATUS_UNKNOWN, "",
                    "generation %llu is recorded and is started as soon as this is over: %s", id,
                    why);
    else if (operation->kind == OPERATION_KILL)
        problem_set(
            problem, STATUS_UNKNOWN, "",
            "the kill is recorded (event %llu) and is carried out as soon as this is over: %s", id,
            why);
    else if (operation->attempts == 0)
        problem_set(problem, STATUS_UNAVAILABLE, "", "%s was not restarted: %s", key, why);
    else
        problem_set(problem, STATUS_UNKNOWN, "", "whether %s was restarted is not known: %s", key,
                    why);
    problem->retry_after_ms = 1000;
}

void operation_supervisor_silent(struct operation *operation)
{
    if (operation->state != OPERATION_ACTING && operation->state != OPERATION_BUILDING)
        return;
    if (operation->fallback != FALLBACK_NONE) {
        operation_answer(operation, operation->problem.code); /* the refusal stands */
        return;
    }
    if (operation->kind == OPERATION_START || operation->kind == OPERATION_STOP) {
        operation_said(operation, "failed", operation_code_of(STATUS_UNAVAILABLE), silent_text);
        operation_answer(operation, STATUS_OK);
        return;
    }
    say_why(operation, silent_text);
    operation->is_killed = operation_is_uncommitted(operation); /* as its caller is told */
    operation_answer(operation, operation->problem.code);
}

/* No supervisor in time. What is in the log stays there and is carried out when there is one. */
static void give_up(struct operation *operation)
{
    struct service *service = operation->service;
    if (operation->fallback == FALLBACK_DISCARD) {
        discarded(operation, false);
        return;
    }
    const struct supervisor *supervisor = &service->tenant->supervisor;
    const char *why = supervisor_problem(supervisor);
    if (supervisor->is_ending)
        why = "Solo is shutting down";
    else if (supervisor->is_silent)
        why = silent_text;
    else if (supervisor->state == SUPERVISOR_READY && why[0] == '\0')
        why = operation->attempts >= SUPERVISOR_ATTEMPTS_MAX ? "its supervisor breaks off"
                                                             : "the event log cannot be read";
    else if (why[0] == '\0')
        why = "its supervisor does not answer";
    ev_timer_stop(operation->owner->loop, &operation->timer);
    log_warning("gave up waiting for a supervisor", "service", service->key, "reason", why);
    if (supervisor->state == SUPERVISOR_READY)
        deployd_look_again(operation->owner); /* nothing else would bring it back to mind */
    if (operation->fallback == FALLBACK_START) {
        operation_fallback_failed(operation, operation_code_of(STATUS_UNAVAILABLE), why);
        return;
    }
    if (!operation_is_uncommitted(operation) && operation->kind != OPERATION_STOP) {
        operation_row_failed(operation, why);
        operation->is_passing = operation->kind != OPERATION_KILL;
    }
    if (operation->kind == OPERATION_START || operation->kind == OPERATION_STOP) {
        operation_said(operation, "failed", operation_code_of(STATUS_UNAVAILABLE), why);
        bool is_recorded = operation->kind == OPERATION_START && operation->is_recovery;
        if (is_recorded && !supervisor->is_ending)
            operation_record_failure(operation);
        else
            operation_end(operation, STATUS_OK);
        return;
    }
    say_why(operation, why);
    operation_end(operation, operation->problem.code);
}

/* ---- stopping ---- */

static void on_stopped(void *context, enum status status, const struct problem *problem,
                       const void *reply)
{
    (void)reply;
    struct operation *operation = context;
    struct service *service = operation->service;
    struct deployd *deployd = operation->owner;
    if (operation_is_broken(status)) {
        operation_await_supervisor(operation);
        return;
    }
    bool is_gone = status == STATUS_OK || status == STATUS_NOT_FOUND;
    if (is_gone)
        service->was_killed = false;
    if (operation->fallback == FALLBACK_DISCARD) {
        discarded(operation, is_gone);
        return;
    }
    if (is_gone) {
        catalog_unhold(&deployd->catalog, service, SERVICE_wanted, "stopped");
        operation_said(operation, "stopped", "", "");
        operation_end(operation, STATUS_OK);
        return;
    }
    if (status == STATUS_ABORTED) {
        deployd_look_again(deployd); /* the log says what is to become of what is held */
        operation_refused(operation, problem);
        return;
    }
    const char *reason = problem == NULL ? status_text(status) : problem->message;
    log_warning("a service could not be stopped", "service", service->key, "reason", reason);
    if (operation->kind == OPERATION_STOP) {
        operation_said(operation, "failed", plan_code_name(PLAN_CODE_stop_failed), reason);
        operation_end(operation, STATUS_OK);
        return;
    }
    problem_set(&operation->problem, status, "",
                "the kill is recorded (event %llu) but its supervisor says: %s",
                (number)operation->event_id, reason);
    deployd_look_again(deployd);
    operation_end(operation, status);
}

/* In a log that has lost its end a kill's event may have a lower number than what it ends. */
static uint64_t kill_until(const struct operation *operation)
{
    const struct service *service = operation->service;
    struct log_branch branch;
    if (!service->is_held || service->since <= operation->event_id)
        return operation->event_id;
    event_map_is_forked(&operation->owner->map, &branch);
    return branch.noted_id != 0 ? service->since : operation->event_id;
}

static void ask_stop(struct operation *operation)
{
    struct service *service = operation->service;
    /* A kill means everything before its own event. */
    bool is_kill = operation->kind == OPERATION_KILL;
    uint64_t until = kill_until(operation);
    const struct supervisor_stop_request request = {
        .name = service_name(service),
        .generation = is_kill ? until : operation->generation,
        .since = is_kill ? until : operation->since,
        .cause = is_kill ? "kill" : "recover",
        .cause_id = is_kill ? operation->event_id : operation->recovery_id,
        .has_grace = operation->is_forced,
        .grace_ms = 0,
    };
    ev_timer_stop(operation->owner->loop, &operation->timer);
    operation_move(operation, OPERATION_ACTING);
    operation_asked(operation,
                    supervisor_call(&service->tenant->supervisor, &method_supervisor_stop, &request,
                                    SUPERVISOR_ACT_MS_MAX, on_stopped, operation));
}

/* What the plan found running and nobody wants, and nothing that came after it. */
static void stop_unwanted(struct operation *operation)
{
    struct service *service = operation->service;
    if (!operation_is_due(operation)) {
        operation_fenced(operation);
    } else if (service->is_held) {
        operation->since = service->since;
        ask_stop(operation);
    } else {
        service->was_killed = false;
        operation_said(operation, "stopped", "", "");
        operation_end(operation, STATUS_OK);
    }
}

void operation_supervisor_step(struct operation *operation)
{
    struct service *service = operation->service;
    const struct supervisor *supervisor = &service->tenant->supervisor;
    bool is_over = !ev_is_active(&operation->timer);
    if (operation->is_killed) {
        operation_build_killed(operation);
        return;
    }
    if (supervisor->is_ending || supervisor->is_silent ||
        operation->attempts >= SUPERVISOR_ATTEMPTS_MAX ||
        (is_over && supervisor->state != SUPERVISOR_READY)) {
        give_up(operation);
        return;
    }
    if (supervisor->state != SUPERVISOR_READY)
        return;
    if (operation_is_uncommitted(operation)) {
        operation_ask_build(operation, operation->spec);
        return;
    }
    enum status status = deployd_refresh(operation->owner, service);
    if (status != STATUS_OK) {
        if (is_over)
            give_up(operation);
        return; /* tried again when the timer ends: a log that cannot be read decides nothing */
    }
    if (operation->fallback == FALLBACK_DISCARD) {
        if (service->wanted.generation == 0)
            ask_stop(operation);
        else
            discarded(operation, false);
        return;
    }
    bool is_current = operation_fence(operation, false) == FENCE_ACT;
    if (operation->fallback == FALLBACK_START) {
        if (is_current)
            operation_ask_start(operation);
        else
            operation_fenced(operation);
        return;
    }
    switch (operation->kind) {
    case OPERATION_DEPLOY:
        if (is_current)
            operation_ask_start(operation);
        else
            operation_fenced(operation);
        break;
    case OPERATION_RESTART:
        if (!is_current)
            operation_fenced(operation);
        else if (service->is_held && service->generation == operation->generation)
            operation_ask_restart(operation);
        else
            operation_ask_start(operation);
        break;
    case OPERATION_START:
        operation_start_wanted(operation);
        break;
    case OPERATION_KILL:
        ask_stop(operation);
        break;
    case OPERATION_STOP:
        stop_unwanted(operation);
        break;
    }
}
