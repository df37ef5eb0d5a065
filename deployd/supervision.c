#include "deployd/supervision.h"

#include <stdio.h>

#include "deployd/boot.h"
#include "deployd/drain.h"
#include "deployd/operation_queue.h"
#include "deployd/reconcile.h"
#include "deployd/reports.h"

static bool is_missed(struct deployd *deployd, const struct tenant *tenant)
{
    if (deployd->is_stopping)
        return false;
    for (const struct service *service = tenant->services; service != NULL; service = service->next)
        if (service->queue != NULL ||
            (service->wanted.generation != 0 && reconcile_may_start(deployd, service)))
            return true;
    return false;
}

static void on_told(struct deployd *deployd, struct supervisor *supervisor)
{
    (void)supervisor;
    boot_supervisor_told(deployd);
}

static void assume(struct deployd *deployd, struct service *service)
{
    struct service_row row = { 0 };
    char reason[REASON_BYTES_MAX + 1];
    if (service->is_held || service->is_failed_deploy)
        return;
    if (registry_find(&deployd->registry, service->key, &deployd->scratch, &row) == STATUS_OK &&
        service_state_parse(row.state) < SERVICE_STATES) {
        snprintf(reason, sizeof reason, "its supervisor does not answer; it was %s", row.state);
        row.reason = reason;
        catalog_assume(&deployd->catalog, service, &row);
    } else {
        catalog_unhold(&deployd->catalog, service, SERVICE_wanted,
                       "its supervisor does not answer");
    }
    arena_reset(&deployd->scratch);
}

static void on_silent(struct deployd *deployd, struct supervisor *supervisor)
{
    for (struct service *service = supervisor->tenant->services; service != NULL;
         service = service->next)
        assume(deployd, service);
    catalog_mark_queues(&deployd->catalog, supervisor->tenant);
}

static void on_greeted(struct deployd *deployd, struct supervisor *supervisor)
{
    registry_put_supervisor(&deployd->registry, supervisor->tenant->name, supervisor->host_pid,
                            deployd->run.boot_id);
    reports_connected(supervisor);
}

static void on_ready(struct deployd *deployd, struct supervisor *supervisor)
{
    deployd->is_acknowledging = true;
    drain_supervisor_ready(supervisor);
    catalog_mark_queues(&deployd->catalog, supervisor->tenant);
    reconcile_tenant(deployd, supervisor->tenant);
}

static void on_cut(struct deployd *deployd, struct supervisor *supervisor)
{
    (void)deployd;
    operations_supervisor_lost(supervisor->tenant);
}

static void on_died(struct deployd *deployd, struct supervisor *supervisor)
{
    registry_put_supervisor(&deployd->registry, supervisor->tenant->name, 0, deployd->run.boot_id);
    if (!supervisor->is_ending)
        reports_supervisor_died(supervisor);
}

static void on_ended(struct deployd *deployd, struct supervisor *supervisor)
{
    (void)supervisor;
    drain_supervisor_gone(deployd);
}

static void on_report(struct deployd *deployd, struct supervisor *supervisor, struct span report)
{
    (void)deployd;
    reports_take(supervisor, report);
}

const struct supervisor_events supervision = {
    .is_missed = is_missed,
    .on_told = on_told,
    .on_silent = on_silent,
    .on_greeted = on_greeted,
    .on_ready = on_ready,
    .on_cut = on_cut,
    .on_died = on_died,
    .on_ended = on_ended,
    .on_report = on_report,
};
