/* A build before the commit, and the next attempt of a start that failed, are known to deployd
 * alone: no row of a supervisor's has them. */
#include "deployd/shown.h"

#include <stdio.h>
#include <time.h>

#include "common/base/auto.h"
#include "common/base/clock.h"

bool service_is_shown(const struct service *service)
{
    return service_exists(service) || (service != NULL && service->building_since_ns != 0);
}

enum service_state service_state_shown(const struct service *service)
{
    bool is_first_build = service->building_since_ns != 0 && !service_exists(service);
    return is_first_build ? SERVICE_building : service->state;
}

/* What is known of it, with texts in the arena. */
static enum status row_known(const struct service *service, struct arena *arena,
                             struct service_row *row)
{
    struct problem problem;
    if (service->row.size > 0)
        return fields_decode(&record_service_row, service->row, arena, row, &problem);
    *row = (struct service_row){ .tenant = service->tenant->name,
                                 .name = service_name(service),
                                 .generation = service->wanted.generation,
                                 .since = service->wanted.since,
                                 .instance = "",
                                 .boot_id = "",
                                 .spec_hash = service->wanted.spec_hash };
    return STATUS_OK;
}

static void add_building(const struct service *service, char reason[REASON_BYTES_MAX + 1])
{
    char known[REASON_BYTES_MAX + 1], since[32];
    time_t seconds = (time_t)(service->building_since_ns / 1000000000u);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    strftime(since, sizeof since, "%H:%M:%SZ", &utc);
    if (service_exists(service))
        snprintf(reason, REASON_BYTES_MAX + 1, "its program is being built since %s; %s", since,
                 service_reason(service, known));
    else
        snprintf(reason, REASON_BYTES_MAX + 1, "its program is being built since %s", since);
}

/* When it is due; the look after that finds it. */
static void add_retry(const struct service *service, struct service_row *row,
                      char reason[REASON_BYTES_MAX + 1])
{
    char known[REASON_BYTES_MAX + 1];
    uint64_t now_ns = clock_boottime_ns();
    row->due_ns = clock_wall_ns() + (service->retry_ns > now_ns ? service->retry_ns - now_ns : 0);
    snprintf(reason, REASON_BYTES_MAX + 1, "%.*s; tried again by itself", REASON_BYTES_MAX - 32,
             service_reason(service, known));
}

void service_show(const struct service *service, struct buffer *buffer)
{
    AUTO(arena_close) struct arena arena = { .limit = FRAME_BYTES_SMALL };
    char reason[REASON_BYTES_MAX + 1];
    struct service_row row = { 0 };
    bool is_building = service->building_since_ns != 0;
    bool is_retried = service->retry_ns != 0 && service->state == SERVICE_failed &&
                      service->wanted.generation != 0;
    if ((!is_building && !is_retried) || row_known(service, &arena, &row) != STATUS_OK) {
        catalog_row_write(service, buffer);
        return;
    }
    if (is_building)
        add_building(service, reason);
    else
        add_retry(service, &row, reason);
    text_cut(reason);
    row.state = service_state_name(service_state_shown(service));
    row.reason = reason;
    fields_encode(&record_service_row, &row, buffer);
}
