/* Two lists of calls each: those that wait until it is exec'd, and those until it is ready. */
#include "tenantd/start_order.h"

#include <stdlib.h>
#include <string.h>

#include "tenantd/launch.h"
#include "tenantd/service_row.h"
#include "tenantd/supervisor.h"

enum status start_order_park(struct start_order *order, struct span row)
{
    if (row.size == 0)
        return STATUS_OK;
    uint8_t *copy = malloc(row.size);
    if (copy == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    order->parked = span_of(memcpy(copy, row.data, row.size), row.size);
    return STATUS_OK;
}

void start_order_free(struct start_order *order)
{
    if (order == NULL)
        return;
    launch_free(order->launch);
    free((void *)order->parked.data);
    free(order);
}

static void both_fail(struct rpc_call **calls, struct rpc_call **ready_calls,
                      const struct problem *problem)
{
    calls_fail(calls, problem->code, problem);
    calls_fail(ready_calls, problem->code, problem);
}

void start_order_drop(struct service *service, enum status status, const char *why)
{
    struct start_order *order = service->order;
    struct problem problem = { 0 };
    if (order == NULL)
        return;
    problem_set(&problem, status, "", "%s", why);
    both_fail(&order->calls, &order->ready_calls, &problem);
    if (order->launch != NULL && order->launch->has_code &&
        order->generation != service->generation)
        site_code_remove(service->supervisor->site, service->name, order->generation);
    start_order_free(order);
    service->order = NULL;
}

void service_join(struct service *service, struct rpc_call *call, bool until_ready)
{
    struct start_order *order = service->order;
    struct rpc_call **list = until_ready
                                 ? (order != NULL ? &order->ready_calls : &service->ready_calls)
                             : order != NULL ? &order->calls
                                             : &service->start_calls;
    call->user = *list;
    *list = call;
}

void service_lead(struct service *service, uint64_t cause_id)
{
    uint64_t *cause = service->order != NULL ? &service->order->cause_id : &service->cause_id;
    if (cause_id <= *cause)
        return;
    *cause = cause_id;
    if (service->order == NULL && service->start_cause == START_AFTER_CRASH) {
        service->start_cause = START_RESTART;
        service->owes_restarted = false;
    }
}

static void append(struct rpc_call **list, struct rpc_call **calls)
{
    while (*list != NULL)
        list = (struct rpc_call **)&(*list)->user;
    *list = *calls;
    *calls = NULL;
}

void start_waiters_keep(struct service *service, struct start_order *order)
{
    append(&order->calls, &service->start_calls);
    append(&order->ready_calls, &service->ready_calls);
}

void start_waiters_fail(struct service *service, const struct problem *problem)
{
    both_fail(&service->start_calls, &service->ready_calls, problem);
}

void start_waiters_abort(struct service *service, const char *why)
{
    struct problem problem = { 0 };
    problem_set(&problem, STATUS_ABORTED, "", "%s", why);
    both_fail(&service->start_calls, &service->ready_calls, &problem);
}
