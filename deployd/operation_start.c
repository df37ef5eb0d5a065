/* Starting a generation, until its start is in the log. Ways to fail: the connection breaks (asked
 * again), another event has overtaken it, the program cannot be started (operation_failure.h). */
#include "deployd/operation_start.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/plan/plan.h"
#include "common/wire/reader.h"
#include "deployd/admission.h"
#include "deployd/operation_build.h"
#include "deployd/operation_checks.h"
#include "deployd/operation_failure.h"
#include "deployd/operation_outcome.h"
#include "deployd/operation_refused.h"
#include "deployd/supervisor_talk.h"
#include "deployd/supervisors.h"

typedef unsigned long long number;

static const char *start_cause(const struct operation *operation, bool is_on_trial)
{
    if (operation->fallback == FALLBACK_START)
        return "fallback";
    if (operation->is_recovery)
        return "recover";
    if (operation->kind == OPERATION_RESTART)
        return "restart";
    if (operation->is_retry)
        return "reconcile";
    return operation->kind == OPERATION_DEPLOY || is_on_trial ? "deploy" : "reconcile";
}

static void start_done(struct operation *operation)
{
    char reason[REASON_BYTES_MAX + 1];
    const struct service *service = operation->service;
    if (service->is_held && service->state == SERVICE_waiting_for_secret)
        operation_said(operation, "skipped", plan_code_name(PLAN_CODE_secret_sealed),
                       service_reason(service, reason));
    else
        operation_said(operation, operation->kind == OPERATION_DEPLOY ? "replaced" : "recovered",
                       "", ""); /* of a deploy it is said only when another one runs by now */
    operation_end(operation, STATUS_OK);
}

void operation_reporting_step(struct operation *operation)
{
    const struct supervisor *supervisor = &operation->service->tenant->supervisor;
    if (supervisor->acknowledged >= operation->report) {
        start_done(operation);
    } else if (!ev_is_active(&operation->timer)) {
        problem_set(&operation->problem, STATUS_UNKNOWN, "",
                    "generation %llu runs, but the event log has not recorded it; repeat with the "
                    "same request_id",
                    (number)operation->generation);
        operation_end(operation, STATUS_UNKNOWN);
    }
}

static void report_await(struct operation *operation)
{
    operation_move(operation, OPERATION_REPORTING);
    ev_timer_set(&operation->timer, REPORTING_MS_MAX / 1e3, 0);
    ev_timer_start(operation->owner->loop, &operation->timer);
    operation_reporting_step(operation);
}

static void started(struct operation *operation, struct span row, uint64_t report)
{
    struct service *service = operation->service;
    if (!operation->is_repeat)
        fault_point("deployd.after_start");
    supervisor_take_row(&service->tenant->supervisor, row);
    if (service->is_held && service->state == SERVICE_failed && !service->has_started) {
        /* Answered as it is: it was asked for before and could not be started then. */
        struct problem problem;
        char reason[REASON_BYTES_MAX + 1];
        problem_set(&problem, STATUS_FAILED_PRECONDITION, "", "%s",
                    service_reason(service, reason));
        operation_start_failed(operation, STATUS_FAILED_PRECONDITION, &problem);
        return;
    }
    if (operation->fallback == FALLBACK_START) {
        operation_fallback_started(operation);
        return;
    }
    if (operation->kind == OPERATION_RESTART)
        operation->owner->counters.restarts++;
    operation->report = report;
    if (operation->kind != OPERATION_START && report != 0)
        report_await(operation);
    else
        start_done(operation);
}

static void on_started(void *context, enum status status, const struct problem *problem,
                       const void *reply)
{
    struct operation *operation = context;
    const struct supervisor_start_reply *answer = reply;
    if (status == STATUS_OK)
        started(operation, answer->service, answer->report);
    else if (operation_is_broken(status))
        operation_await_supervisor(operation);
    else if (status == STATUS_NOT_FOUND) {
        operation->is_built = false; /* its artefact was removed meanwhile */
        operation_await_supervisor(operation);
    } else if (status == STATUS_ABORTED)
        operation_refused(operation, problem);
    else
        operation_start_failed(operation, status, problem);
}

static void on_restarted(void *context, enum status status, const struct problem *problem,
                         const void *reply)
{
    struct operation *operation = context;
    const struct supervisor_restart_reply *answer = reply;
    if (status == STATUS_NOT_FOUND) {
        /* It lost the service between its row and our request: start it instead. */
        catalog_unhold(&operation->owner->catalog, operation->service, SERVICE_wanted,
                       "its supervisor lost it");
        operation_await_supervisor(operation);
        return;
    }
    if (status == STATUS_OK)
        started(operation, answer->service, answer->report);
    else
        on_started(context, status, problem, NULL);
}

void operation_ask_restart(struct operation *operation)
{
    const struct supervisor_restart_request request = {
        .name = service_name(operation->service),
        .generation = operation->generation,
        .since = operation->since,
        .cause_id = operation->event_id,
    };
    ev_timer_stop(operation->owner->loop, &operation->timer);
    operation_move(operation, OPERATION_ACTING);
    operation_asked(operation, supervisor_call(&operation->service->tenant->supervisor,
                                               &method_supervisor_restart, &request,
                                               SUPERVISOR_ACT_MS_MAX, on_restarted, operation));
}

/* Held in this generation, with a process or about to have one: what it is made of is there. */
static bool is_going(const struct operation *operation)
{
    const struct service *service = operation->service;
    return service->is_held && service->generation == operation->generation &&
           (service->state == SERVICE_running || service->state == SERVICE_starting);
}

/* Parked by a supervisor that has ended since: nobody has asked to try it again. */
static bool stays_parked(const struct operation *operation)
{
    const struct span *parked = &operation->service->parked;
    return operation->kind == OPERATION_START && !operation->is_recovery && parked->size > 0 &&
           map_u64(*parked, "generation", 0) == operation->generation &&
           map_u64(*parked, "since", 0) == operation->since;
}

void operation_ask_start(struct operation *operation)
{
    struct deployd *deployd = operation->owner;
    struct service *service = operation->service;
    AUTO(db_end) struct db_txn txn = { 0 };
    struct span spec;
    bool is_on_trial = false;
    enum status status = event_map_begin(&deployd->map, &txn);
    if (status == STATUS_OK)
        status = event_log_spec(&txn, operation->generation, &spec);
    if (status == STATUS_OK)
        status = operation_never_ran(operation, &is_on_trial);
    if (status != STATUS_OK) {
        struct problem problem;
        problem_set(&problem, status, "", "the spec of generation %llu cannot be read: %s",
                    (number)operation->generation, status_text(status));
        operation_start_failed(operation, STATUS_FAILED_PRECONDITION, &problem);
        return;
    }
    if (spec_has_build(spec) && !operation->is_built && !is_going(operation)) {
        operation_ask_build(operation, spec);
        return;
    }
    const struct supervisor_start_request request = {
        .name = service_name(service),
        .generation = operation->generation,
        .since = operation->since,
        .spec = spec,
        .cause = start_cause(operation, is_on_trial),
        .cause_id = operation->is_recovery                 ? operation->recovery_id
                    : operation->kind == OPERATION_RESTART ? operation->event_id
                                                           : operation->since,
        .is_on_trial = is_on_trial,
        .parked = stays_parked(operation) ? service->parked : (struct span){ 0 },
        /* A recovery waits for what may have to fall back; others are watched by their supervisor.
         */
        .wait = operation->wait || (is_on_trial && operation->is_recovery),
    };
    operation_move(operation, OPERATION_ACTING);
    ev_timer_stop(deployd->loop, &operation->timer);
    operation_asked(operation,
                    supervisor_call(&service->tenant->supervisor, &method_supervisor_start,
                                    &request, SUPERVISOR_ACT_MS_MAX, on_started, operation));
}

/* What the log wants, whoever asks: with recovery's fence, and without disturbing what is held. */
void operation_start_wanted(struct operation *operation)
{
    struct service *service = operation->service;
    if (!operation_is_due(operation)) {
        operation_fenced(operation);
        return;
    }
    bool is_same = service->is_held && service->generation == operation->generation &&
                   service->since == operation->since;
    bool never_ran = false;
    if (is_same && service->is_trial_over && !operation->is_recovery &&
        operation_never_ran(operation, &never_ran) == STATUS_OK && never_ran) {
        char reason[REASON_BYTES_MAX + 1];
        operation_said(operation, "failed", plan_code_name(PLAN_CODE_not_ready),
                       service_reason(service, reason));
        operation_failed(operation, "", operation->reason);
        return;
    }
    bool is_idle = service->state == SERVICE_parked || service->state == SERVICE_failed;
    if (is_same && !((operation->is_recovery || operation->is_retry) && is_idle)) {
        operation_said(operation, "skipped", plan_code_name(PLAN_CODE_held),
                       "its supervisor holds it");
        operation_end(operation, STATUS_OK);
        return;
    }
    struct problem problem = { 0 };
    enum status status =
        admission_program_of(operation->owner, operation->generation, operation->code, &problem);
    if (status == STATUS_OK && !is_same) {
        status = operation_check_proven(operation, &problem);
        if (status != STATUS_OK)
            snprintf(operation->code, sizeof operation->code, "%s",
                     plan_code_name(PLAN_CODE_needs_review));
    }
    if (status == STATUS_OK) {
        operation_ask_start(operation);
        return;
    }
    char code[sizeof operation->code];
    memcpy(code, operation->code, sizeof code);
    operation_said(operation, "failed", code, problem.message);
    log_warning("a service cannot be started", "service", service->key, "reason", problem.message);
    operation_failed(operation, "", operation->reason);
}
