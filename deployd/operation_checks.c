/* Nothing has changed yet: each refusal says so, and what runs goes on. */
#include "deployd/operation_checks.h"

#include <string.h>

#include "common/plan/plan.h"
#include "deployd/admission.h"
#include "deployd/deliveries.h"

enum status operation_check_event(struct operation *operation)
{
    char subject[SUBJECT_BYTES];
    uint64_t newest;
    const struct service *service = operation->service;
    if (operation->if_event == 0)
        return STATUS_OK;
    subject_of_service(subject, service->tenant->name, service_name(service));
    TRY(event_map_newest(&operation->owner->map, subject, &newest));
    if (newest == operation->if_event)
        return STATUS_OK;
    return problem_set(
        &operation->problem, STATUS_ABORTED, "if_event",
        "the newest event of %s is %llu, not %llu: it changed meanwhile; nothing was "
        "done",
        service->key, (unsigned long long)newest, (unsigned long long)operation->if_event);
}

enum status operation_check_supervisor(struct operation *operation)
{
    const struct tenant *tenant = operation->service->tenant;
    if (!tenant->supervisor.is_silent)
        return STATUS_OK;
    problem_set(&operation->problem, STATUS_UNAVAILABLE, "tenant",
                "the supervisor of tenant %s does not answer; nothing was changed", tenant->name);
    operation->problem.retry_after_ms = 1000;
    return STATUS_UNAVAILABLE;
}

enum status operation_check_proven(const struct operation *operation, struct problem *problem)
{
    const struct service *service = operation->service;
    if (!event_map_needs_review(&operation->owner->map, service->tenant->name,
                                service_name(service), service->wanted.since))
        return STATUS_OK;
    return problem_set(problem, STATUS_FAILED_PRECONDITION, "",
                       "the log was salvaged, and its latest deploy or kill may be lost: deploy it "
                       "again or kill it");
}

enum status operation_check_restart(struct operation *operation)
{
    char code[ADMISSION_CODE_BYTES];
    struct problem found = { 0 };
    const struct service *service = operation->service;
    TRY(operation_check_supervisor(operation));
    TRY(operation_check_proven(operation, &operation->problem));
    if (!service->is_held || !service_state_has_process(service->state))
        return STATUS_OK;
    enum status status =
        admission_program_of(operation->owner, service->wanted.generation, code, &found);
    if (status == STATUS_OK || strcmp(code, plan_code_name(PLAN_CODE_build_failed)) == 0)
        return STATUS_OK;
    return problem_set(&operation->problem, status, found.field, "%s; %s was not ended and runs on",
                       found.message, service->key);
}

/* --- secrets --- */

static void on_secrets(void *context, enum status status, const struct problem *problem,
                       const void *reply)
{
    (void)reply;
    struct operation *operation = context;
    if (status == STATUS_OK)
        status = deployd_is_open(operation->owner, &operation->problem);
    else
        problem_set(&operation->problem, status, "",
                    "%s runs on and was not %s, its secrets cannot be had: %s",
                    operation->service->key,
                    operation->kind == OPERATION_RESTART ? "restarted" : "replaced",
                    problem == NULL ? status_text(status) : problem->message);
    if (status == STATUS_OK)
        operation->on_secrets(operation);
    else
        operation_end(operation, status);
}

void operation_ask_for_secrets(struct operation *operation, void (*go_on)(struct operation *))
{
    const struct service *service = operation->service;
    enum status status = STATUS_NOT_FOUND;
    operation->on_secrets = go_on;
    if (service->is_held && service->pid != 0)
        status = deliveries_ask(operation->owner, service, operation->generation, operation->spec,
                                on_secrets, operation);
    if (status == STATUS_NOT_FOUND)
        go_on(operation);
    else if (status == STATUS_OK)
        operation_move(operation, OPERATION_SECRETS);
    else
        on_secrets(operation, status, NULL, NULL);
}
