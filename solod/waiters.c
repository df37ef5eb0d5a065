/* A table of deferred calls. A caller that hangs up frees its place at once. */
#include "solod/waiters.h"

#include <stddef.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"

enum { RETRY_AFTER_SHUTDOWN_MS = 1000 };

static void waiter_free(struct waiter *waiter)
{
    ev_timer_stop(waiter->owner->loop, &waiter->deadline);
    waiter->call = NULL;
}

enum status shutting_down_fill(struct problem *problem)
{
    problem_set(problem, STATUS_UNAVAILABLE, "", "Solo is shutting down");
    problem->retry_after_ms = RETRY_AFTER_SHUTDOWN_MS;
    return STATUS_UNAVAILABLE;
}

static void waiter_fail(struct waiter *waiter, const struct problem *problem)
{
    struct rpc_call *call = waiter->call;
    waiter_free(waiter);
    rpc_call_fail(call, problem->code, problem);
}

static void on_deadline(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop, (void)events;
    struct waiter *waiter = watcher->data;
    struct problem problem;
    waiter->explain(waiter->owner->context, waiter, &problem);
    waiter_fail(waiter, &problem);
}

static void on_gone(struct rpc_call *call)
{
    waiter_free(call->user);
    rpc_call_drop(call);
}

void waiters_open(struct waiters *waiters, struct ev_loop *loop, void *context)
{
    waiters->loop = loop;
    waiters->context = context;
}

void waiters_close(struct waiters *waiters)
{
    if (waiters->loop == NULL)
        return;
    struct problem problem;
    shutting_down_fill(&problem);
    for (size_t i = 0; i < WAITERS_MAX; i++)
        if (waiters->items[i].call != NULL)
            waiter_fail(&waiters->items[i], &problem);
}

enum status waiters_add(struct waiters *waiters, struct rpc_call *call, const struct waiter *waiter,
                        uint64_t timeout_ms)
{
    for (size_t i = 0; i < WAITERS_MAX; i++) {
        struct waiter *place = &waiters->items[i];
        if (place->call != NULL)
            continue;
        *place = *waiter;
        place->owner = waiters;
        place->call = call;
        ev_timer_init(&place->deadline, on_deadline, (double)timeout_ms / 1e3, 0);
        place->deadline.data = place;
        ev_now_update(waiters->loop);
        ev_timer_start(waiters->loop, &place->deadline);
        call->user = place;
        call->on_gone = on_gone;
        rpc_call_defer(call);
        return STATUS_OK;
    }
    return problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "",
                       "%d callers wait already; retry later", WAITERS_MAX);
}

void waiters_step(struct waiters *waiters)
{
    for (size_t i = 0; i < WAITERS_MAX; i++) {
        struct waiter *waiter = &waiters->items[i];
        if (waiter->call == NULL)
            continue;
        struct rpc_call *call = waiter->call;
        if (waiter->try(waiters->context, waiter)) {
            ensure(waiter->call == call);
            waiter_free(waiter);
        }
    }
}
