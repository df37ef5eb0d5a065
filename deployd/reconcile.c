/* Each pass notes the services that something is due for; the turn begins operations until the
 * bound, and more as they end. An operation reads the log once more before it acts, and a stop
 * names the generation that the plan found running: a note that has been overtaken does nothing.
 *
 * Two facts about a service are kept for this, because the log does not tell them:
 *
 *   was_held    set by catalog_hold, never cleared. Its supervisor held it in the life of this
 *               deployd: so it is ours to start again, in a new run, too.
 *   was_killed  set when a kill was committed, or may have been; cleared when its supervisor holds
 *               it no longer. So it is ours to stop, in a new run, too. */
#include "deployd/reconcile.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/plan/plan.h"
#include "deployd/operation_queue.h"
#include "deployd/retry.h"
#include "deployd/supervisors.h"
#include "deployd/tenants.h"

enum { SOON_MS = 200 };

/* What it has left undone is ours. */
static bool recovery_is_over(const struct deployd *deployd)
{
    const struct recovery *recovery = &deployd->recovery;
    return recovery->phase == RECOVERY_DONE ||
           (recovery->phase == RECOVERY_CUT && recovery->is_abandoned);
}

bool reconcile_may_start(const struct deployd *deployd, const struct service *service)
{
    bool is_of_this_run = service->wanted.since > deployd->run.started;
    if (service->was_held || is_of_this_run)
        return true;
    if (!deployd->settings.recovery_enabled)
        return deployd->recovery.phase != RECOVERY_NONE; /* an operator had it recovered */
    return !deployd->run.is_new || recovery_is_over(deployd);
}

static bool may_stop(const struct deployd *deployd, const struct service *service)
{
    return !deployd->run.is_new || service->was_killed || recovery_is_over(deployd);
}

/* What the log never heard of is left alone: only a person may have it stopped. */
static bool has_record(struct deployd *deployd, uint64_t generation)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct span spec;
    return event_map_begin(&deployd->map, &txn) == STATUS_OK &&
           event_log_spec(&txn, generation, &spec) == STATUS_OK;
}

/* Whether what is due of it is ours to do: a stop is that of `generation`. */
static bool may_begin(struct deployd *deployd, const struct service *service, enum due due,
                      uint64_t generation)
{
    struct log_branch branch;
    if (due != DUE_NOTHING && !service->was_killed && event_map_is_forked(&deployd->map, &branch))
        return false;
    switch (due) {
    case DUE_NOTHING:
        return false;
    case DUE_START:
        return reconcile_may_start(deployd, service);
    case DUE_STOP:
        return may_stop(deployd, service) && !service->tenant->supervisor.is_silent &&
               has_record(deployd, generation);
    }
    return false;
}

static enum status wanted_take(void *context, const char *tenant_name, const char *name,
                               const struct live_row *row)
{
    struct deployd *deployd = context;
    struct tenant *tenant;
    struct service *service;
    struct problem problem;
    enum status status = catalog_tenant_make(&deployd->catalog, tenant_name, &tenant, &problem);
    if (status == STATUS_OK) {
        supervisor_init(deployd, tenant);
        status = catalog_service_make(&deployd->catalog, tenant, name, &service, &problem);
    }
    if (status != STATUS_OK)
        return log_failure(status, "read a wanted service", "tenant", tenant_name, "name", name,
                           "reason", problem.message);
    if (memcmp(&service->wanted, row, sizeof *row) != 0)
        catalog_want(&deployd->catalog, service, row);
    return STATUS_OK;
}

enum status reconcile_load_wanted(struct deployd *deployd)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(event_map_begin(&deployd->map, &txn));
    for (struct service *service = deployd->catalog.services; service != NULL;
         service = service->hh.next) {
        struct live_row row = { 0 };
        enum status status = live_find(&txn, service->tenant->name, service_name(service), &row);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND)
            return status;
        if (status == STATUS_NOT_FOUND && service->wanted.generation != 0)
            catalog_want(&deployd->catalog, service, &(struct live_row){ 0 });
    }
    return live_each(&txn, wanted_take, deployd);
}

static void on_operation_ended(const struct operation *operation, enum status status)
{
    (void)status;
    ensure(operation->owner->reconcile.running > 0);
    operation->owner->reconcile.running--;
}

static void begin(struct deployd *deployd, struct service *service, enum operation_kind kind,
                  uint64_t generation)
{
    struct problem problem = { 0 };
    struct operation *operation = operation_new(deployd, service, kind, &problem);
    if (operation == NULL) {
        log_warning("reconciling left a service alone", "service", service->key, "reason",
                    problem.message);
        return;
    }
    operation->on_end = on_operation_ended;
    operation->is_retry = kind == OPERATION_START && retry_is_due(service, clock_boottime_ns());
    if (kind == OPERATION_STOP)
        operation->generation = generation;
    deployd->reconcile.running++;
    operation_begin(operation);
}

void reconcile_pump(struct deployd *deployd)
{
    struct catalog *catalog = &deployd->catalog;
    if (deployd->reconcile.is_wanted)
        reconcile_soon(deployd);
    if (deployd->drain.is_begun || deployd->is_stopping || deployd->boot.state < BOOT_RECONCILING)
        return;
    for (struct service *service;
         (service = catalog->due) != NULL && deployd->reconcile.running < RECONCILE_PARALLEL;) {
        enum due due = service->due;
        uint64_t generation = service->due_generation;
        catalog_due(catalog, service, DUE_NOTHING, 0);
        /* What was noted outside of a pass is not always ours to do; and whoever is at it leaves it
         * as the log wants it. */
        if (service->queue == NULL && may_begin(deployd, service, due, generation))
            begin(deployd, service, due == DUE_START ? OPERATION_START : OPERATION_STOP,
                  generation);
    }
}

bool reconcile_is_done(const struct deployd *deployd)
{
    return deployd->catalog.due == NULL && deployd->reconcile.running == 0;
}

static enum due due_of(struct deployd *deployd, const struct service *service,
                       const struct plan_entry *entry)
{
    if (service->queue != NULL)
        return DUE_NOTHING; /* whoever is at it leaves it as the log wants it */
    if (service->tenant->supervisor.is_silent)
        return DUE_NOTHING; /* compared when its supervisor answers */
    switch (entry->action) {
    case PLAN_START:
    case PLAN_REPLACE:
        return may_begin(deployd, service, DUE_START, 0) ? DUE_START : DUE_NOTHING;
    case PLAN_KEEP: {
        /* A deploy that nobody finished: it falls back. */
        bool is_unfinished = service->state == SERVICE_failed &&
                             (service->is_trial_over || !service->has_started) &&
                             service->since == service->generation;
        return is_unfinished ? DUE_START : DUE_NOTHING;
    }
    case PLAN_STOP:
        return may_begin(deployd, service, DUE_STOP, entry->generation) ? DUE_STOP : DUE_NOTHING;
    default:
        return DUE_NOTHING;
    }
}

static void mark(struct deployd *deployd, const struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_entry *entry = &plan->entries[i];
        struct service *service = catalog_service(&deployd->catalog, entry->tenant, entry->name);
        ensure(service != NULL);
        enum due due = due_of(deployd, service, entry);
        catalog_due(&deployd->catalog, service, due, entry->generation);
        if (due != DUE_NOTHING)
            log_info("due", "action", plan_action_name(entry->action), "service", service->key,
                     "reason", entry->reason);
    }
}

static void pass(struct deployd *deployd, const struct tenant *tenant)
{
    if (deployd->drain.is_begun || deployd->is_stopping || deployd->boot.state < BOOT_RECONCILING ||
        deployd->boot.state == BOOT_DAMAGED)
        return;
    size_t count, wanted_count = 0, actual_count = 0;
    struct plan plan = { 0 };
    struct service **services = catalog_sorted(&deployd->catalog, tenant, &count);
    struct plan_wanted *wanted = calloc(count + 1, sizeof *wanted);
    struct plan_actual *actual = calloc(count + 1, sizeof *actual);
    bool has_memory = services != NULL && wanted != NULL && actual != NULL;
    for (size_t i = 0; has_memory && i < count; i++) {
        struct service *service = services[i];
        if (service->wanted.generation != 0)
            wanted[wanted_count++] = (struct plan_wanted){
                .tenant = service->tenant->name,
                .name = service_name(service),
                .row = service->wanted,
                .obstacle = PLAN_CODE_none, /* the operation looks, and says it in the row */
            };
        if (service->is_held)
            actual[actual_count++] = (struct plan_actual){
                .tenant = service->tenant->name,
                .name = service_name(service),
                .state = service->state,
                .generation = service->generation,
                .since = service->since,
                .pid = service->pid,
                .is_held = true,
                .has_record = true, /* looked up for what would be stopped only */
            };
    }
    if (has_memory &&
        plan_make(wanted, wanted_count, actual, actual_count, false, &plan) == STATUS_OK)
        mark(deployd, &plan);
    else
        log_warning("no memory to make a plan");
    plan_close(&plan);
    free(services);
    free(wanted);
    free(actual);
}

void reconcile_all(struct deployd *deployd)
{
    pass(deployd, NULL);
}

void reconcile_tenant(struct deployd *deployd, struct tenant *tenant)
{
    pass(deployd, tenant);
}

static void timer_start(struct deployd *deployd)
{
    if (deployd->is_stopping || ev_is_active(&deployd->reconcile.timer))
        return;
    ev_timer_set(&deployd->reconcile.timer, SOON_MS / 1e3, 0);
    ev_timer_start(deployd->loop, &deployd->reconcile.timer);
}

static void on_soon(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct deployd *deployd = timer->data;
    if (tenants_load(deployd) == STATUS_OK && reconcile_load_wanted(deployd) == STATUS_OK)
        reconcile_all(deployd);
    else
        timer_start(deployd);
}

void reconcile_look(struct deployd *deployd)
{
    if (deployd->drain.is_begun || deployd->is_stopping || deployd->boot.state != BOOT_READY)
        return;
    for (struct service *service = deployd->catalog.services; service != NULL;
         service = service->hh.next) {
        enum due due = service_overlooked(service);
        if (due == DUE_NOTHING && retry_is_due(service, clock_boottime_ns()) &&
            reconcile_may_start(deployd, service)) {
            log_info("due", "action", "start", "service", service->key, "reason",
                     "its start failed for a cause that may have passed", "attempts",
                     NUMBER(service->retries));
            catalog_due(&deployd->catalog, service, DUE_START, 0);
            continue;
        }
        if (!may_begin(deployd, service, due, service->generation))
            continue;
        log_info("due", "action", due == DUE_START ? "start" : "stop", "service", service->key,
                 "reason",
                 due == DUE_START ? "it is wanted and nobody is at it"
                                  : "it is not wanted and nobody is at it");
        catalog_look(&deployd->catalog, service);
    }
}

static void on_look(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    reconcile_look(timer->data);
}

void reconcile_init(struct deployd *deployd)
{
    struct reconcile *reconcile = &deployd->reconcile;
    ev_timer_init(&reconcile->timer, on_soon, SOON_MS / 1e3, 0);
    ev_timer_init(&reconcile->look_timer, on_look, RECONCILE_LOOK_MS / 1e3,
                  RECONCILE_LOOK_MS / 1e3);
    reconcile->timer.data = reconcile->look_timer.data = deployd;
    ev_timer_start(deployd->loop, &reconcile->look_timer);
}

void reconcile_close(struct deployd *deployd)
{
    ev_timer_stop(deployd->loop, &deployd->reconcile.timer);
    ev_timer_stop(deployd->loop, &deployd->reconcile.look_timer);
}

static void on_answered(void *context, enum status status, const struct problem *problem,
                        const void *reply)
{
    (void)status, (void)problem, (void)reply;
    struct deployd *deployd = context;
    deployd->reconcile.is_asking = false;
    timer_start(deployd);
}

void reconcile_soon(struct deployd *deployd)
{
    const struct daemon_health_request request = {};
    const struct rpc_call_options options = {
        .flags = RPC_RETRY,
        .on_reply = on_answered,
        .context = deployd,
    };
    deployd->reconcile.is_wanted = false;
    if (deployd->is_stopping || deployd->reconcile.is_asking)
        return;
    /* Answers come in the order of the requests: after this one, an append that we gave up waiting
     * for is in the log or never will be. */
    if (rpc_client_call(deployd->eventd, &method_daemon_health, &request, &options, NULL) ==
        STATUS_OK)
        deployd->reconcile.is_asking = true;
    else
        timer_start(deployd);
}
