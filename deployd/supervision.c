#include "deployd/supervision.h"

#include <stdio.h>

#include "deployd/boot.h"
#include "deployd/deliveries.h"
#include "deployd/drain.h"
#include "deployd/operation_queue.h"
#include "deployd/reconcile.h"
#include "deployd/recovery.h"
#include "deployd/reports.h"

static bool is_missed(struct deployd *deployd, const struct tenant *tenant)
{
    if (deployd->is_stopping)
        return false;
    for (const struct service *service = tenant->services; service != NULL; service = service->next)
        if (service->queue != NULL ||
            (service->wanted.generation != 0 &&
             (reconcile_may_start(deployd, service) || recovery_is_due(deployd))))
            return true;
    return false;
}

static void on_told(struct deployd *deployd, struct supervisor *supervisor)
{
    (void)supervisor;
    boot_supervisor_told(deployd);
}

/* The log does not tell what still runs of a service that it does not want: only the registry does
 * then, and only of one that was held. */
static void assume(void *context, const struct service_row *last)
{
    struct supervisor *supervisor = context;
    struct deployd *deployd = supervisor->owner;
    struct service *service =
        catalog_service(&deployd->catalog, supervisor->tenant->name, last->name);
    struct problem problem;
    if (service == NULL && last->boot_id[0] == '\0')
        return;
    if (service == NULL && catalog_service_make(&deployd->catalog, supervisor->tenant, last->name,
                                                &service, &problem) != STATUS_OK) {
        log_warning("a service of a supervisor that does not answer is not shown", "tenant",
                    supervisor->tenant->name, "name", last->name, "reason", problem.message);
        return;
    }
    if (service->is_held || service->is_failed_deploy)
        return;
    char reason[REASON_BYTES_MAX + 1];
    struct service_row row = *last;
    snprintf(reason, sizeof reason, "its supervisor does not answer; it was %s", row.state);
    row.reason = reason;
    catalog_assume(&deployd->catalog, service, &row);
}

static void on_silent(struct deployd *deployd, struct supervisor *supervisor)
{
    struct tenant *tenant = supervisor->tenant;
    operations_supervisor_silent(tenant);
    catalog_mark_queues(&deployd->catalog, tenant);
    if (supervisor->state == SUPERVISOR_READY)
        return; /* it has told what it holds */
    if (supervisor->host_pid == 0)
        supervisor->host_pid =
            registry_supervisor_pid(&deployd->registry, tenant->name, deployd->run.boot_id);
    registry_each(&deployd->registry, tenant->name, &deployd->scratch, assume, supervisor);
    for (struct service *service = tenant->services; service != NULL; service = service->next)
        if (!service_has_row(service) && !service->is_failed_deploy)
            catalog_unhold(&deployd->catalog, service, SERVICE_wanted,
                           "its supervisor does not answer");
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
    for (struct service *service = supervisor->tenant->services; service != NULL;
         service = service->next)
        deliveries_look(deployd, service);
    reconcile_tenant(deployd, supervisor->tenant);
}

static void on_cut(struct deployd *deployd, struct supervisor *supervisor)
{
    deliveries_cut(deployd, supervisor->tenant);
    operations_supervisor_lost(supervisor->tenant);
}

static void on_died(struct deployd *deployd, struct supervisor *supervisor)
{
    registry_put_supervisor(&deployd->registry, supervisor->tenant->name, 0, deployd->run.boot_id);
    if (supervisor->is_ending)
        drain_supervisor_died(supervisor);
    else
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
