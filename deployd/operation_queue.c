/* The queues: who is next, and what happens to all of a tenant or of deployd at once. */
#include "deployd/operation_queue.h"

#include "common/base/ensure.h"
#include "deployd/operation_commit.h"

/* A kill waits for a commit, not for what follows it: the one before it is fenced by its event.
 * Nor does it wait for a build that comes before one. */
static bool may_run_beside(const struct operation *operation, const struct operation *before)
{
    return operation->kind == OPERATION_KILL &&
           (before->state == OPERATION_SUPERVISOR || before->state == OPERATION_BUILDING ||
            before->state == OPERATION_ACTING || before->state == OPERATION_REPORTING);
}

/* The first one, and a kill right behind a first one that is past its commit. */
static void queue_step(struct service *service)
{
    struct operation *first = service->queue;
    if (first == NULL)
        return;
    struct operation *second = first->next;
    operation_step(first);
    if (service->queue != first || second == NULL)
        return; /* it has ended, which marked the queue again */
    if (second->state != OPERATION_QUEUED || may_run_beside(second, first))
        operation_step(second);
}

bool operations_step(struct deployd *deployd)
{
    struct service *service = catalog_next_marked(&deployd->catalog);
    if (service != NULL)
        queue_step(service);
    return service != NULL;
}

/* A forced kill does not wait for what has not begun. */
static void refuse_before(struct operation *kill)
{
    for (struct operation *next, *operation = kill->service->queue;
         operation != NULL && operation != kill; operation = next) {
        next = operation->next;
        if (operation->state != OPERATION_QUEUED || operation->kind == OPERATION_KILL)
            continue;
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
    if (operation->kind == OPERATION_KILL && operation->is_forced)
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
