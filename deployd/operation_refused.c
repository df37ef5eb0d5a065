/* Normally somebody newer has won, and the log says who. A supervisor that holds something newer
 * than the log knows of was started for a log that had more in it. */
#include "deployd/operation_refused.h"

#include <stdio.h>

#include "common/base/log.h"
#include "common/plan/plan.h"
#include "deployd/operation_failure.h"
#include "deployd/operation_outcome.h"

typedef unsigned long long number;

/* It stays as the log has it, and is not done: nobody is told that it was. */
static void log_went_back(struct operation *operation, const char *said)
{
    static const char advice[] = "was the log put back from an earlier time?";
    struct service *service = operation->service;
    const char *code = plan_code_name(PLAN_CODE_log_went_back);
    char reason[REASON_BYTES_MAX + 1];
    snprintf(reason, sizeof reason, "its supervisor (pid %llu) refuses generation %llu: %s; %s",
             (number)service->tenant->supervisor.host_pid, (number)operation->generation, said,
             advice);
    log_error("a supervisor knows of something newer than the log", "service", service->key,
              "reason", said);
    if (operation->fallback == FALLBACK_START) {
        operation_fallback_failed(operation, code, reason);
        return;
    }
    switch (operation->kind) {
    case OPERATION_KILL:
        operation_said(operation, "failed", code, reason);
        problem_set(&operation->problem, STATUS_FAILED_PRECONDITION, "",
                    "the kill is recorded (event %llu) but its supervisor refuses it: %s; what it "
                    "holds is newer than the kill, and not wanted: it is ended by itself",
                    (number)operation->event_id, said);
        deployd_look_again(operation->owner);
        break;
    case OPERATION_START:
        operation_row_failed(operation, reason);
        operation_said(operation, "failed", code, reason);
        if (operation->is_recovery)
            operation_record_failure(operation);
        else
            operation_end(operation, STATUS_OK);
        return;
    case OPERATION_DEPLOY:
    case OPERATION_RESTART:
    case OPERATION_STOP:
        operation_row_failed(operation, reason);
        operation_said(operation, "failed", code, reason);
        problem_set(&operation->problem, STATUS_FAILED_PRECONDITION, "",
                    "generation %llu is recorded and was not started: its supervisor (pid %llu) "
                    "refuses it: %s; %s",
                    (number)operation->generation, (number)service->tenant->supervisor.host_pid,
                    said, advice);
        break;
    }
    operation_end(operation, operation->problem.code);
}

void operation_fenced(struct operation *operation)
{
    char said[80];
    const struct live_row *wanted = &operation->service->wanted;
    if (operation_fence(operation, false) != FENCE_LOG_WENT_BACK) {
        operation_superseded(operation);
        return;
    }
    snprintf(said, sizeof said, "the log wants generation %llu since event %llu again",
             (number)wanted->generation, (number)wanted->since);
    log_went_back(operation, said);
}

void operation_refused(struct operation *operation, const struct problem *problem)
{
    /* A shutdown has ended what it waited for, nothing newer has; and a log that cannot be read
     * decides nothing. */
    if (operation->service->tenant->supervisor.is_ending ||
        deployd_refresh(operation->owner, operation->service) != STATUS_OK) {
        operation_await_supervisor(operation);
        return;
    }
    if (operation_fence(operation, true) == FENCE_LOG_WENT_BACK)
        log_went_back(operation, problem == NULL ? "it holds something newer" : problem->message);
    else
        operation_superseded(operation);
}
