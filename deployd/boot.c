/* One step after the other, each begun by the end of the one before; the timer bounds the waiting
 * for supervisors that do not answer and for services that are slow to start. */
#include "deployd/boot.h"

#include <stdio.h>
#include <string.h>

#include "common/access/daemon_methods.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/daemon/parent.h"
#include "common/wire/writer.h"
#include "deployd/append_about.h"
#include "deployd/appends.h"
#include "deployd/failed_deploys.h"
#include "deployd/methods.h"
#include "deployd/other_solo.h"
#include "deployd/reconcile.h"
#include "deployd/recovery.h"
#include "deployd/supervisors.h"
#include "deployd/tenants.h"

enum { MAP_RETRY_MS = 100, ADOPTING_MS_MAX = 10 * 1000, RECONCILING_MS_MAX = 1500 };

static void timer_set(struct deployd *deployd, uint64_t after_ms)
{
    ev_timer_stop(deployd->loop, &deployd->boot.timer);
    ev_timer_set(&deployd->boot.timer, (double)after_ms / 1e3, 0);
    ev_timer_start(deployd->loop, &deployd->boot.timer);
}

static void serve(struct deployd *deployd)
{
    ev_timer_stop(deployd->loop, &deployd->boot.timer);
    enum status status = methods_open(deployd);
    if (status != STATUS_OK) {
        lifecycle_end(&deployd->lifecycle, status);
        return;
    }
    parent_ready();
}

static void boot_damaged(struct deployd *deployd, const char *reason)
{
    if (deployd->boot.state == BOOT_DAMAGED)
        return;
    log_error("the event store cannot be used, nothing is changed", "reason", reason);
    deployd->boot.state = BOOT_DAMAGED;
    snprintf(deployd->boot.damage, sizeof deployd->boot.damage, "%s", reason);
    daemon_health_set("damaged", "the event store: %s", reason);
    parent_say("damaged: the event store: %s", reason);
    serve(deployd);
}

/* Recovery will ask for them at once: meanwhile recoveryd makes its plan, on one processor. */
static void start_supervisors(struct deployd *deployd)
{
    if (!recovery_is_due(deployd))
        return;
    for (struct service *service = deployd->catalog.services; service != NULL;
         service = service->hh.next)
        if (service->wanted.generation != 0)
            supervisor_need(&service->tenant->supervisor);
}

static void boot_ready(struct deployd *deployd)
{
    deployd->boot.state = BOOT_READY;
    const char *reason = !deployd->run.is_new                 ? "not started yet"
                         : deployd->settings.recovery_enabled ? "waits for recovery"
                                                              : "recovery is disabled";
    for (struct service *service = deployd->catalog.services; service != NULL;
         service = service->hh.next)
        if (service->wanted.generation != 0 && !service_has_row(service) && service->reason == NULL)
            catalog_unhold(&deployd->catalog, service, SERVICE_wanted, reason);
    daemon_health_set("ready", "%s", "");
    parent_say("ready");
    log_info("ready", "services", NUMBER(deployd->catalog.service_count), "tenants",
             NUMBER(deployd->catalog.tenant_count), "run",
             deployd->run.is_new ? "new" : "the same");
    serve(deployd);
    start_supervisors(deployd);
}

void boot_reconciled(struct deployd *deployd)
{
    if (deployd->boot.state == BOOT_RECONCILING)
        boot_ready(deployd);
}

static void reconcile_step(struct deployd *deployd)
{
    deployd->boot.state = BOOT_RECONCILING;
    registry_prune(&deployd->registry, &deployd->catalog);
    timer_set(deployd, RECONCILING_MS_MAX);
    reconcile_all(deployd);
}

void boot_supervisor_told(struct deployd *deployd)
{
    ensure(deployd->boot.adopting > 0);
    if (--deployd->boot.adopting == 0 && deployd->boot.state == BOOT_ADOPTING)
        timer_set(deployd, 0); /* not from inside a supervisor's step */
}

static void adopt_step(struct deployd *deployd)
{
    deployd->boot.state = BOOT_ADOPTING;
    timer_set(deployd, ADOPTING_MS_MAX);
    enum status status = supervisors_adopt(deployd);
    if (status != STATUS_OK)
        lifecycle_end(&deployd->lifecycle, status);
    else if (deployd->boot.adopting == 0)
        timer_set(deployd, 0);
}

static void on_run_recorded(void *context, enum status status, const struct problem *problem,
                            const void *reply)
{
    struct deployd *deployd = context;
    const struct event_append_reply *appended = reply;
    if (status != STATUS_OK) {
        const char *reason = problem == NULL ? status_text(status) : problem->message;
        if (status == STATUS_DATA_LOSS) {
            boot_damaged(deployd, reason);
            return;
        }
        /* eventd refuses for a while (a full disk, say): deployd is of no use before it does not.
         */
        log_warning("the start of the run was not recorded, trying again", "reason", reason);
        timer_set(deployd, 10 * MAP_RETRY_MS);
        return;
    }
    deployd->run.started = appended->event_id;
    adopt_step(deployd);
}

/* Says nothing against the store: it is not there yet, or has no reader's place free. */
static bool is_passing(enum status status)
{
    return status == STATUS_NOT_FOUND || status == STATUS_UNAVAILABLE ||
           status == STATUS_RESOURCE_EXHAUSTED;
}

/* Our parent starts us again, until the other one has gone. */
static enum status check_alone(const struct deployd *deployd)
{
    struct other_solo other;
    if (!other_solo_find(deployd->map.db.identity.id, deployd->settings.run_dir,
                         deployd->settings.data_dir, &other))
        return STATUS_OK;
    char reason[sizeof other.data + 80];
    snprintf(reason, sizeof reason,
             "another Solo runs with a copy of this store in %s: stop one of them", other.data);
    return log_failure(STATUS_LOCKED, "begin a run", "its_supervisor", NUMBER(other.pid), "reason",
                       reason);
}

static void run_step(struct deployd *deployd)
{
    AUTO(buffer_close) struct buffer payload = { .limit = 1024 };
    struct run_record record;
    deployd->boot.state = BOOT_RECORDING_RUN;
    char end[RUN_END_BYTES];
    enum status status = event_map_run(&deployd->map, &record);
    if (status == STATUS_OK)
        status = event_map_run_end(&deployd->map, deployd->run.boot_id, end);
    if (is_passing(status)) {
        timer_set(deployd, MAP_RETRY_MS);
        return;
    }
    if (status != STATUS_OK) {
        boot_damaged(deployd, status_text(status));
        return;
    }
    if (record.started != 0 && strcmp(record.run_id, deployd->run.id) == 0) {
        deployd->run.started = record.started;
        snprintf(deployd->run.last_end, sizeof deployd->run.last_end, "%s", record.last_end);
        recovery_restore(deployd, &record);
        adopt_step(deployd);
        return;
    }
    status = check_alone(deployd);
    if (status != STATUS_OK) {
        lifecycle_end(&deployd->lifecycle, status);
        return;
    }
    deployd->run.is_new = true;
    snprintf(deployd->run.last_end, sizeof deployd->run.last_end, "%s", end);
    write_map(&payload, 4);
    write_str(&payload, "last_end");
    write_str(&payload, deployd->run.last_end);
    write_str(&payload, "run_id");
    write_str(&payload, deployd->run.id);
    write_str(&payload, "boot_id");
    write_str(&payload, deployd->run.boot_id);
    write_str(&payload, "version");
    write_str(&payload, SOLO_VERSION);
    struct event_append_request request = append_about_system(EVENT_system_started, &payload);
    status = append_send(deployd, &request, NULL, 0, on_run_recorded, deployd);
    if (status != STATUS_OK)
        on_run_recorded(deployd, status, NULL, NULL);
}

static void map_step(struct deployd *deployd)
{
    enum status status = event_map_open(&deployd->map, deployd->settings.data_dir);
    if (status == STATUS_OK) {
        registry_belong(&deployd->registry, deployd->map.db.identity.incarnation);
        status = tenants_load(deployd);
    }
    if (status == STATUS_OK)
        status = reconcile_load_wanted(deployd);
    if (status == STATUS_OK)
        status = failed_deploys_load(deployd);
    if (status == STATUS_OK)
        run_step(deployd);
    else if (is_passing(status))
        timer_set(deployd, MAP_RETRY_MS); /* eventd answers, so its store will be there at once */
    else
        boot_damaged(deployd, status_text(status));
}

static void on_eventd_health(void *context, enum status status, const struct problem *problem,
                             const void *reply)
{
    struct deployd *deployd = context;
    const struct daemon_health_reply *health = reply;
    if (status == STATUS_OK && strcmp(health->state, "damaged") == 0) {
        boot_damaged(deployd, health->reason);
        return;
    }
    if (deployd->boot.state == BOOT_DAMAGED) {
        /* Everything in memory may be of the damaged store: begin anew, our parent sees to it. */
        if (status == STATUS_OK && strcmp(health->state, "ready") == 0) {
            log_info("the event store is whole again, starting anew");
            lifecycle_end(&deployd->lifecycle, STATUS_OK);
        }
        return;
    }
    if (status != STATUS_OK)
        log_warning("eventd did not answer", "reason",
                    problem == NULL ? status_text(status) : problem->message);
    if (status == STATUS_OK && strcmp(health->state, "ready") == 0)
        map_step(deployd);
    else
        timer_set(deployd, MAP_RETRY_MS);
}

static void ask_eventd(struct deployd *deployd)
{
    const struct daemon_health_request request = {};
    const struct rpc_call_options options = {
        .flags = RPC_RETRY,
        .on_reply = on_eventd_health,
        .context = deployd,
    };
    enum status status =
        rpc_client_call(deployd->eventd, &method_daemon_health, &request, &options, NULL);
    if (status != STATUS_OK)
        lifecycle_end(&deployd->lifecycle, status);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct deployd *deployd = timer->data;
    switch (deployd->boot.state) {
    case BOOT_WAITING_FOR_EVENTD:
        if (deployd->map.is_open)
            map_step(deployd);
        else
            ask_eventd(deployd);
        break;
    case BOOT_RECORDING_RUN:
        run_step(deployd);
        break;
    case BOOT_ADOPTING:
        if (deployd->boot.adopting > 0)
            log_warning("some supervisors do not answer; their services stay as they are", "count",
                        NUMBER(deployd->boot.adopting));
        reconcile_step(deployd);
        break;
    case BOOT_RECONCILING:
        boot_ready(deployd);
        break;
    default:
        break;
    }
}

void boot_begin(struct deployd *deployd)
{
    ev_timer_init(&deployd->boot.timer, on_timer, 0, 0);
    deployd->boot.timer.data = deployd;
    daemon_health_set("starting", "waits for eventd");
    parent_say("waits for eventd");
    ask_eventd(deployd);
}

void boot_end(struct deployd *deployd)
{
    ev_timer_stop(deployd->loop, &deployd->boot.timer);
}

void boot_eventd_connected(struct deployd *deployd)
{
    /* Something may have been committed whose answer was lost for good. */
    if (deployd->boot.state == BOOT_READY)
        reconcile_soon(deployd);
    else if (deployd->boot.state == BOOT_DAMAGED)
        ask_eventd(deployd); /* it was restarted, perhaps on a repaired store */
}
