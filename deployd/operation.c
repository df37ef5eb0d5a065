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

const char *operation_state_name(enum operation_state state)
{
    return operation_states[state].name;
}

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
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    operation_step(timer->data);
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

struct operation *operation_of_request(const struct service *service, const struct uuid *request_id)
{
    for (struct operation *operation = service->queue; operation != NULL;
         operation = operation->next)
        if (operation->has_request_id &&
            memcmp(operation->request_id.bytes, request_id->bytes, UUID_BYTES) == 0)
            return operation;
    return NULL;
}

/* A kill waits for a commit, not for what follows it: the one before it is fenced by its event. */
static bool may_run_beside(const struct operation *operation, const struct operation *before)
{
    return operation->kind == OPERATION_KILL &&
           (before->state == OPERATION_SUPERVISOR || before->state == OPERATION_ACTING);
}

/* Begins what may begin now: the first, and a kill right behind a first one that only waits. */
static void queue_step(struct service *service)
{
    struct operation *first = service->queue;
    if (first != NULL && first->state == OPERATION_QUEUED) {
        operation_step(first);
        return; /* which comes back here when it has moved on or ended */
    }
    struct operation *second = first == NULL ? NULL : first->next;
    if (second != NULL && second->state == OPERATION_QUEUED && may_run_beside(second, first))
        operation_step(second);
}

/* A forced kill does not wait for what has not begun. */
static void refuse_before(struct operation *kill)
{
    struct operation *first = kill->service->queue;
    for (struct operation *next, *operation = first == NULL ? NULL : first->next;
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
    queue_step(service);
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
    switch (operation->kind) {
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
            .pid = operation->kind == OPERATION_START ? service->pid : 0,
        };
        rpc_call_reply(operation->call, &reply);
        break;
    }
    }
}

void operation_end(struct operation *operation, enum status status)
{
    struct deployd *deployd = operation->owner;
    struct service *service = operation->service;
    operation_move(operation, OPERATION_DONE);
    unqueue(operation);
    bool is_refused = status != STATUS_OK && !operation->is_recovery;
    if (is_refused && operation->call != NULL && operation->problem.message[0] != '\0')
        log_info("refused", "what", kind_names[operation->kind], "service", service->key, "field",
                 operation->problem.field, "reason", operation->problem.message);
    if (operation->call != NULL && is_refused) {
        operation->problem.code = status;
        rpc_call_fail(operation->call, status,
                      operation->problem.message[0] == '\0' ? NULL : &operation->problem);
    } else if (operation->call != NULL) {
        answer(operation);
    }
    if (operation->is_recovery)
        recovery_act_ended(deployd, operation);
    bool is_reconcile = operation->is_reconcile;
    operation_free(operation);
    catalog_changed(&deployd->catalog, service);
    if (is_reconcile)
        reconcile_operation_ended(deployd);
    if (service->queue != NULL)
        queue_step(service);
}

/* Steps every operation of a tenant that is in this state: the first of a queue, and a kill beside
 * it, which the first one's end does not end. */
static void tenant_step(struct tenant *tenant, enum operation_state state,
                        void (*step)(struct operation *operation))
{
    for (struct service *service = tenant->services; service != NULL; service = service->next) {
        struct operation *first = service->queue;
        struct operation *second = first == NULL ? NULL : first->next;
        bool has_second = second != NULL && second->state == state;
        if (first != NULL && first->state == state)
            step(first);
        bool is_still_there =
            service->queue != NULL && (service->queue == second || service->queue->next == second);
        if (has_second && is_still_there)
            step(second);
    }
}

void operations_supervisor_ready(struct tenant *tenant)
{
    tenant_step(tenant, OPERATION_SUPERVISOR, operation_step);
}

void operations_supervisor_lost(struct tenant *tenant)
{
    tenant_step(tenant, OPERATION_ACTING, operation_interrupted);
}

void operations_tenant_created(struct tenant *tenant)
{
    tenant_step(tenant, OPERATION_TENANT, operation_step);
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
         service = service->hh.next) {
        struct operation *first = service->queue;
        while (first != NULL && first->next != NULL && first->next->state == OPERATION_QUEUED) {
            first->next->problem = *problem;
            operation_end(first->next, problem->code);
        }
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
