#include "tenantd/service_secrets.h"

#include "common/base/log.h"
#include "tenantd/service_row.h"
#include "tenantd/service_state.h"

bool service_secrets_ask(struct service *service)
{
    if (!launch_needs_secrets(service->launch) || service->has_secrets)
        return false;
    service->secret_request = ++service->supervisor->secret_requests;
    service->is_withheld = false;
    service_move(service, SERVICE_waiting_for_secret, "its secrets are being fetched");
    return true;
}

void service_secrets_used(struct service *service)
{
    service->has_secrets = false;
    credentials_forget(&service->credentials);
    if (service->pid == 0 && !service->ending.is_active)
        service_secrets_drop(service);
}

void service_secrets_drop(struct service *service)
{
    service->has_secrets = false;
    service->secret_request = 0;
    if (service->credentials.versions.size > 0)
        credentials_remove(service->supervisor->site, service->name);
    credentials_close(&service->credentials);
}

/* Waits for it with this request. */
static enum status find(struct supervisor *supervisor, struct rpc_call *call, const char *name,
                        uint64_t request, struct service **service)
{
    *service = supervisor_find(supervisor, name);
    if (*service != NULL && (*service)->state == SERVICE_waiting_for_secret &&
        (*service)->secret_request == request && request != 0)
        return STATUS_OK;
    return problem_set(&call->problem, STATUS_ABORTED, "request",
                       "%s does not wait for these secrets", name);
}

/* Who waits for its start learns that it waits. */
static void withhold(struct service *service, const char *reason)
{
    char text[WHAT_BYTES];
    service->is_withheld = true;
    service_move(service, SERVICE_waiting_for_secret, "%s", service_what(text, reason));
    service_answer_rows(service, &service->start_calls);
    service_answer_rows(service, &service->ready_calls);
}

enum status handle_supervisor_deliver(struct supervisor *supervisor, struct rpc_call *call,
                                      const struct supervisor_deliver_request *request,
                                      struct supervisor_deliver_reply *reply)
{
    (void)reply;
    struct service *service;
    TRY(find(supervisor, call, request->name, request->request, &service));
    enum status status =
        credentials_put(supervisor->site, service->name, service->generation, service->launch,
                        call->file, &service->credentials, &call->problem);
    if (status != STATUS_OK) {
        if (call->problem.message[0] == '\0')
            problem_set(&call->problem, status, "", "its secrets cannot be put into its folder: %s",
                        status_text(status));
        log_warning("secrets were not delivered", "service", service->name, "reason",
                    call->problem.message);
        withhold(service, call->problem.message);
        return status;
    }
    service->has_secrets = true;
    service->secret_request = 0;
    service_go_on(service);
    return STATUS_OK;
}

enum status handle_supervisor_withhold(struct supervisor *supervisor, struct rpc_call *call,
                                       const struct supervisor_withhold_request *request,
                                       struct supervisor_withhold_reply *reply)
{
    (void)reply;
    struct service *service;
    TRY(find(supervisor, call, request->name, request->request, &service));
    withhold(service, request->reason);
    return STATUS_OK;
}
