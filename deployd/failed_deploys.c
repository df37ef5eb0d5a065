/* The log knows which and why; what the supervisor told of them lasts as long as the registry. */
#include "deployd/failed_deploys.h"

#include "common/base/log.h"

static void load_one(struct deployd *deployd, const struct failed_deploy *failed)
{
    struct service *service;
    struct problem problem;
    struct tenant *tenant = catalog_tenant(&deployd->catalog, failed->tenant);
    if (tenant == NULL)
        return;
    enum status status =
        catalog_service_make(&deployd->catalog, tenant, failed->name, &service, &problem);
    if (status != STATUS_OK) {
        log_warning("a failed deploy is not shown", "tenant", failed->tenant, "name", failed->name,
                    "reason", problem.message);
        return;
    }
    if (service->wanted.generation != 0)
        return;
    struct service_row row = { 0 };
    struct span exits = { 0 };
    if (registry_find(&deployd->registry, service->key, &deployd->scratch, &row) == STATUS_OK &&
        row.generation == failed->generation)
        exits = row.exits;
    catalog_fail_deploy(&deployd->catalog, service, failed->generation, failed->reason, exits);
    arena_reset(&deployd->scratch);
}

enum status failed_deploys_load(struct deployd *deployd)
{
    uint64_t ids[FAILED_DEPLOYS_MAX];
    size_t count;
    TRY(event_map_failed_deploys(&deployd->map, ids, &count));
    for (size_t i = 0; i < count; i++) {
        struct failed_deploy failed;
        TRY(event_map_failed_deploy(&deployd->map, ids[i], &failed));
        load_one(deployd, &failed);
    }
    return STATUS_OK;
}
