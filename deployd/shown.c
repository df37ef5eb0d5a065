/* A build before the commit is known to deployd alone: no row of a supervisor's has it. */
#include "deployd/shown.h"

#include <stdio.h>
#include <time.h>

#include "common/base/auto.h"

bool service_is_shown(const struct service *service)
{
    return service_exists(service) || (service != NULL && service->building_since_ns != 0);
}

enum service_state service_state_shown(const struct service *service)
{
    bool is_first_build = service->building_since_ns != 0 && !service_exists(service);
    return is_first_build ? SERVICE_building : service->state;
}

/* What was known of it, and that a build of it runs. */
static void building_write(const struct service *service, struct buffer *buffer)
{
    AUTO(arena_close) struct arena arena = { .limit = FRAME_BYTES_SMALL };
    char reason[REASON_BYTES_MAX + 1], known[REASON_BYTES_MAX + 1], since[32];
    struct problem problem;
    struct service_row row = { .tenant = service->tenant->name,
                               .name = service_name(service),
                               .generation = service->wanted.generation,
                               .since = service->wanted.since,
                               .instance = "",
                               .boot_id = "",
                               .spec_hash = service->wanted.spec_hash };
    if (service->row.size > 0 &&
        fields_decode(&record_service_row, service->row, &arena, &row, &problem) != STATUS_OK) {
        catalog_row_write(service, buffer);
        return;
    }
    time_t seconds = (time_t)(service->building_since_ns / 1000000000u);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    strftime(since, sizeof since, "%H:%M:%SZ", &utc);
    if (service_exists(service))
        snprintf(reason, sizeof reason, "its program is being built since %s; %s", since,
                 service_reason(service, known));
    else
        snprintf(reason, sizeof reason, "its program is being built since %s", since);
    text_cut(reason);
    row.state = service_state_name(service_state_shown(service));
    row.reason = reason;
    fields_encode(&record_service_row, &row, buffer);
}

void service_show(const struct service *service, struct buffer *buffer)
{
    if (service->building_since_ns == 0)
        catalog_row_write(service, buffer);
    else
        building_write(service, buffer);
}
