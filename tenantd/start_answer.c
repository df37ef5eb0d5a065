/* One table of cases, pure. */
#include "tenantd/start_answer.h"

static bool is_idle(enum service_state state)
{
    return state == SERVICE_parked || state == SERVICE_failed || state == SERVICE_backoff;
}

enum answer answer_to_start(const struct service *service, uint64_t generation, uint64_t since,
                            enum start_cause cause, bool until_ready)
{
    if (service->order != NULL) {
        if (since < service->order->since)
            return ANSWER_REFUSED;
        if (since == service->order->since)
            return generation == service->order->generation ? ANSWER_JOIN : ANSWER_REFUSED;
        return ANSWER_ORDER;
    }
    if (since < service->since)
        return ANSWER_REFUSED;
    if (generation != service->generation)
        return since > service->since ? ANSWER_ORDER : ANSWER_REFUSED;
    if (service->state == SERVICE_stopping)
        return since > service->since ? ANSWER_ORDER : ANSWER_REFUSED;
    if (service->state == SERVICE_waiting_for_secret)
        return service->is_withheld ? ANSWER_ROW : ANSWER_JOIN;
    if (service->state == SERVICE_starting)
        return until_ready || service->pid == 0 ? ANSWER_JOIN : ANSWER_ROW;
    if (service->state == SERVICE_backoff && until_ready)
        return ANSWER_JOIN; /* told what comes of its next start */
    if (is_idle(service->state) && (since > service->since || cause == START_RECOVER ||
                                    cause == START_RESTART || cause == START_RECONCILE))
        return ANSWER_ORDER;
    return ANSWER_ROW;
}

uint64_t service_newest_since(const struct service *service)
{
    return service->order != NULL ? service->order->since : service->since;
}

uint64_t service_newest_generation(const struct service *service)
{
    return service->order != NULL ? service->order->generation : service->generation;
}

const struct hash *service_newest_spec_hash(const struct service *service)
{
    return service->order != NULL ? &service->order->spec_hash : &service->spec_hash;
}
