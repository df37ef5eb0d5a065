/* What an operation calls of the rest of deployd: asked into the world, which the test answers. */
#include "tests/unit/deployd/operation_world.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/wire/fields.h"
#include "common/wire/reader.h"
#include "deployd/admission.h"
#include "deployd/appends.h"
#include "deployd/boot.h"
#include "deployd/deliveries.h"
#include "deployd/reconcile.h"
#include "deployd/supervisor_talk.h"
#include "deployd/supervisors.h"
#include "deployd/tenants.h"
#include "tests/support/criterion.h"

struct span world_spec(void)
{
    static const uint8_t empty[] = { 0x80 };
    static const uint8_t built[] = { 0x81, 0xa5, 'b', 'u', 'i', 'l', 'd', 0x91, 0xa2, 'c', 'c' };
    return world.has_build ? span_of(built, sizeof built) : span_of(empty, sizeof empty);
}

/* ---- the log ---- */

enum status append_send(struct deployd *deployd, const struct event_append_request *request,
                        const struct uuid *request_id, uint64_t timeout_ms, rpc_on_reply on_reply,
                        void *context)
{
    (void)deployd, (void)timeout_ms;
    cr_assert_lt(world.asked_count, ASKED_MAX);
    struct asked *asked = &world.asked[world.asked_count++];
    *asked = (struct asked){ .on_reply = on_reply, .context = context };
    snprintf(asked->what, sizeof asked->what, "%s", request->type);
    asked->generation = map_u64(request->payload, "generation", 0);
    asked->cause_id = request->causation_id;
    map_text(request->payload, "code", asked->code, sizeof asked->code);
    map_text(request->payload, "reason", asked->reason, sizeof asked->reason);
    if (request_id != NULL)
        asked->request_id = *request_id;
    return STATUS_OK;
}

/* A deploy behind the end of another one's trial. */
enum status append_send_batch(struct deployd *deployd, struct span events,
                              const struct uuid *request_id, uint64_t timeout_ms,
                              rpc_on_reply on_reply, void *context)
{
    AUTO(arena_close) struct arena arena = { .limit = FRAME_BYTES_MAX };
    struct event_append_request items[2];
    struct problem problem;
    struct reader reader = reader_of(events);
    uint32_t count;
    cr_assert_eq(reader_array(&reader, &count), STATUS_OK);
    cr_assert_eq(count, 2);
    for (size_t i = 0; i < 2; i++) {
        struct span map;
        cr_assert_eq(reader_any(&reader, &map), STATUS_OK);
        cr_assert_eq(fields_decode(method_event_append.request, map, &arena, &items[i], &problem),
                     STATUS_OK);
    }
    cr_assert_str_eq(items[0].type, "service_deployment_failed");
    cr_assert_str_eq(items[0].intent, "service.deploy");
    char code[40];
    cr_assert_str_eq(map_text(items[0].payload, "code", code, sizeof code), "replaced");
    cr_assert_eq(map_u64(items[0].payload, "previous", 99), world.live.previous);
    cr_assert_eq(map_u64(items[1].payload, "previous", 99), world.live.previous);
    enum status status = append_send(deployd, &items[1], request_id, timeout_ms, on_reply, context);
    world.asked[world.asked_count - 1].trial_ended = map_u64(items[0].payload, "generation", 0);
    return status;
}

enum status append_problem(enum status status, const struct problem *said, const char *what,
                           struct problem *problem)
{
    (void)said;
    return problem_set(problem, status, "", "%s", what);
}

enum status deployd_refresh(struct deployd *deployd, struct service *service)
{
    if (world.log_is_unreadable)
        return STATUS_UNAVAILABLE;
    catalog_want(&deployd->catalog, service, &world.live);
    return STATUS_OK;
}

void deployd_look_again(struct deployd *deployd)
{
    deployd->reconcile.is_wanted = true;
}

enum status deployd_is_open(const struct deployd *deployd, struct problem *problem)
{
    return deployd->drain.is_begun ? problem_set(problem, STATUS_UNAVAILABLE, "", "shutting down")
                                   : STATUS_OK;
}

enum status event_map_begin(struct event_map *map, struct db_txn *txn)
{
    (void)map, (void)txn;
    return STATUS_OK;
}

void db_end(struct db_txn *txn)
{
    (void)txn;
}

enum status event_log_spec(struct db_txn *txn, uint64_t generation, struct span *spec)
{
    (void)txn, (void)generation;
    *spec = world_spec();
    return STATUS_OK;
}

bool event_map_is_forked(struct event_map *map, struct log_branch *branch)
{
    (void)map;
    *branch = (struct log_branch){ 0 };
    return false;
}

enum status event_map_newest(struct event_map *map, const char *subject, uint64_t *id)
{
    (void)map;
    cr_assert_str_eq(subject, "service/acme/api");
    *id = world.last_event;
    return STATUS_OK;
}

enum status event_map_request(struct event_map *map, const char *tenant, const struct uuid *id,
                              const struct hash *body, struct request_record *record,
                              struct problem *problem)
{
    (void)map, (void)tenant, (void)id;
    if (!hash_is_zero(&world.repeat_body) && !hash_equal(&world.repeat_body, body))
        return problem_set(problem, STATUS_ABORTED, "request_id", "was used before");
    *record = world.repeat;
    return STATUS_OK;
}

enum status event_map_outcome(struct event_map *map, const char *subject, uint64_t generation,
                              struct generation_outcome *outcome)
{
    (void)map, (void)subject, (void)generation;
    *outcome = world.outcome;
    return STATUS_OK;
}

bool event_map_needs_review(struct event_map *map, const char *tenant, const char *name,
                            uint64_t since)
{
    (void)map, (void)tenant, (void)name, (void)since;
    return false; /* the log was never salvaged */
}

enum status event_map_has_run(struct event_map *map, const char *subject, uint64_t generation,
                              bool *has_run)
{
    (void)map, (void)subject, (void)generation;
    if (world.log_is_unreadable)
        return STATUS_UNAVAILABLE;
    *has_run = world.has_run;
    return STATUS_OK;
}

enum status event_map_was_started_for(struct event_map *map, const char *subject, uint64_t event_id,
                                      bool *was_started)
{
    (void)map, (void)subject;
    *was_started = world.started_for >= event_id;
    return STATUS_OK;
}

/* ---- the rest of deployd ---- */

enum status admission_program(struct deployd *deployd, struct span canonical,
                              struct problem *problem)
{
    (void)deployd, (void)canonical;
    return world.program_is_missing
               ? problem_set(problem, STATUS_FAILED_PRECONDITION, "argv[0]", "x not found")
               : STATUS_OK;
}

enum status admission_program_of(struct deployd *deployd, uint64_t generation,
                                 char code[ADMISSION_CODE_BYTES], struct problem *problem)
{
    (void)generation;
    snprintf(code, ADMISSION_CODE_BYTES, "%s", world.program_is_missing ? "program_missing" : "");
    return admission_program(deployd, (struct span){ 0 }, problem);
}

void tenant_create(struct deployd *deployd, struct tenant *tenant,
                   void (*on_done)(struct tenant *tenant, const struct problem *refusal))
{
    (void)deployd;
    tenant->on_created = on_done;
    world.tenants_asked++;
}

/* The only call that is made here: reconcile_soon asks eventd for a sign of life. */
enum status rpc_client_call(struct rpc_client *client, const struct method *method,
                            const void *request, const struct rpc_call_options *options,
                            uint64_t *handle)
{
    (void)client, (void)request, (void)options, (void)handle;
    cr_assert_eq(method, &method_daemon_health);
    world.reconciled++;
    return STATUS_OK;
}

enum status live_find(struct db_txn *txn, const char *tenant, const char *name,
                      struct live_row *row)
{
    (void)txn, (void)tenant, (void)name;
    *row = world.live;
    return row->generation == 0 ? STATUS_NOT_FOUND : STATUS_OK;
}

enum status live_each(struct db_txn *txn,
                      enum status (*visit)(void *context, const char *tenant, const char *name,
                                           const struct live_row *row),
                      void *context)
{
    (void)txn, (void)visit, (void)context;
    return STATUS_OK;
}

enum status tenants_load(struct deployd *deployd)
{
    (void)deployd;
    return STATUS_OK;
}

void supervisor_init(struct deployd *deployd, struct tenant *tenant)
{
    (void)deployd, (void)tenant;
}

void boot_reconciled(struct deployd *deployd)
{
    (void)deployd;
    world.boots++;
}

const char *supervisors_isolation(const struct deployd *deployd, const struct tenant *tenant)
{
    (void)deployd, (void)tenant;
    return "none (one uid)";
}

/* ---- the supervisor ---- */

void supervisor_need(struct supervisor *supervisor)
{
    (void)supervisor;
    world.supervisors_needed++;
}

enum status deliveries_ask(struct deployd *deployd, const struct service *service,
                           uint64_t generation, struct span spec, rpc_on_reply on_reply,
                           void *context)
{
    (void)deployd, (void)service, (void)spec;
    if (!world.has_secrets)
        return STATUS_NOT_FOUND;
    cr_assert_lt(world.asked_count, ASKED_MAX);
    struct asked *asked = &world.asked[world.asked_count++];
    *asked = (struct asked){ .generation = generation, .on_reply = on_reply, .context = context };
    snprintf(asked->what, sizeof asked->what, "secret.deliver");
    return STATUS_OK;
}

const char *supervisor_problem(const struct supervisor *supervisor)
{
    return supervisor->problem;
}

enum status supervisor_call(struct supervisor *supervisor, const struct method *method,
                            const void *request, uint64_t timeout_ms, rpc_on_reply on_reply,
                            void *context)
{
    (void)timeout_ms;
    cr_assert_eq(supervisor->state, SUPERVISOR_READY);
    if (method == &method_supervisor_prepare) {
        const struct supervisor_prepare_request *prepare = request;
        if (prepare->is_refused) /* nobody waits for either answer */
            world.taken_back++;
        else
            world.prepared++;
        return STATUS_OK;
    }
    cr_assert_lt(world.asked_count, ASKED_MAX);
    struct asked *asked = &world.asked[world.asked_count++];
    *asked = (struct asked){ .on_reply = on_reply, .context = context };
    snprintf(asked->what, sizeof asked->what, "%s", method->name);
    if (method == &method_supervisor_start) {
        const struct supervisor_start_request *start = request;
        asked->generation = start->generation;
        asked->since = start->since;
        asked->cause_id = start->cause_id;
        asked->is_parked = start->parked.size > 0;
        snprintf(asked->cause, sizeof asked->cause, "%s", start->cause);
    } else if (method == &method_supervisor_restart) {
        const struct supervisor_restart_request *restart = request;
        asked->generation = restart->generation;
        asked->since = restart->since;
        asked->cause_id = restart->cause_id;
    } else if (method == &method_supervisor_stop) {
        const struct supervisor_stop_request *stop = request;
        asked->generation = stop->generation;
        asked->since = stop->since;
        asked->has_grace = stop->has_grace;
        snprintf(asked->cause, sizeof asked->cause, "%s", stop->cause);
    }
    return STATUS_OK;
}

void supervisor_take_row(struct supervisor *supervisor, struct span row)
{
    (void)row;
    bool runs = strcmp(world.row_sent.state, "running") == 0;
    const struct service_row taken = {
        .tenant = supervisor->tenant->name,
        .name = "api",
        .state = world.row_sent.state,
        .reason = "told by its supervisor",
        .generation = world.row_sent.generation,
        .since = world.row_sent.since,
        .pid = runs || strcmp(world.row_sent.state, "starting") == 0 ? 4711 : 0,
        .started_ns = runs ? 1 : 0,
        .is_ready = runs,
        .instance = "",
        .boot_id = "boot",
    };
    cr_assert_eq(catalog_hold(&world.deployd.catalog, world.service, &taken), STATUS_OK);
}

/* ---- callers ---- */

void rpc_call_defer(struct rpc_call *call)
{
    (void)call;
}

static struct answer *answer_of(struct rpc_call *call)
{
    struct answer *answer = &world.answers[call - world.calls];
    cr_assert_not(answer->is_there, "a call is answered once");
    answer->is_there = true;
    return answer;
}

void rpc_call_reply(struct rpc_call *call, const void *reply)
{
    struct answer *answer = answer_of(call);
    answer->status = STATUS_OK;
    const char *first = "", *second = "";
    if (call->method == &method_service_deploy) {
        answer->reply.deploy = *(const struct service_deploy_reply *)reply;
        first = answer->reply.deploy.state;
    } else if (call->method == &method_service_kill) {
        answer->reply.kill = *(const struct service_kill_reply *)reply;
    } else if (call->method == &method_service_restart) {
        answer->reply.restart = *(const struct service_restart_reply *)reply;
        first = answer->reply.restart.state;
    } else {
        answer->reply.act = *(const struct recovery_act_reply *)reply;
        first = answer->reply.act.result;
        second = answer->reply.act.code;
    }
    snprintf(answer->texts[0], sizeof answer->texts[0], "%s", first);
    snprintf(answer->texts[1], sizeof answer->texts[1], "%s", second);
}

bool rpc_call_may_log(const struct rpc_call *call)
{
    (void)call;
    return true;
}

void rpc_call_fail(struct rpc_call *call, enum status status, const struct problem *problem)
{
    struct answer *answer = answer_of(call);
    answer->status = status;
    if (problem != NULL)
        answer->problem = *problem;
}
