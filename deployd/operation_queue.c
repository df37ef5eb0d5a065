/* The queues: who is next, and what happens to all of a tenant or of deployd at once. */
#include "deployd/operation_queue.h"

#include "common/base/ensure.h"
#include "deployd/operation_act.h"
#include "deployd/operation_commit.h"
#include "deployd/operation_outcome.h"

/* All that is left of it is to wait until its program is ready, or is given up. Another deploy does
 * not wait for that: its supervisor ends the wait when it is told to start the newer generation.
 * Nor does a restart: that generation is started again, and the wait is for its new process. */
static bool is_on_trial(const struct operation *operation)
{
    const struct service *service = operation->service;
    return operation->state == OPERATION_ACTING && operation->kind != OPERATION_KILL &&
           operation->kind != OPERATION_STOP && operation->fallback == FALLBACK_NONE &&
           service->is_held && service->generation == operation->generation &&
           service->since == operation->since &&
           (service->state == SERVICE_backoff ||
            (service->state == SERVICE_starting && service->pid != 0));
}

/* A kill waits for a commit, not for what follows it: the one before it is fenced by its event.
 * Nor does it wait for a build that comes before one. Where the supervisor is silent nothing else
 * waits either: it comes to its end without asking. */
static bool may_run_beside(const struct operation *operation, const struct operation *before)
{
    bool is_free =
        operation->kind == OPERATION_KILL || operation->service->tenant->supervisor.is_silent;
    bool starts_anew = operation->kind == OPERATION_DEPLOY || operation->kind == OPERATION_RESTART;
    if (starts_anew && is_on_trial(before))
        return true;
    return is_free &&
           (before->state == OPERATION_SUPERVISOR || before->state == OPERATION_BUILDING ||
            before->state == OPERATION_ACTING || before->state == OPERATION_REPORTING);
}

/* The first one, and behind it whatever may run beside all that is before it. */
static void queue_step(struct service *service)
{
    struct operation *before = service->queue, *next;
    if (before == NULL)
        return;
    unsigned queued = service->queued;
    operation_step(before);
    /* Where one has ended, that marked the queue again. */
    while (service->queued == queued && (next = before->next) != NULL) {
        if (next->state == OPERATION_QUEUED && !may_run_beside(next, before))
            return;
        operation_step(next);
        before = next;
    }
}

bool operations_step(struct deployd *deployd)
{
    struct service *service = catalog_next_marked(&deployd->catalog);
    if (service != NULL)
        queue_step(service);
    return service != NULL;
}

/* It is a repeat, or cannot be told from one: what came of it is its answer, whatever was killed
 * since. */
static bool may_be_recorded(const struct operation *operation)
{
    struct request_record record = { 0 };
    struct problem problem;
    return operation->has_request_id &&
           (event_map_request(&operation->owner->map, operation->service->tenant->name,
                              &operation->request_id, &operation->body_hash, &record,
                              &problem) != STATUS_OK ||
            record.event_id != 0);
}

/* A kill does not wait for what has not begun, nor is that done after it. */
static void refuse_before(struct operation *kill)
{
    for (struct operation *next, *operation = kill->service->queue;
         operation != NULL && operation != kill; operation = next) {
        next = operation->next;
        if (operation->state != OPERATION_QUEUED || operation->kind == OPERATION_KILL)
            continue;
        if (operation == kill->service->queue && !kill->is_forced)
            continue; /* it waits for nobody */
        if (may_be_recorded(operation))
            continue;
        if (operation->kind == OPERATION_START || operation->kind == OPERATION_STOP) {
            operation_superseded(operation);
            continue;
        }
        problem_set(&operation->problem, STATUS_ABORTED, "",
                    "%s was killed before this began; nothing was changed", kill->service->key);
        operation_end(operation, STATUS_ABORTED);
    }
}

void operation_begin(struct operation *operation)
{
    struct service *service = operation->service;
    struct operation **end = &service->queue;
    while (*end != NULL)
        end = &(*end)->next;
    *end = operation;
    service->queued++;
    operation->owner->operations++;
    if (operation->kind == OPERATION_KILL)
        refuse_before(operation);
    catalog_mark(&operation->owner->catalog, service);
}

void operations_supervisor_lost(struct tenant *tenant)
{
    for (struct service *service = tenant->services; service != NULL; service = service->next)
        for (struct operation *next, *operation = service->queue; operation != NULL;
             operation = next) {
            next = operation->next;
            if (operation->state == OPERATION_ACTING || operation->state == OPERATION_BUILDING ||
                operation->state == OPERATION_REPORTING)
                operation_await_supervisor(operation);
        }
}

void operations_supervisor_silent(struct tenant *tenant)
{
    for (struct service *service = tenant->services; service != NULL; service = service->next)
        for (struct operation *operation = service->queue; operation != NULL;
             operation = operation->next)
            operation_supervisor_silent(operation);
}

void operations_refuse_queued(struct deployd *deployd, const struct problem *problem)
{
    for (struct service *service = deployd->catalog.services; service != NULL;
         service = service->hh.next)
        for (struct operation *next, *operation = service->queue; operation != NULL;
             operation = next) {
            next = operation->next;
            bool is_preparing =
                operation->state == OPERATION_SUPERVISOR && operation_is_uncommitted(operation);
            if (operation->state != OPERATION_QUEUED && !is_preparing)
                continue;
            operation->problem = *problem;
            operation_end(operation, problem->code);
        }
}

void operations_close(struct deployd *deployd)
{
    for (struct service *service = deployd->catalog.services; service != NULL;
         service = service->hh.next)
        for (struct operation *operation; (operation = service->queue) != NULL;) {
            service->queue = operation->next;
            operation_free(operation);
        }
}
