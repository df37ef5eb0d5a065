/* The handlers: each hands over to the part that does it. A token's caller names no tenant but its
 * own: access_narrow has seen to that; what has no tenant among its fields is narrowed here. */
#include "deployd/methods.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "deployd/admission.h"
#include "deployd/drain.h"
#include "deployd/log_streams.h"
#include "deployd/next_step.h"
#include "deployd/operation_queue.h"
#include "deployd/quota.h"
#include "deployd/recovery.h"
#include "deployd/shown.h"
#include "deployd/status.h"
#include "deployd/supervisors.h"
#include "deployd/verification.h"
#include "deployd/waits.h"

enum { NAME_SHOWN_BYTES = 2 * NAME_BYTES_MAX };

static enum status no_service(struct problem *problem, const char *tenant, const char *name)
{
    return problem_set(problem, STATUS_NOT_FOUND, "name", "there is no service %s/%s", tenant,
                       name);
}

static void log_refusal(enum status status, const struct rpc_call *call, const char *tenant,
                        const char *name)
{
    const char *reason =
        call->problem.message[0] == '\0' ? status_text(status) : call->problem.message;
    if (!rpc_call_may_log(call))
        return;
    if (tenant == NULL)
        log_info("refused", "method", call->method->name, "field", call->problem.field, "reason",
                 reason);
    else
        log_info("refused", "method", call->method->name, "tenant", tenant, "name", name, "field",
                 call->problem.field, "reason", reason);
}

/* Refusals are said once, here, for what never became an operation. Who only asks for what is not
 * there is told so, and that is all. */
static enum status refused(enum status status, const struct rpc_call *call, const char *tenant,
                           const char *name)
{
    bool is_change = (call->method->flags & METHOD_MUTATES) != 0;
    if (status != STATUS_OK && (status != STATUS_NOT_FOUND || is_change))
        log_refusal(status, call, tenant, name);
    return status;
}

/* Copies what the arena of the call must hold until the handler has returned. */
static enum status arena_span(struct rpc_call *call, const struct buffer *buffer, struct span *span)
{
    uint8_t *copy = buffer->is_exhausted ? NULL : arena_alloc(call->arena, buffer->size + 1);
    if (copy == NULL)
        return problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "",
                           "the answer is too large");
    memcpy(copy, buffer->data, buffer->size);
    *span = span_of(copy, buffer->size);
    return STATUS_OK;
}

/* ---- services ---- */

static enum status deploy(struct deployd *deployd, struct rpc_call *call,
                          const struct service_deploy_request *request, struct admitted *admitted)
{
    struct tenant *tenant;
    struct service *service;
    TRY(deployd_is_open(deployd, &call->problem));
    TRY(admission_decode(&call->caller, request->spec, admitted, &call->problem));
    TRY(catalog_tenant_make(&deployd->catalog, admitted->tenant, &tenant, &call->problem));
    supervisor_init(deployd, tenant);
    enum status status =
        catalog_service_make(&deployd->catalog, tenant, admitted->name, &service, &call->problem);
    if (status != STATUS_OK) {
        catalog_tenant_release(&deployd->catalog, tenant);
        return status;
    }
    catalog_touch(&deployd->catalog, service);
    struct operation *operation = operation_new(deployd, service, OPERATION_DEPLOY, &call->problem);
    if (operation == NULL)
        return call->problem.code;
    buffer_shrink(&admitted->canonical, admitted->canonical.size);
    operation->spec = buffer_span(&admitted->canonical);
    admitted->canonical = (struct buffer){ 0 }; /* the operation owns it now */
    operation->spec_hash = admitted->hash;
    operation->wait = request->wait;
    operation->only_if_changed = request->only_if_changed;
    operation->if_event = request->if_event;
    operation_for_call(operation, call);
    operation_begin(operation);
    return STATUS_OK;
}

static enum status refused_spec(enum status status, const struct rpc_call *call, struct span spec)
{
    char tenant[NAME_SHOWN_BYTES], name[NAME_SHOWN_BYTES]; /* as given, valid or not */
    if (status != STATUS_OK)
        log_refusal(status, call, map_text(spec, "tenant", tenant, sizeof tenant),
                    map_text(spec, "name", name, sizeof name));
    return status;
}

static enum status handle_service_deploy(struct deployd *deployd, struct rpc_call *call,
                                         const struct service_deploy_request *request,
                                         struct service_deploy_reply *reply)
{
    (void)reply;
    struct admitted admitted = { 0 };
    enum status status = deploy(deployd, call, request, &admitted);
    buffer_close(&admitted.canonical);
    return refused_spec(status, call, request->spec);
}

/* The checks of a deploy, without one. */
static enum status validate(struct deployd *deployd, struct rpc_call *call, struct span spec,
                            struct admitted *admitted, struct buffer *totals)
{
    TRY(deployd_is_open(deployd, &call->problem));
    TRY(admission_decode(&call->caller, spec, admitted, &call->problem));
    TRY(admission_program(deployd, buffer_span(&admitted->canonical), &call->problem));
    struct service *service = catalog_service(&deployd->catalog, admitted->tenant, admitted->name);
    TRY(quota_check(deployd, admitted->tenant, service, buffer_span(&admitted->canonical), false,
                    &call->problem));
    return quota_foresee(deployd, catalog_tenant(&deployd->catalog, admitted->tenant), service,
                         buffer_span(&admitted->canonical), totals, &call->problem);
}

static enum status handle_service_validate(struct deployd *deployd, struct rpc_call *call,
                                           const struct service_validate_request *request,
                                           struct service_validate_reply *reply)
{
    struct admitted admitted = { 0 };
    AUTO(buffer_close) struct buffer totals = { .limit = FRAME_BYTES_SMALL };
    enum status status = validate(deployd, call, request->spec, &admitted, &totals);
    buffer_close(&admitted.canonical);
    if (status != STATUS_OK) /* `apply` stops here, so that each refusal has its one line */
        return refused_spec(status, call, request->spec);
    reply->tenant = arena_text(call->arena, span_of_text(admitted.tenant));
    reply->name = arena_text(call->arena, span_of_text(admitted.name));
    const struct service *service =
        catalog_service(&deployd->catalog, admitted.tenant, admitted.name);
    reply->unchanged = service_has_spec(service, &admitted.hash) &&
                       !event_map_needs_review(&deployd->map, admitted.tenant, admitted.name,
                                               service->wanted.since);
    TRY(arena_span(call, &totals, &reply->totals));
    return reply->tenant == NULL || reply->name == NULL ? STATUS_RESOURCE_EXHAUSTED : STATUS_OK;
}

/* The service that a caller names; also one that is not there any more, for the repeat of a kill.
 */
static enum status find(struct deployd *deployd, struct rpc_call *call, const char *tenant_name,
                        const char *name, struct service **service)
{
    struct tenant *tenant = catalog_tenant(&deployd->catalog, tenant_name);
    if (tenant == NULL || !tenant->is_recorded)
        return no_service(&call->problem, tenant_name, name);
    if (call->has_request_id) {
        TRY(catalog_service_make(&deployd->catalog, tenant, name, service, &call->problem));
        catalog_touch(&deployd->catalog, *service);
        return STATUS_OK;
    }
    *service = catalog_service(&deployd->catalog, tenant_name, name);
    if (*service == NULL)
        return no_service(&call->problem, tenant_name, name);
    return STATUS_OK;
}

static enum status ask(struct deployd *deployd, struct rpc_call *call, enum operation_kind kind,
                       const char *tenant, const char *name, bool is_forced)
{
    struct service *service;
    TRY(deployd_is_open(deployd, &call->problem));
    TRY(find(deployd, call, tenant, name, &service));
    struct operation *operation = operation_new(deployd, service, kind, &call->problem);
    if (operation == NULL)
        return call->problem.code;
    operation->is_forced = is_forced;
    operation_for_call(operation, call);
    operation_begin(operation);
    return STATUS_OK;
}

static enum status handle_service_kill(struct deployd *deployd, struct rpc_call *call,
                                       const struct service_kill_request *request,
                                       struct service_kill_reply *reply)
{
    (void)reply;
    return refused(
        ask(deployd, call, OPERATION_KILL, request->tenant, request->name, request->force), call,
        request->tenant, request->name);
}

static enum status handle_service_restart(struct deployd *deployd, struct rpc_call *call,
                                          const struct service_restart_request *request,
                                          struct service_restart_reply *reply)
{
    (void)reply;
    return refused(ask(deployd, call, OPERATION_RESTART, request->tenant, request->name, false),
                   call, request->tenant, request->name);
}

static enum status handle_service_list(struct deployd *deployd, struct rpc_call *call,
                                       const struct service_list_request *request,
                                       struct service_list_reply *reply)
{
    AUTO(buffer_close) struct buffer list = { .limit = FRAME_BYTES_MAX };
    char next[SERVICE_KEY_BYTES];
    const struct tenant *only = NULL;
    TRY(deployd_is_readable(deployd, &call->problem));
    if (request->tenant[0] != '\0')
        only = catalog_tenant(&deployd->catalog, request->tenant);
    if (request->tenant[0] != '\0' && only == NULL) {
        next[0] = '\0';
        write_array(&list, 0);
    } else {
        TRY(status_list(deployd, only, request->after, &list, next));
    }
    TRY(arena_span(call, &list, &reply->services));
    reply->next = arena_text(call->arena, span_of_text(next));
    return reply->next == NULL ? STATUS_RESOURCE_EXHAUSTED : STATUS_OK;
}

static enum status describe_spec(struct deployd *deployd, struct rpc_call *call,
                                 uint64_t generation, struct span *spec)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct span stored;
    TRY(event_map_begin(&deployd->map, &txn));
    enum status status = event_log_spec(&txn, generation, &stored);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK; /* left out */
    TRY(status);
    uint8_t *copy = arena_alloc(call->arena, stored.size);
    if (copy == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    memcpy(copy, stored.data, stored.size);
    *spec = span_of(copy, stored.size);
    return STATUS_OK;
}

static enum status handle_service_describe(struct deployd *deployd, struct rpc_call *call,
                                           const struct service_describe_request *request,
                                           struct service_describe_reply *reply)
{
    AUTO(buffer_close) struct buffer row = { .limit = FRAME_BYTES_SMALL };
    char text[NEXT_STEP_BYTES];
    TRY(deployd_is_readable(deployd, &call->problem));
    const struct service *service =
        catalog_service(&deployd->catalog, request->tenant, request->name);
    if (!service_is_shown(service))
        return no_service(&call->problem, request->tenant, request->name);
    service_show(service, &row);
    TRY(arena_span(call, &row, &reply->service));
    uint64_t generation =
        service->wanted.generation != 0 ? service->wanted.generation : service->generation;
    TRY(describe_spec(deployd, call, generation, &reply->spec));
    reply->wanted_generation = service->wanted.generation;
    reply->next_step = arena_text(call->arena, span_of_text(next_step(service, text)));
    return reply->next_step == NULL ? STATUS_RESOURCE_EXHAUSTED : STATUS_OK;
}

static enum status handle_service_logs(struct deployd *deployd, struct rpc_call *call,
                                       const struct service_logs_request *request,
                                       struct service_logs_reply *reply)
{
    return log_stream_begin(deployd, call, request, reply);
}

static enum status handle_service_wait(struct deployd *deployd, struct rpc_call *call,
                                       const struct service_wait_request *request,
                                       struct service_wait_reply *reply)
{
    static const char *const conditions[] = { "running", "ready", "gone" };
    TRY(deployd_is_readable(deployd, &call->problem));
    struct service *service = catalog_service(&deployd->catalog, request->tenant, request->name);
    for (size_t i = 0; i < COUNT_OF(conditions); i++)
        if (strcmp(request->condition, conditions[i]) == 0)
            return wait_begin(deployd, call, service, (enum wait_condition)i, request->timeout_ms,
                              reply);
    return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "condition",
                       "must be running, ready or gone, is \"%s\"", request->condition);
}

static enum status handle_tenant_list(struct deployd *deployd, struct rpc_call *call,
                                      const struct tenant_list_request *request,
                                      struct tenant_list_reply *reply)
{
    AUTO(buffer_close) struct buffer list = { .limit = FRAME_BYTES_MAX };
    (void)request;
    TRY(deployd_is_readable(deployd, &call->problem));
    TRY(status_tenants(deployd, call->caller.kind == CALLER_TOKEN ? call->caller.tenant : NULL,
                       &list));
    return arena_span(call, &list, &reply->tenants);
}

/* ---- recovery ---- */

static enum status handle_recovery_begin(struct deployd *deployd, struct rpc_call *call,
                                         const struct recovery_begin_request *request,
                                         struct recovery_begin_reply *reply)
{
    (void)reply;
    return refused(recovery_begin(deployd, call, request), call, NULL, NULL);
}

static enum status handle_recovery_act(struct deployd *deployd, struct rpc_call *call,
                                       const struct recovery_act_request *request,
                                       struct recovery_act_reply *reply)
{
    (void)reply;
    return refused(recovery_act(deployd, call, request), call, request->tenant, request->name);
}

static enum status handle_recovery_progress(struct deployd *deployd, struct rpc_call *call,
                                            const struct recovery_progress_request *request,
                                            struct recovery_progress_reply *reply)
{
    (void)call, (void)reply;
    recovery_progress(deployd, call, request);
    return STATUS_OK;
}

static enum status handle_recovery_end(struct deployd *deployd, struct rpc_call *call,
                                       const struct recovery_end_request *request,
                                       struct recovery_end_reply *reply)
{
    (void)reply;
    return refused(recovery_end(deployd, call, request), call, NULL, NULL);
}

static enum status handle_verification_record(struct deployd *deployd, struct rpc_call *call,
                                              const struct verification_record_request *request,
                                              struct verification_record_reply *reply)
{
    (void)reply;
    return refused(verification_record(deployd, call, request), call, request->tenant,
                   request->name);
}

static enum status handle_verification_note(struct deployd *deployd, struct rpc_call *call,
                                            const struct verification_note_request *request,
                                            struct verification_note_reply *reply)
{
    (void)call, (void)reply;
    verification_note(deployd, request);
    return STATUS_OK;
}

static enum status handle_process_end(struct deployd *deployd, struct rpc_call *call,
                                      const struct process_end_request *request,
                                      struct process_end_reply *reply)
{
    (void)reply;
    return verification_end_process(deployd, request, &call->problem);
}

/* ---- system ---- */

static enum status handle_system_status(struct deployd *deployd, struct rpc_call *call,
                                        const struct system_status_request *request,
                                        struct system_status_reply *reply)
{
    AUTO(buffer_close) struct buffer map = { .limit = FRAME_BYTES_SMALL };
    (void)request;
    bool is_operator = call->caller.kind == CALLER_OPERATOR || call->caller.kind == CALLER_DAEMON;
    status_write(deployd, is_operator, &map);
    return arena_span(call, &map, &reply->status);
}

static enum status handle_system_drain(struct deployd *deployd, struct rpc_call *call,
                                       const struct system_drain_request *request,
                                       struct system_drain_reply *reply)
{
    (void)reply;
    return refused(drain_begin(deployd, call, request), call, NULL, NULL);
}

#define ROUTES_DEF     "common/api/deployd.def"
#define ROUTES_CONTEXT struct deployd
#include "common/api/routes.h"

void methods_setup(struct deployd *deployd)
{
    deployd->service = (struct rpc_service){
        .routes = routes,
        .context = deployd,
        .privileged = &deployd->access.privileged,
        .authorise = access_authorise,
        .narrow = access_narrow,
        .refused = access_refused,
        .access = &deployd->access,
    };
    daemon_methods_setup(&(struct daemon_self){ .name = "deployd",
                                                .access = &deployd->access,
                                                .write_counters = status_write_counters,
                                                .context = deployd,
                                                .shortage = deployd->resources.reason },
                         routes);
}

enum status methods_open(struct deployd *deployd)
{
    int listener = deployd->listener;
    deployd->listener = -1; /* the server's from now on */
    return rpc_server_open(&deployd->server, deployd->loop, &deployd->service, listener);
}
