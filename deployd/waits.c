/* Waits hang on their service; nobody polls. */
#include "deployd/waits.h"

#include <stdlib.h>

struct wait {
    struct wait *next;
    struct deployd *owner;
    struct service *service;
    struct rpc_call *call;
    struct share *share;
    enum wait_condition condition;
    uint64_t generation; /* the newest that was wanted while it waits */
    struct ev_timer timer;
};

/* Nothing of it runs and nobody wants it; only its last exit can still be looked at. */
static bool has_completed(const struct service *service)
{
    return service->is_held && service->state == SERVICE_completed &&
           service->wanted.generation == 0 && service->queue == NULL;
}

enum status wait_judge(const struct service *service, enum wait_condition condition,
                       uint64_t generation, struct problem *problem)
{
    bool exists = service_exists(service);
    if (condition == WAIT_GONE)
        return exists && !service->is_failed_deploy && !has_completed(service) ? STATUS_UNAVAILABLE
                                                                               : STATUS_OK;
    if (!exists)
        return service != NULL && service->queue != NULL
                   ? STATUS_UNAVAILABLE
                   : problem_set(problem, STATUS_NOT_FOUND, "name", "there is no such service");
    if (service->is_failed_deploy && service->queue == NULL)
        return problem_set(problem, STATUS_FAILED_PRECONDITION, "condition",
                           "the deploy of %s failed; see: soloctl describe %s", service->key,
                           service->key);
    /* Generations only grow: an older one is wanted when the log has fallen back to it. */
    if (service->wanted.generation != 0 && service->wanted.generation < generation)
        return problem_set(problem, STATUS_FAILED_PRECONDITION, "condition",
                           "generation %llu of %s was not ready; generation %llu is wanted again; "
                           "see: soloctl describe %s",
                           (unsigned long long)generation, service->key,
                           (unsigned long long)service->wanted.generation, service->key);
    bool is_current = service->is_held && (service->wanted.generation == 0 ||
                                           service->generation == service->wanted.generation);
    if (!is_current)
        return STATUS_UNAVAILABLE;
    switch (service->state) {
    case SERVICE_running:
        return condition == WAIT_RUNNING || service->is_ready ? STATUS_OK : STATUS_UNAVAILABLE;
    case SERVICE_failed:
        if (service->is_trial_over && service->since == service->generation &&
            service->wanted.generation != 0)
            return STATUS_UNAVAILABLE; /* its deploy has failed: it falls back, or is gone */
        __attribute__((fallthrough));
    case SERVICE_completed:
    case SERVICE_parked:
        return problem_set(problem, STATUS_FAILED_PRECONDITION, "condition",
                           "%s is %s and will not run by itself; see: soloctl describe %s",
                           service->key, service_state_name(service->state), service->key);
    default:
        return STATUS_UNAVAILABLE;
    }
}

static const char *state_of(const struct service *service)
{
    return service_exists(service) ? service_state_name(service->state) : "gone";
}

static struct service_wait_reply reply_of(const struct service *service)
{
    return (struct service_wait_reply){ .state = state_of(service),
                                        .generation =
                                            service_exists(service) ? service->generation : 0 };
}

static void wait_free(struct wait *wait)
{
    struct wait **place = &wait->service->waits;
    while (*place != wait)
        place = &(*place)->next;
    *place = wait->next;
    shares_give(&wait->owner->waits, wait->share);
    ev_timer_stop(wait->owner->loop, &wait->timer);
    catalog_touch(&wait->owner->catalog, wait->service);
    free(wait);
}

static void on_timeout(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct wait *wait = timer->data;
    struct problem problem;
    char reason[REASON_BYTES_MAX + 1];
    problem_set(&problem, STATUS_DEADLINE_EXCEEDED, "timeout_ms", "%s is still %s: %s",
                wait->service->key, state_of(wait->service), service_reason(wait->service, reason));
    rpc_call_fail(wait->call, STATUS_DEADLINE_EXCEEDED, &problem);
    wait_free(wait);
}

static void on_gone(struct rpc_call *call)
{
    struct wait *wait = call->user;
    rpc_call_drop(call);
    wait_free(wait);
}

enum status wait_begin(struct deployd *deployd, struct rpc_call *call, struct service *service,
                       enum wait_condition condition, uint64_t timeout_ms,
                       struct service_wait_reply *reply)
{
    enum status status = wait_judge(service, condition, 0, &call->problem);
    if (status == STATUS_OK)
        *reply = reply_of(service);
    if (status != STATUS_UNAVAILABLE)
        return status;
    TRY(shares_check(&deployd->waits, WAITS_MAX, "waits for services", call));
    struct wait *wait = calloc(1, sizeof *wait);
    if (wait == NULL)
        return problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "", "out of memory");
    wait->owner = deployd;
    wait->service = service;
    wait->condition = condition;
    wait->generation = service->wanted.generation;
    wait->call = call;
    wait->next = service->waits;
    service->waits = wait;
    wait->share = shares_take(&deployd->waits, &call->caller);
    call->user = wait;
    call->on_gone = on_gone;
    rpc_call_defer(call);
    ev_timer_init(&wait->timer, on_timeout,
                  (double)(timeout_ms == 0 ? WAIT_MS_DEFAULT : timeout_ms) / 1e3, 0);
    wait->timer.data = wait;
    ev_timer_start(deployd->loop, &wait->timer);
    return STATUS_OK;
}

void waits_look(void *context, struct service *service)
{
    (void)context;
    for (struct wait *next, *wait = service->waits; wait != NULL; wait = next) {
        next = wait->next;
        struct problem problem = { 0 };
        enum status status =
            access_still_allows(&wait->owner->access, &wait->call->caller, &problem);
        if (status == STATUS_OK)
            status = wait_judge(service, wait->condition, wait->generation, &problem);
        if (service->wanted.generation > wait->generation)
            wait->generation = service->wanted.generation;
        if (status == STATUS_UNAVAILABLE)
            continue;
        const struct service_wait_reply reply = reply_of(service);
        if (status == STATUS_OK)
            rpc_call_reply(wait->call, &reply);
        else
            rpc_call_fail(wait->call, status, &problem);
        wait_free(wait);
    }
}

void waits_check_tokens(struct deployd *deployd)
{
    for (struct service *service = deployd->catalog.services;
         service != NULL && deployd->waits.taken > 0; service = service->hh.next)
        waits_look(deployd, service);
}

void waits_end(struct deployd *deployd, const struct problem *problem)
{
    for (struct service *service = deployd->catalog.services; service != NULL;
         service = service->hh.next)
        while (service->waits != NULL) {
            rpc_call_fail(service->waits->call, problem->code, problem);
            wait_free(service->waits);
        }
}
