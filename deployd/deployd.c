/* What every part of deployd needs of the whole. */
#include "deployd/deployd.h"

#include <string.h>

enum status deployd_is_readable(const struct deployd *deployd, struct problem *problem)
{
    return deployd->boot.state == BOOT_DAMAGED
               ? problem_set(problem, STATUS_DATA_LOSS, "",
                             "nothing is told from the event store and nothing is changed: %s",
                             deployd->boot.damage)
               : STATUS_OK;
}

enum status deployd_is_open(const struct deployd *deployd, struct problem *problem)
{
    TRY(deployd_is_readable(deployd, problem));
    if (deployd->drain.is_begun || deployd->is_stopping) {
        problem_set(problem, STATUS_UNAVAILABLE, "",
                    deployd->drain.is_begun ? "Solo is shutting down"
                                            : "deployd is being restarted; repeat the request");
        problem->retry_after_ms = 1000;
        return STATUS_UNAVAILABLE;
    }
    return STATUS_OK;
}

enum status deployd_refresh(struct deployd *deployd, struct service *service)
{
    struct live_row row;
    TRY(event_map_live(&deployd->map, service->tenant->name, service_name(service), &row));
    if (memcmp(&row, &service->wanted, sizeof row) != 0)
        catalog_want(&deployd->catalog, service, &row);
    return STATUS_OK;
}

void deployd_look_again(struct deployd *deployd)
{
    deployd->reconcile.is_wanted = true;
}
