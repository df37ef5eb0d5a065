/* A list of packed maps, oldest first. */
#include "tenantd/reports.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/buffer.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"

void reports_close(struct reports *reports)
{
    for (struct report *report = reports->first, *next; report != NULL; report = next) {
        next = report->next;
        free(report);
    }
    *reports = (struct reports){ 0 };
}

bool reports_have_room(const struct reports *reports)
{
    return reports->count < (size_t)REPORTS_PLACES_ORDINARY;
}

/* The payload, with the count of those that were missed before it. */
static void pack_payload(struct buffer *buffer, struct span payload, uint64_t missed)
{
    struct reader reader = reader_of(payload);
    uint32_t count;
    if (missed == 0 || reader_map(&reader, &count) != STATUS_OK) {
        write_object(buffer, payload);
        return;
    }
    write_map(buffer, count + 1);
    buffer_append(buffer, reader.rest.data, reader.rest.size);
    write_str(buffer, "reports_missed");
    write_u64(buffer, missed);
}

static void pack(struct buffer *buffer, const struct report_content *content, uint64_t number,
                 uint64_t missed)
{
    write_map(buffer, 7);
    write_str(buffer, "number");
    write_u64(buffer, number);
    write_str(buffer, "type");
    write_str(buffer, content->type);
    write_str(buffer, "name");
    write_str(buffer, content->name);
    write_str(buffer, "generation");
    write_u64(buffer, content->generation);
    write_str(buffer, "since");
    write_u64(buffer, content->since);
    write_str(buffer, "causation_id");
    write_u64(buffer, content->causation_id);
    write_str(buffer, "payload");
    pack_payload(buffer, content->payload, missed);
}

static void miss(struct reports *reports, const struct report_content *content)
{
    if (reports->missed++ == 0)
        log_warning("reports are not acknowledged: later ones are only counted", "service",
                    content->name, "type", content->type, "kept", NUMBER(reports->count));
}

uint64_t reports_add(struct reports *reports, const struct report_content *content)
{
    AUTO(buffer_close) struct buffer buffer = { .limit = SUPERVISOR_REPORT_BYTES_MAX };
    size_t places =
        content->is_folding ? REPORTS_UNACKNOWLEDGED_MAX : (size_t)REPORTS_PLACES_ORDINARY;
    if (reports->count >= places) {
        miss(reports, content);
        return 0;
    }
    if (reports->next_number == 0)
        reports->next_number = 1;
    pack(&buffer, content, reports->next_number, reports->missed);
    struct report *report = buffer.is_exhausted ? NULL : malloc(sizeof *report + buffer.size);
    if (report == NULL) {
        miss(reports, content);
        return 0;
    }
    report->next = NULL;
    report->number = reports->next_number++;
    report->size = buffer.size;
    memcpy(report->packed, buffer.data, buffer.size);
    if (reports->last == NULL)
        reports->first = report;
    else
        reports->last->next = report;
    reports->last = report;
    reports->count++;
    reports->missed = 0;
    return report->number;
}

bool reports_is_kept(const struct reports *reports, uint64_t number)
{
    return reports->first != NULL && number >= reports->first->number;
}

enum status reports_acknowledge(struct reports *reports, uint64_t number)
{
    if (number >= (reports->next_number == 0 ? 1 : reports->next_number))
        return STATUS_INVALID_ARGUMENT;
    while (reports->first != NULL && reports->first->number <= number) {
        struct report *done = reports->first;
        reports->first = done->next;
        reports->count--;
        free(done);
    }
    if (reports->first == NULL)
        reports->last = NULL;
    return STATUS_OK;
}
