/* One function per method. Each checks everything first; what follows is service.c's affair. */
#include "tenantd/methods.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/access/daemon_methods.h"
#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/wire/writer.h"
#include "tenantd/service_row.h"
#include "tenantd/service_secrets.h"
#include "tenantd/start_answer.h"
#include "tenantd/start_order.h"

enum {
    LIST_BYTES_MAX = FRAME_BYTES_MAX / 2,
    SPEC_ARENA_BYTES = 4 * 1024 * 1024,
    SHUTDOWN_TIMEOUT_MS = 5000, /* when none is given */
};

static enum status not_held(struct rpc_call *call, const char *name)
{
    return problem_set(&call->problem, STATUS_NOT_FOUND, "name", "no service %s is held here",
                       name);
}

static enum status handle_supervisor_hello(struct supervisor *supervisor, struct rpc_call *call,
                                           const struct supervisor_hello_request *request,
                                           struct supervisor_hello_reply *reply)
{
    (void)call, (void)request;
    const struct site *site = supervisor->site;
    reply->tenant = site->tenant;
    reply->protocol = SUPERVISOR_PROTOCOL;
    reply->pid = site->own_host_pid;
    reply->incarnation = span_of(supervisor->incarnation, sizeof supervisor->incarnation);
    reply->isolation = isolation_text(site->isolation);
    reply->stop_method = site->cgroup.fd >= 0 ? "cgroup" : "mark";
    reply->services = supervisor_count(supervisor);
    if (site->has_store_incarnation)
        reply->store_incarnation = span_of(site->store_incarnation, sizeof site->store_incarnation);
    return STATUS_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct service *const *)a)->name, (*(struct service *const *)b)->name);
}

static void list_free(struct service ***list)
{
    free(*list);
}

static enum status handle_supervisor_list(struct supervisor *supervisor, struct rpc_call *call,
                                          const struct supervisor_list_request *request,
                                          struct supervisor_list_reply *reply)
{
    AUTO(buffer_close) struct buffer rows = { .limit = LIST_BYTES_MAX + SERVICE_ROW_BYTES_MAX };
    AUTO(buffer_close) struct buffer list = { .limit = LIST_BYTES_MAX + SERVICE_ROW_BYTES_MAX + 8 };
    AUTO(list_free)
    struct service **services = malloc((supervisor_count(supervisor) + 1) * sizeof *services);
    if (services == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    size_t count = 0, packed = 0;
    for (struct service *service = supervisor->by_name; service != NULL;
         service = service->by_name.next)
        if (strcmp(service->name, request->after) > 0)
            services[count++] = service;
    if (count > 1)
        qsort(services, count, sizeof *services, by_name);
    while (packed < count && rows.size < LIST_BYTES_MAX && packed < LIST_COUNT_MAX)
        service_row_write(services[packed++], &rows);
    write_array(&list, packed);
    buffer_append(&list, rows.data, rows.size);
    uint8_t *copy = list.is_exhausted ? NULL : arena_alloc(call->arena, list.size);
    if (copy == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    memcpy(copy, list.data, list.size);
    reply->services = span_of(copy, list.size);
    reply->next = packed < count ? services[packed - 1]->name : "";
    return STATUS_OK;
}

/* ---- start ---- */

static enum status parse_start_cause(const char *text, enum start_cause *cause)
{
    static const struct {
        const char *name;
        enum start_cause cause;
    } causes[] = { { "", START_DEPLOY },           { "deploy", START_DEPLOY },
                   { "fallback", START_FALLBACK }, { "recover", START_RECOVER },
                   { "restart", START_RESTART },   { "reconcile", START_RECONCILE } };
    for (size_t i = 0; i < COUNT_OF(causes); i++)
        if (strcmp(text, causes[i].name) == 0) {
            *cause = causes[i].cause;
            return STATUS_OK;
        }
    return STATUS_INVALID_ARGUMENT;
}

static enum status refuse_old(struct rpc_call *call, const char *name, uint64_t held,
                              uint64_t asked)
{
    return problem_set(&call->problem, STATUS_ABORTED, "since",
                       "%s is held since event %" PRIu64 ", which is not before %" PRIu64, name,
                       held, asked);
}

static enum status answer_row(struct service *service, struct rpc_call *call, struct span *row)
{
    AUTO(buffer_close) struct buffer buffer = { .limit = SERVICE_ROW_BYTES_MAX };
    service_row_write(service, &buffer);
    uint8_t *copy = buffer.is_exhausted ? NULL : arena_alloc(call->arena, buffer.size);
    if (copy == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    memcpy(copy, buffer.data, buffer.size);
    *row = span_of(copy, buffer.size);
    return STATUS_OK;
}

static enum status check_spec(const struct supervisor *supervisor, const char *name,
                              const struct spec *spec, struct problem *problem)
{
    if (strcmp(spec->tenant, supervisor->site->tenant) != 0)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "spec.tenant",
                           "must be %s, whose supervisor this is", supervisor->site->tenant);
    if (strcmp(spec->name, name) != 0)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "spec.name", "must be %s", name);
    return STATUS_OK;
}

/* The hash is of the canonical form, whatever form was sent. */
static enum status hash_spec(const struct spec *spec, struct hash *hash)
{
    AUTO(buffer_close) struct buffer canonical = { .limit = SPEC_BYTES_MAX };
    TRY(spec_encode(spec, &canonical));
    *hash = spec_hash(buffer_span(&canonical));
    return STATUS_OK;
}

static enum status decode_spec(const struct supervisor *supervisor, const char *name,
                               struct span packed, struct arena *arena, struct spec *spec,
                               struct problem *problem)
{
    enum status status = spec_decode(packed, arena, spec, problem);
    if (status == STATUS_OK)
        return check_spec(supervisor, name, spec, problem);
    problem_prefix(problem, "spec");
    return status;
}

static enum status handle_supervisor_build(struct supervisor *supervisor, struct rpc_call *call,
                                           const struct supervisor_build_request *request,
                                           struct supervisor_build_reply *reply)
{
    AUTO(arena_close) struct arena arena = { .limit = SPEC_ARENA_BYTES };
    struct spec spec;
    bool is_cached = false;
    TRY(decode_spec(supervisor, request->name, request->spec, &arena, &spec, &call->problem));
    if (!spec_is_built(&spec))
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "spec.build", "is required");
    if (supervisor->is_shutting_down)
        return problem_set(&call->problem, STATUS_UNAVAILABLE, "",
                           "the supervisor of %s is shutting down", supervisor->site->tenant);
    (void)reply; /* zeroed */
    return builds_order(&supervisor->builds, call, request->name, request->spec, &spec, &is_cached);
}

/* What the order's process is made of, into RUN. */
static enum status put_files(struct supervisor *supervisor, const struct spec *spec,
                             const struct start_order *order, struct problem *problem)
{
    if (spec->code.size > 0)
        TRY(site_code_write(supervisor->site, spec->name, order->generation, spec->code));
    if (spec_is_built(spec))
        TRY(builds_take(&supervisor->builds, spec, spec->name, order->generation,
                        &order->launch->artefact_fd, problem));
    return STATUS_OK;
}

static enum status make_order(struct supervisor *supervisor, struct rpc_call *call,
                              const struct supervisor_start_request *request,
                              enum start_cause cause, struct start_order **made)
{
    AUTO(arena_close) struct arena arena = { .limit = SPEC_ARENA_BYTES };
    struct spec spec = { 0 };
    char code[PATH_MAX], out[PATH_MAX];
    TRY(decode_spec(supervisor, request->name, request->spec, &arena, &spec, &call->problem));
    const struct spec_files files = { code, spec_is_built(&spec) ? out : NULL };
    TRY(launch_file_path(supervisor->site, request->name, request->generation, SITE_CODE, code));
    TRY(launch_file_path(supervisor->site, request->name, request->generation, SITE_OUT, out));
    struct start_order *order = calloc(1, sizeof *order);
    if (order == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    order->generation = request->generation;
    order->since = request->since;
    order->cause = cause;
    order->cause_id = request->cause_id;
    order->is_on_trial = request->is_on_trial;
    enum status status = hash_spec(&spec, &order->spec_hash);
    if (status == STATUS_OK)
        status = launch_make(&spec, &files, &arena, &order->launch);
    if (status == STATUS_OK)
        status = start_order_park(order, request->parked);
    if (status == STATUS_OK)
        status = put_files(supervisor, &spec, order, &call->problem);
    if (status != STATUS_OK) {
        start_order_free(order);
        return status;
    }
    *made = order;
    return STATUS_OK;
}

static enum status check_room(struct supervisor *supervisor, bool is_new, struct rpc_call *call)
{
    if (supervisor->is_shutting_down)
        return problem_set(&call->problem, STATUS_UNAVAILABLE, "",
                           "the supervisor of %s is shutting down", supervisor->site->tenant);
    if (is_new && supervisor_count(supervisor) >= SERVICES_PER_TENANT_MAX)
        return problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "",
                           "%s has %d services already", supervisor->site->tenant,
                           SERVICES_PER_TENANT_MAX);
    if (!reports_have_room(&supervisor->reports))
        return problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "",
                           "too many reports are not acknowledged");
    return STATUS_OK;
}

/* A log that went back gives its numbers again. What it says under a number counts: the program
 * that is held under it is another one, and is replaced. */
static enum status is_another_program(struct supervisor *supervisor, struct rpc_call *call,
                                      const struct supervisor_start_request *request,
                                      const struct service *service, bool *is_another)
{
    AUTO(arena_close) struct arena arena = { .limit = SPEC_ARENA_BYTES };
    struct spec spec = { 0 };
    struct hash hash;
    TRY(decode_spec(supervisor, request->name, request->spec, &arena, &spec, &call->problem));
    TRY(hash_spec(&spec, &hash));
    *is_another = request->generation == service_newest_generation(service) &&
                  !hash_equal(&hash, service_newest_spec_hash(service));
    return STATUS_OK;
}

static enum status handle_supervisor_start(struct supervisor *supervisor, struct rpc_call *call,
                                           const struct supervisor_start_request *request,
                                           struct supervisor_start_reply *reply)
{
    enum start_cause cause;
    struct service *service = supervisor_find(supervisor, request->name);
    TRY(check_room(supervisor, service == NULL, call));
    if (parse_start_cause(request->cause, &cause) != STATUS_OK)
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "cause",
                           "must be deploy, fallback, recover or restart");
    if (request->generation == 0 || request->since < request->generation)
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "since",
                           "must be the generation or a later event, from 1");
    if (kills_forbid(&supervisor->kills, request->name, request->since))
        return problem_set(&call->problem, STATUS_ABORTED, "since",
                           "%s was killed after event %" PRIu64, request->name, request->since);
    enum answer answer = service == NULL ? ANSWER_ORDER
                                         : answer_to_start(service, request->generation,
                                                           request->since, cause, request->wait);
    if (answer == ANSWER_ROW || answer == ANSWER_JOIN) {
        bool is_another;
        TRY(is_another_program(supervisor, call, request, service, &is_another));
        answer = is_another ? ANSWER_ORDER : answer;
    }
    struct start_order *order = NULL;
    switch (answer) {
    case ANSWER_REFUSED:
        return refuse_old(call, request->name, service_newest_since(service), request->since);
    case ANSWER_ROW:
        service->since = request->since;
        service_touch(service);
        reply->report = service_start_report(service);
        return answer_row(service, call, &reply->service);
    case ANSWER_JOIN:
        rpc_call_defer(call);
        service_join(service, call, request->wait);
        return STATUS_OK;
    case ANSWER_ORDER:
        break;
    }
    TRY(make_order(supervisor, call, request, cause, &order));
    rpc_call_defer(call);
    call->user = NULL;
    *(request->wait ? &order->ready_calls : &order->calls) = call;
    if (service != NULL)
        service_order(service, order);
    else if (service_new(supervisor, request->name, order) == NULL) {
        rpc_call_fail(call, STATUS_RESOURCE_EXHAUSTED, NULL);
        start_order_free(order);
    }
    return STATUS_OK;
}

/* ---- stop and restart ---- */

static enum status parse_stop_cause(const char *text, enum stop_cause *cause)
{
    static const struct {
        const char *name;
        enum stop_cause cause;
    } causes[] = { { "kill", STOP_KILL },
                   { "replace", STOP_REPLACE },
                   { "shutdown", STOP_SHUTDOWN },
                   { "recover", STOP_RECOVER } };
    for (size_t i = 0; i < COUNT_OF(causes); i++)
        if (strcmp(text, causes[i].name) == 0) {
            *cause = causes[i].cause;
            return STATUS_OK;
        }
    return STATUS_INVALID_ARGUMENT;
}

/* A stop that was decided before something newer was handed to us must not end that. */
static enum status refuse_newer(struct rpc_call *call, const struct service *service,
                                const struct supervisor_stop_request *request)
{
    return problem_set(&call->problem, STATUS_ABORTED, "generation",
                       "generation %" PRIu64 " of %s is held since event %" PRIu64
                       ", newer than %" PRIu64 " since %" PRIu64,
                       service_newest_generation(service), service->name,
                       service_newest_since(service), request->generation, request->since);
}

static enum status handle_supervisor_stop(struct supervisor *supervisor, struct rpc_call *call,
                                          const struct supervisor_stop_request *request,
                                          struct supervisor_stop_reply *reply)
{
    (void)reply;
    struct stop_request stop = {
        .cause_id = request->cause_id,
        .has_grace = request->has_grace,
        .grace_ms = request->grace_ms,
    };
    struct service *service = supervisor_find(supervisor, request->name);
    if (parse_stop_cause(request->cause, &stop.cause) != STATUS_OK)
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "cause",
                           "must be kill, replace, shutdown or recover");
    if (stop.cause == STOP_KILL)
        builds_cancel(&supervisor->builds, request->name, STATUS_ABORTED,
                      "the service was killed while it was being built");
    if (service == NULL) {
        if (stop.cause == STOP_KILL)
            kills_note(&supervisor->kills, request->name, request->since);
        return not_held(call, request->name);
    }
    if (request->generation < service_newest_generation(service) ||
        request->since < service_newest_since(service))
        return refuse_newer(call, service, request);
    if (stop.cause == STOP_KILL)
        kills_note(&supervisor->kills, request->name, request->since);
    rpc_call_defer(call);
    service_stop(service, &stop, call);
    return STATUS_OK;
}

static enum status handle_supervisor_prepare(struct supervisor *supervisor, struct rpc_call *call,
                                             const struct supervisor_prepare_request *request,
                                             struct supervisor_prepare_reply *reply)
{
    (void)call, (void)reply;
    if (!request->is_refused)
        return site_prepare(supervisor->site, request->name);
    if (supervisor_find(supervisor, request->name) == NULL)
        site_take_back(supervisor->site, request->name);
    return STATUS_OK;
}

static enum status handle_supervisor_restart(struct supervisor *supervisor, struct rpc_call *call,
                                             const struct supervisor_restart_request *request,
                                             struct supervisor_restart_reply *reply)
{
    struct service *service = supervisor_find(supervisor, request->name);
    TRY(check_room(supervisor, false, call));
    if (service == NULL)
        return not_held(call, request->name);
    if (request->since < service_newest_since(service))
        return refuse_old(call, request->name, service_newest_since(service), request->since);
    if (request->generation != service_newest_generation(service))
        return problem_set(&call->problem, STATUS_ABORTED, "generation",
                           "%s is held in generation %" PRIu64 ", not %" PRIu64, request->name,
                           service_newest_generation(service), request->generation);
    /* What waits to be started, or is just being started, is fresh enough. */
    if (service->order != NULL || (service->state == SERVICE_starting && service->pid == 0) ||
        (service->state == SERVICE_waiting_for_secret && !service->is_withheld)) {
        rpc_call_defer(call);
        service_join(service, call, false);
        service_lead(service, request->cause_id);
        return STATUS_OK;
    }
    if (request->cause_id != 0 && request->cause_id <= service->cause_id) {
        reply->report = service_start_report(service);
        return answer_row(service, call, &reply->service);
    }
    if (service->state == SERVICE_stopping)
        return problem_set(&call->problem, STATUS_ABORTED, "name", "%s is being stopped",
                           request->name);
    struct start_order *order = calloc(1, sizeof *order);
    if (order == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    order->generation = service->generation;
    order->since = request->since;
    order->cause = START_RESTART;
    order->cause_id = request->cause_id;
    rpc_call_defer(call);
    call->user = NULL;
    order->calls = call;
    service_order(service, order);
    return STATUS_OK;
}

/* ---- reports and shutdown ---- */

static enum status handle_supervisor_watch(struct supervisor *supervisor, struct rpc_call *call,
                                           const struct supervisor_watch_request *request,
                                           struct supervisor_watch_reply *reply)
{
    (void)request, (void)reply;
    rpc_call_defer(call);
    watch_begin(supervisor, call);
    return STATUS_OK;
}

static enum status handle_supervisor_ack(struct supervisor *supervisor, struct rpc_call *call,
                                         const struct supervisor_ack_request *request,
                                         struct supervisor_ack_reply *reply)
{
    (void)reply;
    if (reports_acknowledge(&supervisor->reports, request->number) != STATUS_OK)
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "number",
                           "no report %" PRIu64 " was ever sent", request->number);
    return STATUS_OK;
}

static enum status handle_supervisor_shutdown(struct supervisor *supervisor, struct rpc_call *call,
                                              const struct supervisor_shutdown_request *request,
                                              struct supervisor_shutdown_reply *reply)
{
    (void)reply;
    rpc_call_defer(call);
    supervisor_shutdown(supervisor,
                        request->timeout_ms != 0 ? request->timeout_ms : SHUTDOWN_TIMEOUT_MS, call);
    return STATUS_OK;
}

#define ROUTES_DEF     "common/api/tenantd.def"
#define ROUTES_CONTEXT struct supervisor
#include "common/api/routes.h"

static void write_counters(void *context, struct buffer *buffer)
{
    const struct supervisor *supervisor = context;
    const struct counter counters[] = {
        { "services", supervisor_count(supervisor) },
        { "starts", supervisor->counters.starts },
        { "exits", supervisor->counters.exits },
        { "builds", supervisor->builds.built },
        { "builds_cached", supervisor->builds.cached },
        { "builds_failed", supervisor->builds.failed },
        { "process_rounds", supervisor->endings.rounds },
        { "reports_unacknowledged", supervisor->reports.count },
        { "reports_missed", supervisor->reports.missed },
    };
    counters_write(buffer, counters, COUNT_OF(counters));
}

void methods_setup(struct rpc_service *service, struct supervisor *supervisor,
                   struct access *access)
{
    daemon_methods_setup(&(struct daemon_self){ .name = "tenantd",
                                                .access = access,
                                                .write_counters = write_counters,
                                                .context = supervisor },
                         routes);
    daemon_health_set("ready", "%s", "");
    *service = (struct rpc_service){
        .routes = routes,
        .takes_files = true,
        .context = supervisor,
        .authorise = access_authorise,
        .access = access,
    };
}
