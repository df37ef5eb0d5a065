#include "deployd/supervision.h"

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
    .on_greeted = on_greeted,
    .on_ready = on_ready,
    .on_cut = on_cut,
    .on_died = on_died,
    .on_ended = on_ended,
    .on_report = on_report,
};
