/* A start has failed: the rule is found, the failure is recorded, and where the log falls back the
 * generation before is started, or the supervisor forgets a first deploy. That the generation
 * before cannot be started either is recorded, too. Ways to fail: the log cannot be read or does
 * not take the failure; then the outcome is unknown and reconciling finds out. */
#include "deployd/operation_failure.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/plan/plan.h"
#include "common/wire/writer.h"
#include "deployd/append_about.h"
#include "deployd/appends.h"
#include "deployd/operation_outcome.h"
#include "deployd/retry.h"

enum { PAYLOAD_BYTES_MAX = 4096 };

typedef unsigned long long number;

enum status operation_never_ran(const struct operation *operation, bool *never_ran)
{
    char subject[SUBJECT_BYTES];
    bool has_run = true;
    const struct service *service = operation->service;
    *never_ran = false;
    if (operation->fallback == FALLBACK_START || operation->generation != operation->since)
        return STATUS_OK;
    subject_of_service(subject, service->tenant->name, service_name(service));
    TRY(event_map_has_run(&operation->owner->map, subject, operation->generation, &has_run));
    *never_ran = !has_run;
    return STATUS_OK;
}

/* A recovery, or another attempt, takes nothing back where there is nothing to fall back to. */
static enum status rule_find(struct operation *operation)
{
    bool never_ran;
    TRY(operation_never_ran(operation, &never_ran));
    bool is_last =
        (operation->is_recovery || operation->is_retry) && operation->service->wanted.previous == 0;
    operation->fallback = never_ran && !is_last ? FALLBACK_RECORD : FALLBACK_NONE;
    return STATUS_OK;
}

/* The log may still want it: reconciling finds out. */
static void outcome_is_unknown(struct operation *operation, const struct problem *problem)
{
    struct problem refusal = operation->problem, doubt;
    append_problem(STATUS_UNKNOWN, problem, "that", &doubt);
    problem_set(&operation->problem, STATUS_UNKNOWN, refusal.field, "%.*s; %s",
                (int)strcspn(refusal.message, "\n"), refusal.message, doubt.message);
    operation->problem.retry_after_ms = doubt.retry_after_ms;
    operation_row_failed(operation, operation->reason);
    deployd_look_again(operation->owner);
    operation_end(operation, STATUS_UNKNOWN);
}

/* What its caller is told unless it ends well after all. */
static void problem_say(struct operation *operation, const char *field, const char *said)
{
    bool is_full = strcmp(operation->code, plan_code_name(PLAN_CODE_no_resources)) == 0;
    bool has_run = strcmp(operation->code, plan_code_name(PLAN_CODE_not_ready)) == 0;
    if (operation->kind == OPERATION_RESTART)
        problem_set(&operation->problem, STATUS_FAILED_PRECONDITION, field,
                    "%s could not be restarted: %s", operation->service->key, said);
    else
        problem_set(&operation->problem,
                    is_full ? STATUS_RESOURCE_EXHAUSTED : STATUS_FAILED_PRECONDITION, field,
                    "generation %llu %s: %s", (number)operation->generation,
                    has_run ? "did not become ready" : "could not be started", said);
}

bool operation_records_failure(const struct operation *operation)
{
    return operation->state == OPERATION_RECORDING && operation->fallback == FALLBACK_RECORD;
}

/* One failure has one owner: who records it already, who is about to un-want it, or a deploy that
 * waits for the readiness of what was restarted beside it. Should their event not get into the log,
 * it is seen when they have ended (catalog_look). */
static bool is_others(const struct operation *operation)
{
    bool is_before = true;
    for (const struct operation *other = operation->service->queue; other != NULL;
         other = other->next) {
        if (other == operation) {
            is_before = false;
            continue;
        }
        if (other->state == OPERATION_COMMITTING && other->kind != OPERATION_RESTART)
            return true;
        if (other->generation != operation->generation)
            continue;
        bool is_waiting = other->kind == OPERATION_DEPLOY && is_before;
        if (operation_records_failure(other) ||
            (is_waiting && operation->kind == OPERATION_RESTART))
            return true;
    }
    return false;
}

/* The log wants something else by now: a kill's, a newer deploy's or a failure's event stands
 * there. */
static bool is_overtaken(const struct operation *operation)
{
    const struct service *service = operation->service;
    return deployd_refresh(operation->owner, operation->service) == STATUS_OK &&
           service->wanted.generation != operation->generation;
}

void operation_failed(struct operation *operation, const char *field, const char *said)
{
    problem_say(operation, field, said);
    if (is_overtaken(operation) || is_others(operation)) {
        operation_end(operation,
                      operation->kind == OPERATION_START ? STATUS_OK : operation->problem.code);
        return;
    }
    if (rule_find(operation) != STATUS_OK) {
        outcome_is_unknown(operation, NULL);
        return;
    }
    if (operation->fallback == FALLBACK_NONE)
        operation_row_failed(operation, operation->reason);
    /* What is tried again by itself is no news yet. */
    bool is_news = operation->is_recovery || operation->kind == OPERATION_RESTART ||
                   (operation->kind == OPERATION_START && !operation->is_passing);
    if (operation->fallback == FALLBACK_RECORD || is_news)
        operation_record_failure(operation);
    else
        operation_end_failed(operation);
}

void operation_start_failed(struct operation *operation, enum status status,
                            const struct problem *problem)
{
    const char *said =
        problem != NULL && problem->message[0] != '\0' ? problem->message : status_text(status);
    char reason[REASON_BYTES_MAX + 1]; /* without the output that may follow */
    snprintf(reason, sizeof reason, "%.*s", (int)strcspn(said, "\n"), said);
    log_warning("a service could not be started", "service", operation->service->key, "generation",
                NUMBER(operation->generation), "reason", reason);
    bool is_build =
        problem != NULL && plan_code_of_program(problem->field) == PLAN_CODE_build_failed;
    const char *code =
        is_build ? plan_code_name(PLAN_CODE_build_failed) : operation_code_of(status);
    if (operation->fallback == FALLBACK_START) {
        operation_fallback_failed(operation, code, reason);
        return;
    }
    operation_said(operation, "failed", code, reason);
    operation_failed(operation, problem == NULL ? "" : problem->field, said);
}

/* ---- recording it, and falling back ---- */

static void on_recorded(void *context, enum status status, const struct problem *problem,
                        const void *reply)
{
    struct operation *operation = context;
    struct service *service = operation->service;
    const struct event_append_reply *recorded = reply;
    if (operation->fallback != FALLBACK_RECORD) {
        if (status != STATUS_OK)
            log_warning("a failed start was not recorded", "service", service->key, "reason",
                        problem == NULL ? status_text(status) : problem->message);
        operation_end_failed(operation);
        return;
    }
    if (status == STATUS_OK)
        status = deployd_refresh(operation->owner, service);
    if (status != STATUS_OK) {
        outcome_is_unknown(operation, problem);
        return;
    }
    /* What is wanted since another event than this is somebody else's to start. */
    if (service->wanted.generation != 0 && service->wanted.since != recorded->event_id) {
        operation_end_failed(operation);
        return;
    }
    operation->attempts = 0;
    if (service->wanted.generation == 0) {
        /* A first deploy that failed leaves nothing: its supervisor forgets it, before the next
         * deploy that waits for this one begins. */
        operation->fallback = FALLBACK_DISCARD;
    } else {
        operation->fallback = FALLBACK_START;
        operation->generation = service->wanted.generation;
        operation->since = service->wanted.since;
        operation->wait = false;
        operation->is_built = false;
    }
    operation_await_supervisor(operation);
}

void operation_failure_write(struct buffer *payload, uint64_t generation, const uint64_t *previous,
                             const char *code, const char *reason)
{
    write_map(payload, previous != NULL ? 4 : 3);
    write_str(payload, "generation");
    write_u64(payload, generation);
    if (previous != NULL) {
        write_str(payload, "previous");
        write_u64(payload, *previous);
    }
    write_str(payload, "code");
    write_str(payload, code);
    write_str(payload, "reason");
    write_str(payload, reason);
}

static void record(struct operation *operation, enum event_type type, uint64_t causation_id,
                   const char *code, const char *reason)
{
    AUTO(buffer_close) struct buffer payload = { .limit = PAYLOAD_BYTES_MAX };
    char subject[SUBJECT_BYTES];
    bool falls_back = type == EVENT_service_deployment_failed;
    operation_move(operation, OPERATION_RECORDING);
    operation_failure_write(&payload, operation->generation,
                            falls_back ? &operation->service->wanted.previous : NULL, code, reason);
    struct event_append_request request =
        append_about_service(type, operation->service, subject, &payload);
    request.causation_id = causation_id;
    enum status status =
        append_send(operation->owner, &request, NULL, APPEND_TIMEOUT_MS, on_recorded, operation);
    if (status != STATUS_OK)
        on_recorded(operation, status, NULL, NULL);
}

void operation_record_failure(struct operation *operation)
{
    bool falls_back = operation->fallback == FALLBACK_RECORD;
    uint64_t cause = falls_back                             ? operation->generation
                     : operation->kind == OPERATION_RESTART ? operation->event_id
                                                            : operation->recovery_id;
    record(operation, falls_back ? EVENT_service_deployment_failed : EVENT_service_recovery_failed,
           cause, operation->code, operation->reason);
}

/* Puts what became of the fallback behind the reason, before the output that may follow. */
static void fallback_tell(struct operation *operation, bool is_started, const char *why)
{
    char *message = operation->problem.message, told[sizeof operation->problem.message];
    int reason = (int)strcspn(message, "\n");
    if (is_started)
        snprintf(told, sizeof told, "%.*s; generation %llu was started again%s", reason, message,
                 (number)operation->generation, message + reason);
    else
        snprintf(told, sizeof told,
                 "%.*s; generation %llu is wanted again but could not be started: %s%s", reason,
                 message, (number)operation->generation, why, message + reason);
    memcpy(message, told, sizeof told);
    text_cut(message);
    if (operation->kind == OPERATION_START) { /* its answer says "failed", and why */
        snprintf(operation->reason, sizeof operation->reason, "%.*s", (int)strcspn(message, "\n"),
                 message);
        text_cut(operation->reason);
    }
}

void operation_fallback_started(struct operation *operation)
{
    operation->owner->counters.fallbacks++;
    fallback_tell(operation, true, "");
    operation_end_failed(operation);
}

void operation_fallback_failed(struct operation *operation, const char *code, const char *why)
{
    char reason[REASON_BYTES_MAX + 1];
    fallback_tell(operation, false, why);
    snprintf(reason, sizeof reason,
             "its newer generation failed, and it cannot be started again: %s", why);
    text_cut(reason);
    operation_row_failed(operation, reason);
    operation->is_passing = retry_is_worth(code);
    operation->fallback = FALLBACK_FAILED;
    if (operation->service->tenant->supervisor.is_ending)
        operation_end_failed(operation); /* the next run starts it */
    else                                 /* its cause is the event by which the log fell back */
        record(operation, EVENT_service_recovery_failed, operation->since, code, reason);
}
