#include "deployd/retry.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/plan/plan.h"

bool retry_is_worth(const char *code)
{
    return strcmp(code, plan_code_name(PLAN_CODE_no_resources)) == 0 ||
           strcmp(code, plan_code_name(PLAN_CODE_supervisor_unavailable)) == 0;
}

void retry_note(struct service *service, uint64_t boottime_ns)
{
    uint64_t pause_ms = RETRY_MS_FIRST;
    for (unsigned i = 0; i < service->retries && pause_ms < RETRY_MS_MAX; i++)
        pause_ms *= 2;
    service->retries++;
    service->retry_ns =
        boottime_ns + (pause_ms < RETRY_MS_MAX ? pause_ms : RETRY_MS_MAX) * NS_PER_MS;
}

void retry_forget(struct service *service)
{
    service->retries = 0;
    service->retry_ns = 0;
}

bool retry_is_due(const struct service *service, uint64_t boottime_ns)
{
    return service->retry_ns != 0 && boottime_ns >= service->retry_ns &&
           service->state == SERVICE_failed && service->wanted.generation != 0 &&
           service->queue == NULL && service->due == DUE_NOTHING &&
           !service->tenant->supervisor.is_silent &&
           (!service->is_held || service->generation == service->wanted.generation);
}
