#include "tests/unit/deployd/operation_world.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "deployd/operation_queue.h"
#include "deployd/supervisor_talk.h"
#include "deployd/turn.h"
#include "tests/support/criterion.h"

struct world world;

/* ---- what the tests do ---- */

void world_open(void)
{
    struct problem problem;
    log_setup("test", LOG_LEVEL_ERROR);
    world = (struct world){ .last_event = 10 };
    world.deployd.loop = ev_loop_new(EVFLAG_NOENV);
    struct catalog *catalog = &world.deployd.catalog;
    cr_assert_eq(catalog_tenant_make(catalog, "acme", &world.tenant, &problem), STATUS_OK);
    world.tenant->is_recorded = true;
    world.tenant->supervisor.state = SUPERVISOR_READY;
    world.tenant->supervisor.tenant = world.tenant;
    cr_assert_eq(catalog_service_make(catalog, world.tenant, "api", &world.service, &problem),
                 STATUS_OK);
}

void world_close(void)
{
    operations_close(&world.deployd);
    catalog_close(&world.deployd.catalog);
    ev_loop_destroy(world.deployd.loop);
}

static const struct method *method_of(enum operation_kind kind)
{
    switch (kind) {
    case OPERATION_DEPLOY:
        return &method_service_deploy;
    case OPERATION_KILL:
        return &method_service_kill;
    case OPERATION_RESTART:
        return &method_service_restart;
    default:
        return &method_recovery_act;
    }
}

static void on_end(const struct operation *operation, enum status status)
{
    world.recoveries_failed +=
        operation->is_recovery && (status != STATUS_OK || strcmp(operation->result, "failed") == 0);
}

size_t world_prepare(enum operation_kind kind, struct operation **operation)
{
    struct problem problem = { 0 };
    cr_assert_lt(world.call_count, CALLERS_MAX);
    size_t index = world.call_count++;
    struct rpc_call *call = &world.calls[index];
    call->method = method_of(kind);
    call->request_id = uuid_draw();
    call->has_request_id = true;
    call->body_hash = hash_of(span_of(&index, sizeof index));
    *operation = operation_new(&world.deployd, world.service, kind, &problem);
    cr_assert_not_null(*operation, "%s", problem.message);
    if (kind == OPERATION_DEPLOY) {
        struct span packed = world_spec();
        uint8_t *spec = malloc(packed.size);
        memcpy(spec, packed.data, packed.size);
        (*operation)->spec = span_of(spec, packed.size);
        (*operation)->spec_hash = hash_of((*operation)->spec);
    }
    (*operation)->on_end = on_end;
    operation_for_call(*operation, call);
    return index;
}

void world_turn(void)
{
    while (turn_step(&world.deployd))
        world.long_turns++;
}

void world_begin(struct operation *operation)
{
    operation_begin(operation);
    world_turn();
}

size_t world_ask(enum operation_kind kind)
{
    struct operation *operation;
    size_t index = world_prepare(kind, &operation);
    world_begin(operation);
    return index;
}

struct asked world_take(const char *what)
{
    world_turn();
    cr_assert_gt(world.asked_count, 0, "nothing was asked for, expected %s", what);
    struct asked asked = world.asked[0];
    cr_assert_str_eq(asked.what, what);
    world.asked_count--;
    memmove(world.asked, world.asked + 1, world.asked_count * sizeof asked);
    return asked;
}

void world_nothing_asked(void)
{
    world_turn();
    cr_assert_eq(world.asked_count, 0, "%s was asked for", world.asked[0].what);
}

static void fold_failure(uint64_t generation, uint64_t id)
{
    struct live_row *live = &world.live;
    if (live->generation == generation)
        *live = live->previous == 0
                    ? (struct live_row){ 0 }
                    : (struct live_row){ .generation = live->previous, .since = id };
}

uint64_t world_append(const char *type)
{
    struct asked asked = world_take(type);
    struct live_row *live = &world.live;
    if (asked.trial_ended != 0)
        fold_failure(asked.trial_ended, ++world.last_event);
    uint64_t id = ++world.last_event;
    if (strcmp(type, "service_deployed") == 0)
        *live = (struct live_row){ .generation = id, .since = id, .previous = live->generation };
    else if (strcmp(type, "service_killed") == 0)
        *live = (struct live_row){ 0 };
    else if (strcmp(type, "service_deployment_failed") == 0)
        fold_failure(asked.generation, id);
    const struct event_append_reply reply = { .event_id = id };
    const struct event_append_batch_reply batch = { .first_id = id - 1, .last_id = id, .count = 2 };
    asked.on_reply(asked.context, STATUS_OK, NULL,
                   asked.trial_ended != 0 ? (const void *)&batch : &reply);
    world_turn();
    return id;
}

void world_append_fails(const char *type, enum status status)
{
    struct asked asked = world_take(type);
    asked.on_reply(asked.context, status, NULL, NULL);
    world_turn();
}

void world_starts(const char *state)
{
    struct asked asked = world_take("supervisor.start");
    const struct supervisor_start_reply reply = { .report = world.report };
    world.row_sent.state = state;
    world.row_sent.generation = asked.generation;
    world.row_sent.since = asked.since;
    asked.on_reply(asked.context, STATUS_OK, NULL, &reply);
    world_turn();
}

void world_start_fails(enum status status, const char *message)
{
    struct asked asked = world_take("supervisor.start");
    struct problem problem;
    problem_set(&problem, status, "argv[0]", "%s", message);
    asked.on_reply(asked.context, status, &problem, NULL);
    world_turn();
}

void world_stops(enum status status)
{
    struct asked asked = world_take("supervisor.stop");
    const struct supervisor_stop_reply reply = { 0 };
    asked.on_reply(asked.context, status, NULL, status == STATUS_OK ? &reply : NULL);
    world_turn();
}

void world_restarts(enum status status)
{
    struct asked asked = world_take("supervisor.restart");
    const struct supervisor_restart_reply reply = { .report = world.report };
    world.row_sent.state = "running";
    world.row_sent.generation = asked.generation;
    world.row_sent.since = asked.since;
    asked.on_reply(asked.context, status, NULL, status == STATUS_OK ? &reply : NULL);
    world_turn();
}

void world_supervisor_ready(void)
{
    world.tenant->supervisor.state = SUPERVISOR_READY;
    catalog_mark_queues(&world.deployd.catalog, world.tenant);
    world_turn();
}

void world_supervisor_lost(void)
{
    world.tenant->supervisor.state = SUPERVISOR_DELAYED;
    world.asked_count = 0; /* its answers will never come */
    operations_supervisor_lost(world.tenant);
    world_turn();
}

void world_runs(uint64_t generation, const char *spec)
{
    world.live = (struct live_row){ .generation = generation,
                                    .since = generation,
                                    .spec_hash = hash_of(span_of_text(spec)) };
    catalog_want(&world.deployd.catalog, world.service, &world.live);
    world_tells("running", generation);
}

void world_tells(const char *state, uint64_t generation)
{
    world.row_sent.state = state;
    world.row_sent.generation = world.row_sent.since = generation;
    supervisor_take_row(&world.tenant->supervisor, (struct span){ 0 });
    world_turn();
}

void world_builds(enum status status, const char *message)
{
    struct asked asked = world_take("supervisor.build");
    static const struct supervisor_build_reply reply = { .was_built = true };
    struct problem problem = { .code = status };
    problem_set(&problem, status, "build", "%s", message);
    asked.on_reply(asked.context, status, status == STATUS_OK ? NULL : &problem,
                   status == STATUS_OK ? &reply : NULL);
    world_turn();
}
