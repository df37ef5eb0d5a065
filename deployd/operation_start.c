/* Starting a generation, and what follows when that fails: the failure is recorded, and a deploy
 * falls back to what the log wants instead. */
#include "deployd/operation_start.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/plan/plan.h"
#include "common/wire/writer.h"
#include "deployd/admission.h"
#include "deployd/appends.h"
#include "deployd/operation_outcome.h"
#include "deployd/supervisor_talk.h"
#include "deployd/supervisors.h"

typedef unsigned long long number;

/* The generation of a deploy that was never ready. */
static bool was_never_ready(const struct operation *operation)
{
    char subject[SUBJECT_BYTES];
    bool has_run = true;
    const struct service *service = operation->service;
    if ((operation->kind != OPERATION_START && operation->kind != OPERATION_DEPLOY) ||
        operation->is_falling_back || operation->generation != operation->since)
        return false;
    subject_of_service(subject, service->tenant->name, service_name(service));
    return event_map_has_run(&operation->owner->map, subject, operation->generation, &has_run) ==
               STATUS_OK &&
           !has_run;
}

/* A deploy whose caller or deployd was gone before its outcome. A recovery finishes it as a deploy
 * only where there is something to fall back to; otherwise it stays wanted, for a person to see. */
static bool is_unfinished_deploy(const struct operation *operation)
{
    return operation->kind == OPERATION_START &&
           !(operation->is_recovery && operation->service->wanted.previous == 0) &&
           was_never_ready(operation);
}

static const char *start_cause(const struct operation *operation)
{
    if (operation->is_falling_back)
        return "fallback";
    if (operation->is_recovery)
        return "recover";
    if (operation->kind == OPERATION_DEPLOY || is_unfinished_deploy(operation))
        return "deploy";
    return operation->kind == OPERATION_START ? "reconcile" : "restart";
}

/* Puts what became of the fallback behind the reason, before the output that may follow. */
static void fallback_tell(struct operation *operation, enum status status, const char *why)
{
    char *message = operation->problem.message, told[sizeof operation->problem.message];
    int reason = (int)strcspn(message, "\n");
    if (status == STATUS_OK)
        snprintf(told, sizeof told, "%.*s; generation %llu was started again%s", reason, message,
                 (number)operation->generation, message + reason);
    else
        snprintf(told, sizeof told,
                 "%.*s; generation %llu is wanted again but could not be started: %s%s", reason,
                 message, (number)operation->generation, why, message + reason);
    memcpy(message, told, sizeof told);
    text_cut(message);
}

static void fallback_ended(struct operation *operation, enum status status,
                           const struct problem *problem)
{
    const char *why = problem == NULL ? status_text(status) : problem->message;
    fallback_tell(operation, status, why);
    if (status != STATUS_OK)
        operation_row_failed(operation, why);
    if (operation->is_recovery) {
        snprintf(operation->reason, sizeof operation->reason, "%.*s",
                 (int)strcspn(operation->problem.message, "\n"), operation->problem.message);
        text_cut(operation->reason);
        operation_end(operation, STATUS_OK); /* the answer says "failed", and why */
    } else {
        operation_end(operation, operation->problem.code);
    }
}

/* What a failed deploy is answered with. */
static void deploy_problem(struct operation *operation, enum status status, const char *field,
                           const char *reason)
{
    bool has_run = strcmp(operation->code, plan_code_name(PLAN_CODE_not_ready)) == 0;
    problem_set(&operation->problem, status, field, "generation %llu %s: %s",
                (number)operation->generation,
                has_run ? "did not become ready" : "could not be started", reason);
}

/* Its failure is the deploy's: the log falls back. */
static void become_deploy(struct operation *operation)
{
    operation->kind = OPERATION_DEPLOY;
    operation->event_id = operation->generation;
    deploy_problem(operation, STATUS_FAILED_PRECONDITION, "", operation->reason);
}

/* A start of what the log wants has failed. */
static void wanted_failed(struct operation *operation, const char *reason)
{
    bool is_deploy = is_unfinished_deploy(operation);
    operation_row_failed(operation, reason);
    if (is_deploy)
        become_deploy(operation);
    if (is_deploy || operation->is_recovery)
        operation_record_failure(operation);
    else
        operation_end(operation, STATUS_OK);
}

/* The program cannot be started. */
static void start_failed(struct operation *operation, enum status status,
                         const struct problem *problem)
{
    const char *said =
        problem != NULL && problem->message[0] != '\0' ? problem->message : status_text(status);
    char reason[REASON_BYTES_MAX + 1]; /* without the output that may follow */
    snprintf(reason, sizeof reason, "%.*s", (int)strcspn(said, "\n"), said);
    log_warning("a service could not be started", "service", operation->service->key, "generation",
                NUMBER(operation->generation), "reason", reason);
    if (operation->is_falling_back) {
        fallback_ended(operation, status, problem);
        return;
    }
    operation_said(operation, "failed", operation_code_of(status), reason);
    switch (operation->kind) {
    case OPERATION_DEPLOY:
        deploy_problem(operation,
                       status == STATUS_RESOURCE_EXHAUSTED ? status : STATUS_FAILED_PRECONDITION,
                       problem == NULL ? "" : problem->field, said);
        operation_record_failure(operation);
        break;
    case OPERATION_START:
        wanted_failed(operation, reason);
        break;
    default:
        operation_row_failed(operation, reason);
        problem_set(&operation->problem, STATUS_FAILED_PRECONDITION,
                    problem == NULL ? "" : problem->field, "%s could not be restarted: %s",
                    operation->service->key, reason);
        operation_end(operation, STATUS_FAILED_PRECONDITION);
    }
}

static void start_done(struct operation *operation)
{
    operation_said(operation, "recovered", "", "");
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
        start_failed(operation, STATUS_FAILED_PRECONDITION, &problem);
        return;
    }
    if (operation->is_falling_back) {
        operation->owner->counters.fallbacks++;
        fallback_ended(operation, STATUS_OK, NULL);
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
    else if (status == STATUS_ABORTED) {
        deployd_refresh(operation->owner, operation->service);
        operation_superseded(operation);
    } else
        start_failed(operation, status, problem);
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

void operation_ask_start(struct operation *operation)
{
    struct deployd *deployd = operation->owner;
    struct service *service = operation->service;
    AUTO(db_end) struct db_txn txn = { 0 };
    struct span spec;
    enum status status = event_map_begin(&deployd->map, &txn);
    if (status == STATUS_OK)
        status = event_log_spec(&txn, operation->generation, &spec);
    if (status != STATUS_OK) {
        struct problem problem;
        problem_set(&problem, status, "", "the spec of generation %llu cannot be read: %s",
                    (number)operation->generation, status_text(status));
        start_failed(operation, STATUS_FAILED_PRECONDITION, &problem);
        return;
    }
    bool is_on_trial = was_never_ready(operation);
    const struct supervisor_start_request request = {
        .name = service_name(service),
        .generation = operation->generation,
        .since = operation->since,
        .spec = spec,
        .cause = start_cause(operation),
        .cause_id = operation->is_recovery                 ? operation->recovery_id
                    : operation->kind == OPERATION_RESTART ? operation->event_id
                                                           : operation->since,
        .is_on_trial = is_on_trial,
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
        operation_superseded(operation);
        return;
    }
    bool is_same = service->is_held && service->generation == operation->generation &&
                   service->since == operation->since;
    if (is_same && service->is_trial_over && !operation->is_recovery &&
        is_unfinished_deploy(operation)) {
        char reason[REASON_BYTES_MAX + 1];
        operation_said(operation, "failed", plan_code_name(PLAN_CODE_not_ready),
                       service_reason(service, reason));
        wanted_failed(operation, operation->reason);
        return;
    }
    bool is_idle = service->state == SERVICE_parked || service->state == SERVICE_failed;
    if (is_same && !(operation->is_recovery && is_idle)) {
        operation_said(operation, "skipped", plan_code_name(PLAN_CODE_held),
                       "its supervisor holds it");
        operation_end(operation, STATUS_OK);
        return;
    }
    struct problem problem = { 0 };
    enum status status =
        admission_program_of(operation->owner, operation->generation, operation->code, &problem);
    if (status == STATUS_OK) {
        operation_ask_start(operation);
        return;
    }
    char code[sizeof operation->code];
    memcpy(code, operation->code, sizeof code);
    operation_said(operation, "failed", code, problem.message);
    log_warning("a service cannot be started", "service", service->key, "reason", problem.message);
    wanted_failed(operation, problem.message);
}

/* ---- recording a failure ---- */

static void on_recorded(void *context, enum status status, const struct problem *problem,
                        const void *reply)
{
    struct operation *operation = context;
    struct deployd *deployd = operation->owner;
    struct service *service = operation->service;
    (void)reply;
    if (operation->kind == OPERATION_START) {
        if (status != STATUS_OK)
            log_warning("a failed recovery was not recorded", "service", service->key, "reason",
                        problem == NULL ? status_text(status) : problem->message);
        operation_end(operation, STATUS_OK);
        return;
    }
    if (status == STATUS_OK)
        status = deployd_refresh(deployd, service);
    if (status != STATUS_OK) {
        /* The log may still want it: reconciling tries it again. */
        struct problem refusal = operation->problem;
        append_problem(STATUS_UNKNOWN, problem, refusal.message, &operation->problem);
        deployd_look_again(deployd);
        operation_end(operation, STATUS_UNKNOWN);
        return;
    }
    if (service->wanted.generation == operation->generation) {
        operation_end(operation, operation->problem.code);
        return;
    }
    operation->attempts = 0;
    if (service->wanted.generation == 0) {
        /* A first deploy that failed leaves nothing: its supervisor forgets it, before the next
         * deploy that waits for this one begins. */
        operation->is_discarding = true;
        operation_await_supervisor(operation);
        return;
    }
    operation->is_falling_back = true;
    operation->generation = service->wanted.generation;
    operation->since = service->wanted.since;
    operation->wait = false;
    operation_await_supervisor(operation);
}

void operation_record_failure(struct operation *operation)
{
    AUTO(buffer_close) struct buffer payload = { .limit = 4096 };
    char subject[SUBJECT_BYTES];
    bool is_deploy = operation->kind == OPERATION_DEPLOY;
    operation_move(operation, OPERATION_RECORDING);
    write_map(&payload, is_deploy ? 4 : 3);
    write_str(&payload, "generation");
    write_u64(&payload, operation->generation);
    if (is_deploy) {
        write_str(&payload, "previous");
        write_u64(&payload, operation->service->wanted.previous);
    }
    write_str(&payload, "code");
    write_str(&payload, operation->code);
    write_str(&payload, "reason");
    write_str(&payload, operation->reason);
    struct event_append_request request = append_about_service(
        is_deploy ? EVENT_service_deployment_failed : EVENT_service_recovery_failed,
        operation->service, subject, &payload);
    request.causation_id = is_deploy ? operation->generation : operation->recovery_id;
    enum status status =
        append_send(operation->owner, &request, NULL, APPEND_TIMEOUT_MS, on_recorded, operation);
    if (status != STATUS_OK)
        on_recorded(operation, status, NULL, NULL);
}
