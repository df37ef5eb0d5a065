/* Queues, states, answers. What an operation does in each state stands in operation_commit.c and
 * operation_act.c. */
#include "deployd/operation.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/ensure.h"
#include "common/base/log.h"
#include "deployd/operation_act.h"
#include "deployd/operation_commit.h"
#include "deployd/reconcile.h"
#include "deployd/recovery.h"
#include "deployd/status.h"

#define TO(state) (1u << OPERATION_##state)
static const struct {
    const char *name;
    unsigned next;
} operation_states[OPERATION_STATES] = {
    [OPERATION_QUEUED] = { "queued", TO(TENANT) | TO(COMMITTING) | TO(SUPERVISOR) | TO(DONE) },
    [OPERATION_TENANT] = { "tenant", TO(COMMITTING) | TO(DONE) },
    [OPERATION_COMMITTING] = { "committing", TO(SUPERVISOR) | TO(DONE) },
    [OPERATION_SUPERVISOR] = { "supervisor", TO(ACTING) | TO(RECORDING) | TO(DONE) },
    [OPERATION_ACTING] = { "acting", TO(SUPERVISOR) | TO(RECORDING) | TO(DONE) },
    [OPERATION_RECORDING] = { "recording", TO(SUPERVISOR) | TO(DONE) },
    [OPERATION_DONE] = { "done", 0 },
};

static const char *const kind_names[] = { "deploy", "kill", "restart", "start", "stop" };

bool operation_may_move(enum operation_state from, enum operation_state to)
{
    return (operation_states[from].next & (1u << to)) != 0;
}

void operation_move(struct operation *operation, enum operation_state state)
{
    ensure(operation_may_move(operation->state, state));
    log_debug("operation", "kind", kind_names[operation->kind], "service", operation->service->key,
              "from", operation_states[operation->state].name, "to", operation_states[state].name);
    operation->state = state;
    /* A kill behind it may begin now. */
    if (state == OPERATION_SUPERVISOR)
        catalog_mark(&operation->owner->catalog, operation->service);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    const struct operation *operation = timer->data;
    catalog_mark(&operation->owner->catalog, operation->service);
}

struct operation *operation_new(struct deployd *deployd, struct service *service,
                                enum operation_kind kind, struct problem *problem)
{
    if (service->queued >= OPERATIONS_QUEUED_MAX) {
        problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "",
                    "%u requests of at most %d wait for %s already; ask again later",
                    service->queued, (int)OPERATIONS_QUEUED_MAX, service->key);
        problem->retry_after_ms = 1000;
        return NULL;
    }
    struct operation *operation = calloc(1, sizeof *operation);
    if (operation == NULL) {
        problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "", "out of memory");
        return NULL;
    }
    operation->owner = deployd;
    operation->service = service;
    operation->kind = kind;
    operation->result = "";
    operation->request_id = uuid_draw();
    ev_timer_init(&operation->timer, on_timer, 0, 0);
    operation->timer.data = operation;
    return operation;
}

void operation_free(struct operation *operation)
{
    ev_timer_stop(operation->owner->loop, &operation->timer);
    free((void *)operation->spec.data);
    free(operation);
}

void operation_for_call(struct operation *operation, struct rpc_call *call)
{
    operation->call = call;
    operation->request_id = call->request_id;
    operation->has_request_id = call->has_request_id;
    operation->body_hash = call->body_hash;
    rpc_call_defer(call);
}

/* A kill waits for a commit, not for what follows it: the one before it is fenced by its event. */
static bool may_run_beside(const struct operation *operation, const struct operation *before)
{
    return operation->kind == OPERATION_KILL &&
           (before->state == OPERATION_SUPERVISOR || before->state == OPERATION_ACTING);
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

static void unqueue(struct operation *operation)
{
    struct operation **place = &operation->service->queue;
    while (*place != operation) {
        ensure(*place != NULL);
        place = &(*place)->next;
    }
    *place = operation->next;
    operation->service->queued--;
    operation->owner->operations--;
}

static void deploy_reply(const struct operation *operation)
{
    const struct service *service = operation->service;
    bool is_current = service->is_held && service->generation == operation->generation;
    const struct service_deploy_reply reply = {
        .tenant = service->tenant->name,
        .name = service_name(service),
        .event_id = operation->event_id,
        .generation = operation->generation,
        .state = is_current ? service_state_name(service->state) : operation->result,
        .pid = is_current ? service->pid : 0,
        .unchanged = operation->is_unchanged,
        .isolation = status_isolation(operation->owner, service->tenant),
    };
    rpc_call_reply(operation->call, &reply);
}

static void answer(struct operation *operation)
{
    const struct service *service = operation->service;
    /* A recovery that finishes a deploy has become one, but was asked as a start. */
    switch (operation->is_recovery && operation->kind == OPERATION_DEPLOY ? OPERATION_START
                                                                          : operation->kind) {
    case OPERATION_DEPLOY:
        deploy_reply(operation);
        break;
    case OPERATION_KILL: {
        const struct service_kill_reply reply = { operation->event_id, operation->generation };
        rpc_call_reply(operation->call, &reply);
        break;
    }
    case OPERATION_RESTART: {
        const struct service_restart_reply reply = {
            .generation = operation->generation,
            .state = service_state_name(service->state),
            .pid = service->pid,
        };
        rpc_call_reply(operation->call, &reply);
        break;
    }
    case OPERATION_START:
    case OPERATION_STOP: {
        const struct recovery_act_reply reply = {
            .result = operation->result,
            .code = operation->code,
            .reason = operation->reason,
            .pid = operation->kind == OPERATION_STOP ? 0 : service->pid,
        };
        rpc_call_reply(operation->call, &reply);
        break;
    }
    }
}

/* A refusal that nobody said yet is said here; a failed start was logged when it failed. */
static void refuse(struct operation *operation, enum status status)
{
    struct problem *problem = &operation->problem;
    bool has_words = problem->message[0] != '\0';
    if (has_words && operation->code[0] == '\0')
        log_info("refused", "what", kind_names[operation->kind], "service", operation->service->key,
                 "field", problem->field, "reason", problem->message);
    problem->code = status;
    rpc_call_fail(operation->call, status, has_words ? problem : NULL);
}

void operation_end(struct operation *operation, enum status status)
{
    struct deployd *deployd = operation->owner;
    struct service *service = operation->service;
    operation_move(operation, OPERATION_DONE);
    unqueue(operation);
    if (operation->call != NULL && status != STATUS_OK)
        refuse(operation, status);
    else if (operation->call != NULL)
        answer(operation);
    if (operation->is_recovery)
        recovery_act_ended(deployd, status != STATUS_OK ? "failed" : operation->result);
    if (operation->is_reconcile)
        reconcile_operation_ended(deployd);
    operation_free(operation);
    catalog_changed(&deployd->catalog, service);
    if (service->queue != NULL)
        catalog_mark(&deployd->catalog, service);
}

void operations_supervisor_ready(struct tenant *tenant)
{
    for (struct service *service = tenant->services; service != NULL; service = service->next)
        if (service->queue != NULL)
            catalog_mark(&service->queue->owner->catalog, service);
}

void operations_supervisor_lost(struct tenant *tenant)
{
    for (struct service *service = tenant->services; service != NULL; service = service->next)
        for (struct operation *next, *operation = service->queue; operation != NULL;
             operation = next) {
            next = operation->next;
            if (operation->state == OPERATION_ACTING)
                operation_again(operation);
        }
}

void operations_tenant_created(struct tenant *tenant)
{
    operations_supervisor_ready(tenant);
}

void operations_tenant_refused(struct tenant *tenant, const struct problem *problem)
{
    for (struct service *service = tenant->services; service != NULL; service = service->next) {
        struct operation *first = service->queue;
        if (first == NULL || first->state != OPERATION_TENANT)
            continue;
        first->problem = *problem;
        operation_end(first, problem->code);
    }
}

void operations_refuse_queued(struct deployd *deployd, const struct problem *problem)
{
    for (struct service *service = deployd->catalog.services; service != NULL;
         service = service->hh.next)
        for (struct operation *next, *operation = service->queue; operation != NULL;
             operation = next) {
            next = operation->next;
            if (operation->state != OPERATION_QUEUED)
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
