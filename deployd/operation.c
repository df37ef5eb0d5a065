/* States, answers, waiting. */
#include "deployd/operation.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "deployd/retry.h"
#include "deployd/supervisors.h"

#define TO(state) (1u << OPERATION_##state)
static const struct {
    const char *name;
    unsigned next;
} operation_states[OPERATION_STATES] = {
    [OPERATION_QUEUED] = { "queued",
                           TO(TENANT) | TO(SECRETS) | TO(COMMITTING) | TO(SUPERVISOR) | TO(DONE) },
    [OPERATION_SECRETS] = { "secrets", TO(COMMITTING) | TO(DONE) },
    [OPERATION_TENANT] = { "tenant", TO(SECRETS) | TO(COMMITTING) | TO(SUPERVISOR) | TO(DONE) },
    [OPERATION_COMMITTING] = { "committing", TO(SUPERVISOR) | TO(DONE) },
    [OPERATION_SUPERVISOR] = { "supervisor", TO(BUILDING) | TO(ACTING) | TO(RECORDING) | TO(DONE) },
    [OPERATION_BUILDING] = { "building", TO(SUPERVISOR) | TO(SECRETS) | TO(COMMITTING) |
                                             TO(RECORDING) | TO(DONE) },
    [OPERATION_ACTING] = { "acting", TO(SUPERVISOR) | TO(REPORTING) | TO(RECORDING) | TO(DONE) },
    [OPERATION_REPORTING] = { "reporting", TO(SUPERVISOR) | TO(DONE) },
    [OPERATION_RECORDING] = { "recording", TO(SUPERVISOR) | TO(DONE) },
    [OPERATION_DONE] = { "done", 0 },
};

static const char *const kind_names[] = { "deploy", "kill", "restart", "start", "stop" };

bool operation_is_uncommitted(const struct operation *operation)
{
    return operation->kind == OPERATION_DEPLOY && operation->event_id == 0;
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
    if (operation->state == OPERATION_BUILDING && state != OPERATION_BUILDING) {
        operation->service->building_since_ns = 0; /* also when nobody answered */
        catalog_touch(&operation->owner->catalog, operation->service);
    }
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
    /* Its row may still show what the log has overtaken. */
    bool is_current = service->is_held && service->generation == operation->generation &&
                      !operation->is_overtaken;
    const struct service_deploy_reply reply = {
        .tenant = service->tenant->name,
        .name = service_name(service),
        .event_id = operation->event_id,
        .generation = operation->generation,
        .state = is_current ? service_state_name(service->state) : operation->result,
        .pid = is_current ? service->pid : 0,
        .unchanged = operation->is_unchanged,
        .isolation = supervisors_isolation(operation->owner, service->tenant),
    };
    rpc_call_reply(operation->call, &reply);
}

static void answer_done(struct operation *operation)
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
    char line[sizeof problem->message];
    bool has_words = problem->message[0] != '\0';
    if (has_words && operation->code[0] == '\0' && rpc_call_may_log(operation->call))
        log_info("refused", "what", kind_names[operation->kind], "service", operation->service->key,
                 "field", problem->field, "reason", problem_first_line(problem, line));
    problem->code = status;
    rpc_call_fail(operation->call, status, has_words ? problem : NULL);
}

void operation_answer(struct operation *operation, enum status status)
{
    if (operation->call != NULL && status != STATUS_OK)
        refuse(operation, status);
    else if (operation->call != NULL)
        answer_done(operation);
    if (operation->on_end != NULL)
        operation->on_end(operation, status);
    operation->call = NULL;
    operation->on_end = NULL;
}

void operation_end(struct operation *operation, enum status status)
{
    struct deployd *deployd = operation->owner;
    struct service *service = operation->service;
    /* Their own end is no reason to begin them again at once; reconcile_look comes round. */
    bool is_reconciling = operation->kind == OPERATION_START || operation->kind == OPERATION_STOP;
    operation_move(operation, OPERATION_DONE);
    unqueue(operation);
    operation_answer(operation, status);
    if (operation->is_passing)
        retry_note(service, clock_boottime_ns());
    else if (operation->kind == OPERATION_START)
        retry_forget(service);
    operation_free(operation);
    catalog_changed(&deployd->catalog, service);
    if (service->queue != NULL)
        catalog_mark(&deployd->catalog, service);
    else if (!is_reconciling)
        catalog_look(&deployd->catalog, service);
}

bool operation_is_broken(enum status status)
{
    return status == STATUS_UNAVAILABLE || status == STATUS_UNKNOWN || status == STATUS_CANCELLED;
}

void operation_await_supervisor(struct operation *operation)
{
    struct deployd *deployd = operation->owner;
    struct supervisor *supervisor = &operation->service->tenant->supervisor;
    operation_move(operation, OPERATION_SUPERVISOR);
    ev_timer_stop(deployd->loop, &operation->timer);
    ev_timer_set(&operation->timer, SUPERVISOR_WAIT_MS_MAX / 1e3, 0);
    ev_timer_start(deployd->loop, &operation->timer);
    if (!supervisor->is_ending)
        supervisor_need(supervisor);
}

void operation_asked(struct operation *operation, enum status status)
{
    operation->attempts++;
    if (status != STATUS_OK)
        operation_await_supervisor(operation);
}
