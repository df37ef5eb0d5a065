/* One batch of two events, all or none. The first of a batch speaks for its request, which is the
 * deploy's: so it carries intent and body, and a repeat finds the deploy as the last of the batch.
 */
#include "deployd/operation_trial.h"

#include "common/base/auto.h"
#include "common/plan/plan.h"
#include "common/wire/writer.h"
#include "deployd/append_about.h"
#include "deployd/appends.h"
#include "deployd/operation_failure.h"

static bool is_tried(const struct service *service)
{
    return service->is_held && service->generation == service->wanted.generation &&
           service->state != SERVICE_waiting_for_secret;
}

enum status operation_ends_trial(const struct operation *deploy, bool *ends_trial)
{
    char subject[SUBJECT_BYTES];
    bool has_run;
    const struct service *service = deploy->service;
    const struct live_row *wanted = &service->wanted;
    *ends_trial = false;
    bool is_fresh = wanted->generation != 0 && wanted->generation == wanted->since;
    if (!is_fresh || (is_tried(service) && service->is_ready) ||
        (wanted->previous == 0 && !is_tried(service)))
        return STATUS_OK;
    for (const struct operation *other = service->queue; other != NULL; other = other->next)
        if (operation_records_failure(other) && other->generation == wanted->generation)
            return STATUS_OK; /* on its way already, before this one */
    subject_of_service(subject, service->tenant->name, service_name(service));
    TRY(event_map_has_run(&deploy->owner->map, subject, wanted->generation, &has_run));
    *ends_trial = !has_run;
    return STATUS_OK;
}

static void trial_end_write(const struct operation *deploy, struct buffer *events)
{
    AUTO(buffer_close) struct buffer payload = { .limit = 1024 };
    char subject[SUBJECT_BYTES];
    const struct live_row *wanted = &deploy->service->wanted;
    operation_failure_write(&payload, wanted->generation, &wanted->previous,
                            plan_code_name(PLAN_CODE_replaced),
                            "another deploy replaced it before it was ready");
    struct event_append_request request =
        append_about_service(EVENT_service_deployment_failed, deploy->service, subject, &payload);
    request.causation_id = wanted->generation;
    request.intent = "service.deploy";
    if (deploy->has_request_id)
        request.body_hash = deploy->body_hash;
    fields_encode(method_event_append.request, &request, events);
}

enum status operation_commit_over_trial(struct operation *operation,
                                        const struct event_append_request *deploy,
                                        rpc_on_reply on_committed)
{
    AUTO(buffer_close) struct buffer events = { .limit = FRAME_BYTES_MAX };
    write_array(&events, 2);
    trial_end_write(operation, &events);
    fields_encode(method_event_append.request, deploy, &events);
    return events.is_exhausted
               ? STATUS_RESOURCE_EXHAUSTED
               : append_send_batch(operation->owner, buffer_span(&events), &operation->request_id,
                                   APPEND_TIMEOUT_MS, on_committed, operation);
}
