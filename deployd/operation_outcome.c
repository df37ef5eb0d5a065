#include "deployd/operation_outcome.h"

#include <stdio.h>
#include <string.h>

#include "common/plan/plan.h"
#include "deployd/retry.h"

typedef unsigned long long number;

const char *operation_code_of(enum status status)
{
    switch (status) {
    case STATUS_DEADLINE_EXCEEDED:
        return plan_code_name(PLAN_CODE_not_ready);
    case STATUS_RESOURCE_EXHAUSTED:
        return plan_code_name(PLAN_CODE_no_resources);
    case STATUS_UNAVAILABLE:
        return plan_code_name(PLAN_CODE_supervisor_unavailable);
    default:
        return plan_code_name(PLAN_CODE_exec_failed);
    }
}

void operation_said(struct operation *operation, const char *result, const char *code,
                    const char *reason)
{
    operation->result = result;
    operation->is_passing = strcmp(result, "failed") == 0 && retry_is_worth(code);
    snprintf(operation->code, sizeof operation->code, "%s", code);
    snprintf(operation->reason, sizeof operation->reason, "%s", reason);
    text_cut(operation->reason);
}

/* It stays wanted, nothing holds it, and the row says why. What its supervisor keeps of another
 * generation that has ended says nothing of it. */
void operation_row_failed(struct operation *operation, const char *reason)
{
    struct service *service = operation->service;
    bool is_holding = service->is_held && (service->generation == operation->generation ||
                                           !service_state_is_over(service->state));
    if (!is_holding && !service->tenant->supervisor.is_silent)
        catalog_unhold(&operation->owner->catalog, service, SERVICE_failed, reason);
}

/* Who waited for it to be ready, which it never was, is told what came in between. */
static enum status overtaken_wait(struct operation *operation, const char *subject,
                                  const struct generation_outcome *outcome)
{
    bool has_run = true;
    bool is_ended = outcome->fate == FATE_KILLED || outcome->fate == FATE_REPLACED;
    if (!operation->wait || !is_ended)
        return STATUS_OK;
    enum status status =
        event_map_has_run(&operation->owner->map, subject, operation->generation, &has_run);
    if (status != STATUS_OK || (has_run && !operation->is_unchanged))
        return STATUS_OK;
    return problem_set(&operation->problem, STATUS_ABORTED, "",
                       "generation %llu was %s (event %llu) before it was ready",
                       (number)operation->generation, operation->result, (number)outcome->event_id);
}

void operation_answer_from_log(struct operation *operation)
{
    static const char *const words[] = {
        [FATE_UNKNOWN] = "replaced", /* too long ago to be told from the log at once */
        [FATE_FAILED] = "",          [FATE_REPLACED] = "replaced",
        [FATE_KILLED] = "killed",    [FATE_COMPLETED] = "completed",
    };
    char subject[SUBJECT_BYTES];
    struct generation_outcome outcome;
    struct service *service = operation->service;
    subject_of_service(subject, service->tenant->name, service_name(service));
    enum status status =
        event_map_outcome(&operation->owner->map, subject, operation->generation, &outcome);
    if (status != STATUS_OK) {
        operation_end(operation,
                      problem_set(&operation->problem, status, "",
                                  "the outcome of generation %llu cannot be read from the log",
                                  (unsigned long long)operation->generation));
        return;
    }
    if (outcome.fate == FATE_FAILED) {
        operation_end(operation,
                      problem_set(&operation->problem, STATUS_FAILED_PRECONDITION, "",
                                  "generation %llu could not be started: %s (event %llu)",
                                  (unsigned long long)operation->generation, outcome.reason,
                                  (unsigned long long)outcome.event_id));
        return;
    }
    operation->result = words[outcome.fate];
    operation->is_overtaken = true;
    operation_end(operation, overtaken_wait(operation, subject, &outcome));
}

void operation_end_failed(struct operation *operation)
{
    bool is_repeat = operation->kind == OPERATION_DEPLOY && !operation->is_unchanged;
    bool is_answer =
        operation->kind == OPERATION_START || (is_repeat && operation->fallback == FALLBACK_NONE);
    operation_end(operation, is_answer ? STATUS_OK : operation->problem.code);
}

void operation_superseded(struct operation *operation)
{
    struct service *service = operation->service;
    if (operation->fallback != FALLBACK_NONE) {
        operation_end_failed(operation);
        return;
    }
    switch (operation->kind) {
    case OPERATION_START:
    case OPERATION_STOP:
        operation_said(operation, "skipped", plan_code_name(PLAN_CODE_superseded),
                       "the log has moved on since the plan was made");
        operation_end(operation, STATUS_OK);
        break;
    case OPERATION_KILL:
        operation_end(operation, STATUS_OK); /* deployed again since: it was carried out then */
        break;
    case OPERATION_DEPLOY:
        operation_answer_from_log(operation);
        break;
    case OPERATION_RESTART:
        problem_set(&operation->problem, STATUS_ABORTED, "",
                    service->wanted.generation == 0
                        ? "%s was killed while generation %llu was being restarted"
                        : "%s was replaced while generation %llu was being restarted",
                    service->key, (number)operation->generation);
        operation_end(operation, operation->problem.code);
        break;
    }
}

enum fence operation_fence(const struct operation *operation, bool is_refused)
{
    const struct service *service = operation->service;
    bool is_kill = operation->kind == OPERATION_KILL && operation->fallback == FALLBACK_NONE;
    uint64_t newest = 0;
    if (is_kill && is_refused) {
        char subject[SUBJECT_BYTES];
        subject_of_service(subject, service->tenant->name, service_name(service));
        if (event_map_newest(&operation->owner->map, subject, &newest) != STATUS_OK)
            newest = 0; /* nothing is known to be newer */
    }
    const struct fence_case fence = {
        .what = is_kill                             ? FENCE_KILL
                : operation->kind == OPERATION_STOP ? FENCE_STOP
                                                    : FENCE_START,
        .generation = is_kill ? operation->event_id : operation->generation,
        .since = is_kill ? operation->event_id : operation->since,
        .wanted = &service->wanted,
        .is_held = service->is_held,
        .held_generation = service->generation,
        .held_since = service->since,
        .is_refused = is_refused,
        .newest = newest,
    };
    return fence_judge(&fence);
}

bool operation_is_due(struct operation *operation)
{
    const struct live_row *wanted = &operation->service->wanted;
    if (operation->kind == OPERATION_START && operation->generation == 0) {
        operation->generation = wanted->generation;
        operation->since = wanted->since;
    }
    return operation_fence(operation, false) == FENCE_ACT;
}
