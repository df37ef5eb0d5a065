/* One walk over the rows, each looked up in deployd's answer; what was met is counted, so that a
 * second walk is needed only when something is missing. */
#include "recoveryd/registry_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "recoveryd/registry_rows.h"

struct registry_check {
    const struct actual *actual;
    struct findings *findings;
    bool *is_met; /* by place in `actual` */
};

static void registry_check_close(struct registry_check *check)
{
    free(check->is_met);
}

static enum status add(struct registry_check *check, const char *tenant, const char *name,
                       const struct service_row *row, const struct actual_service *service)
{
    struct finding finding = {
        .code = FINDING_registry_differs,
        .tenant = tenant,
        .name = name,
        .generation = row == NULL ? 0 : row->generation,
        .running_generation = service == NULL ? 0 : service->generation,
        .pid = service == NULL ? row->pid : service->pid,
    };
    if (row == NULL)
        snprintf(finding.reason, sizeof finding.reason, "the registry has no row of it");
    else if (service == NULL)
        snprintf(finding.reason, sizeof finding.reason,
                 "the registry has a row of it (generation %" PRIu64 ", pid %" PRIu64
                 "), deployd knows of none",
                 row->generation, row->pid);
    else
        snprintf(finding.reason, sizeof finding.reason,
                 "the registry says generation %" PRIu64 ", pid %" PRIu64 "; deployd says %" PRIu64
                 ", pid %" PRIu64,
                 row->generation, row->pid, service->generation, service->pid);
    return findings_add(check->findings, &finding);
}

static enum status compare_row(void *context, const struct service_row *row)
{
    struct registry_check *check = context;
    const struct actual_service *service = actual_find(check->actual, row->tenant, row->name);
    if (service == NULL)
        return add(check, row->tenant, row->name, row, NULL);
    check->is_met[service - check->actual->services] = true;
    bool is_same = row->generation == service->generation && row->pid == service->pid &&
                   row->start_ticks == service->start_ticks;
    return is_same ? STATUS_OK : add(check, row->tenant, row->name, row, service);
}

enum status registry_check(const char *run_dir, const struct actual *actual,
                           struct findings *findings)
{
    AUTO(registry_check_close)
    struct registry_check check = { .actual = actual, .findings = findings };
    if (strcmp(actual->source, "deployd") != 0)
        return STATUS_OK;
    check.is_met = calloc(actual->count + 1, sizeof *check.is_met);
    if (check.is_met == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    enum status status = registry_rows_each(run_dir, actual->incarnation, compare_row, &check);
    if (status == STATUS_RESOURCE_EXHAUSTED)
        return status;
    if (status != STATUS_OK)
        return findings_add(findings, &(struct finding){ .code = FINDING_registry_differs,
                                                         .tenant = "",
                                                         .name = "registry",
                                                         .reason = "it cannot be read" });
    for (size_t i = 0; i < actual->count; i++) {
        const struct actual_service *service = &actual->services[i];
        if (service->is_held && !check.is_met[i])
            TRY(add(&check, service->tenant, service->name, NULL, service));
    }
    return STATUS_OK;
}
