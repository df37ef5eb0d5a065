/* Lists are made anew for each page; a page ends well below the largest frame. */
#include "deployd/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/access/daemon_methods.h"
#include "common/base/auto.h"
#include "common/wire/writer.h"
#include "deployd/quota.h"
#include "deployd/recovery.h"
#include "deployd/shown.h"
#include "deployd/supervisors.h"
#include "deployd/verification.h"

enum {
    PAGE_BYTES_MAX = FRAME_BYTES_MAX / 2,
    PAGE_ROWS_MAX = LIST_COUNT_MAX,
    NAMED_MAX = 8, /* services and tenants that status names; it counts the others */
    TENANTS_BYTES_MAX = FRAME_BYTES_MAX - MESSAGE_OVERHEAD_BYTES,
};

enum status status_list(const struct deployd *deployd, const struct tenant *only, const char *after,
                        struct buffer *list, char next[SERVICE_KEY_BYTES])
{
    AUTO(buffer_close) struct buffer rows = { .limit = PAGE_BYTES_MAX + FRAME_BYTES_SMALL };
    size_t count, written = 0;
    struct service **services = catalog_sorted(&deployd->catalog, only, &count);
    const char *last = "";
    bool is_full = false;
    next[0] = '\0';
    if (services == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < count && !is_full; i++) {
        const struct service *service = services[i];
        if (!service_is_shown(service) || (after[0] != '\0' && strcmp(service->key, after) <= 0))
            continue;
        if (rows.size >= PAGE_BYTES_MAX || written == PAGE_ROWS_MAX) {
            is_full = true;
            continue;
        }
        service_show(service, &rows);
        last = service->key;
        written++;
    }
    write_array(list, written);
    buffer_append(list, rows.data, rows.size);
    if (is_full)
        snprintf(next, SERVICE_KEY_BYTES, "%s", last);
    free(services);
    return list->is_exhausted || rows.is_exhausted ? STATUS_RESOURCE_EXHAUSTED : STATUS_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct tenant *const *)a)->name, (*(struct tenant *const *)b)->name);
}

static void tenant_write(struct deployd *deployd, struct tenant *tenant, struct buffer *list)
{
    uint64_t services = 0, running = 0;
    for (const struct service *service = tenant->services; service != NULL;
         service = service->next) {
        services += service_exists(service);
        running += service->is_held && service->state == SERVICE_running;
    }
    const struct supervisor *supervisor = &tenant->supervisor;
    bool is_there = supervisor->state == SUPERVISOR_READY || supervisor->is_silent;
    write_map(list, 8);
    write_str(list, "tenant");
    write_str(list, tenant->name);
    write_str(list, "uid");
    write_u64(list, geteuid() == 0 ? deployd->settings.tenant_uid_base + tenant->index : geteuid());
    write_str(list, "services");
    write_u64(list, services);
    write_str(list, "running");
    write_u64(list, running);
    write_str(list, "supervisor_pid");
    write_u64(list, is_there ? supervisor->host_pid : 0);
    write_str(list, "is_silent");
    write_bool(list, supervisor->is_silent);
    write_str(list, "stuck_report");
    write_u64(list, supervisor->stuck.is_told ? supervisor->stuck.number : 0);
    write_str(list, "totals");
    quota_write(deployd, tenant, list);
}

enum status status_tenants(struct deployd *deployd, const char *only, struct buffer *list)
{
    size_t count = 0;
    struct tenant **tenants = calloc(deployd->catalog.tenant_count + 1, sizeof(struct tenant *));
    if (tenants == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    for (struct tenant *tenant = deployd->catalog.tenants; tenant != NULL; tenant = tenant->hh.next)
        if (tenant->is_recorded && (only == NULL || strcmp(only, tenant->name) == 0))
            tenants[count++] = tenant;
    qsort(tenants, count, sizeof(struct tenant *), by_name);
    write_array(list, count);
    for (size_t i = 0; i < count; i++)
        tenant_write(deployd, tenants[i], list);
    free(tenants);
    return list->is_exhausted ? STATUS_RESOURCE_EXHAUSTED : STATUS_OK;
}

static const char *state_name(const struct deployd *deployd)
{
    if (deployd->drain.is_begun)
        return "draining";
    if (deployd->boot.state != BOOT_READY)
        return deployd->boot.state == BOOT_DAMAGED ? "damaged" : "starting";
    return deployd->recovery.phase == RECOVERY_RUNNING ? "recovering" : "ready";
}

/* How many there are, and the first few by name. */
struct named {
    uint64_t count;
    const char *names[NAMED_MAX];
};

static void named_add(struct named *named, const char *name)
{
    if (named->count < NAMED_MAX)
        named->names[named->count] = name;
    named->count++;
}

static void named_write(const struct named *named, struct buffer *map)
{
    size_t shown = named->count < NAMED_MAX ? named->count : NAMED_MAX;
    write_map(map, 2);
    write_str(map, "count");
    write_u64(map, named->count);
    write_str(map, "names");
    write_array(map, shown);
    for (size_t i = 0; i < shown; i++)
        write_str(map, named->names[i]);
}

struct counts {
    uint64_t of[SERVICE_STATES];
    uint64_t wanted, wanted_not_running;
    struct named near_limit, over_limit, tenants_near_limit, tenants_stuck;
};

static void count_services(const struct deployd *deployd, struct counts *counts)
{
    for (const struct service *service = deployd->catalog.services; service != NULL;
         service = service->hh.next) {
        if (!service_is_shown(service))
            continue;
        counts->of[service_state_shown(service)]++;
        if (service->is_usage_high)
            named_add(&counts->near_limit, service->key);
        if (service->has_breached)
            named_add(&counts->over_limit, service->key);
        if (service->wanted.generation == 0)
            continue;
        counts->wanted++;
        bool runs = service_has_row(service) && service->generation == service->wanted.generation &&
                    service_state_has_process(service->state);
        counts->wanted_not_running += !runs;
    }
}

static void log_write_status(struct deployd *deployd, struct buffer *map)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct log_branch branch;
    char text[LOG_FORK_TEXT_BYTES] = "";
    uint64_t last = 0, live = 0;
    if (event_map_is_forked(&deployd->map, &branch))
        log_branch_text(&branch, text);
    if (event_map_begin(&deployd->map, &txn) == STATUS_OK) {
        event_log_last(&txn, &last);
        live_count(&txn, &live);
    }
    write_map(map, 3);
    write_str(map, "forked");
    write_str(map, text);
    write_str(map, "last_event");
    write_u64(map, last);
    write_str(map, "live");
    write_u64(map, live);
}

void status_write(struct deployd *deployd, bool is_operator, struct buffer *map)
{
    const struct supervisor *supervisor = supervisors_any(deployd);
    struct counts counts = { 0 };
    uint64_t tenants = 0, silent = 0;
    const char *silent_tenant = "";
    bool is_complete = is_operator && deployd->boot.state != BOOT_DAMAGED; /* or it would say 0 */
    write_map(map, is_complete ? 19 : 3);
    write_str(map, "state");
    write_str(map, state_name(deployd));
    write_str(map, "version");
    write_str(map, SOLO_VERSION);
    write_str(map, "isolation");
    write_str(map, supervisors_isolation(deployd, NULL));
    if (!is_complete)
        return;
    count_services(deployd, &counts);
    for (const struct tenant *tenant = deployd->catalog.tenants; tenant != NULL;
         tenant = tenant->hh.next) {
        tenants += tenant->is_recorded;
        if (quota_is_high(tenant))
            named_add(&counts.tenants_near_limit, tenant->name);
        if (tenant->supervisor.stuck.is_told)
            named_add(&counts.tenants_stuck, tenant->name);
        if (tenant->supervisor.is_silent && silent++ == 0)
            silent_tenant = tenant->name;
    }
    write_str(map, "run_id");
    write_str(map, deployd->run.id);
    write_str(map, "last_end");
    write_str(map, deployd->run.last_end);
    write_str(map, "stop_method");
    write_str(map, supervisor == NULL ? "unknown" : supervisor->stop_method);
    write_str(map, "tenants");
    write_u64(map, tenants);
    write_str(map, "supervisors_silent");
    write_u64(map, silent);
    write_str(map, "silent_tenant");
    write_str(map, silent_tenant);
    write_str(map, "services");
    write_map(map, SERVICE_STATES);
    for (int state = 0; state < SERVICE_STATES; state++) {
        write_str(map, service_state_name((enum service_state)state));
        write_u64(map, counts.of[state]);
    }
    write_str(map, "wanted");
    write_u64(map, counts.wanted);
    write_str(map, "wanted_not_running");
    write_u64(map, counts.wanted_not_running);
    write_str(map, "near_limit");
    named_write(&counts.near_limit, map);
    write_str(map, "over_limit");
    named_write(&counts.over_limit, map);
    write_str(map, "tenants_near_limit");
    named_write(&counts.tenants_near_limit, map);
    write_str(map, "tenants_stuck");
    named_write(&counts.tenants_stuck, map);
    write_str(map, "recovery");
    recovery_write_status(deployd, map);
    write_str(map, "log");
    log_write_status(deployd, map);
    write_str(map, "verification");
    verification_write(deployd, map);
}

void status_write_counters(void *context, struct buffer *buffer)
{
    const struct deployd *deployd = context;
    const struct counter counters[] = {
        { "deploys", deployd->counters.deploys },
        { "kills", deployd->counters.kills },
        { "restarts", deployd->counters.restarts },
        { "fallbacks", deployd->counters.fallbacks },
        { "reports", deployd->counters.reports },
        { "reports_refused", deployd->counters.reports_refused },
        { "supervisor_starts", deployd->counters.supervisor_starts },
        { "supervisor_deaths", deployd->counters.supervisor_deaths },
        { "operations", deployd->operations },
        { "services_known", deployd->catalog.service_count },
        { "appends_pending", deployd->eventd == NULL ? 0 : rpc_client_pending(deployd->eventd) },
        { "log_streams", deployd->log_streams.taken },
        { "waits", deployd->waits.taken },
    };
    counters_write(buffer, counters, COUNT_OF(counters));
}
