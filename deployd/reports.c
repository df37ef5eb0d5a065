/* Reports are appended as they come, pipelined, and answered by eventd in their order. When eventd
 * refuses one, those behind it are refused as well (their numbers would leave a gap): after a pause
 * the supervisor is asked for everything unacknowledged again. One that is invalid would be refused
 * for ever: an inconsistency_found takes its number in the log, and it counts as acknowledged. One
 * whose number the log refuses, because the source has lost its place there, never passes, and
 * nothing can take its number: that is recorded once and shown, for a person to end the supervisor.
 *
 * How many may be on their way is the supervisor's affair, who alone knows what was acknowledged to
 * it: never more than the numbers of a source that eventd can still compare (tenantd/watch.c). */
#include "deployd/reports.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/api/event_types.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "deployd/append_about.h"
#include "deployd/appends.h"
#include "deployd/supervisors.h"

enum {
    PAYLOAD_BYTES_MAX =
        SUPERVISOR_REPORT_BYTES_MAX + 32, /* with a generation that it did not name */
    CRASHES_PER_BATCH = 512,
    CRASH_BYTES_MAX = 512,    /* of one event in a batch */
    LASTING_REFUSALS_MAX = 3, /* equal ones in a row: then it is no passing thing */
    REPORTS_PENDING_MAX = CLIENT_PENDING_MAX / 4 * 3,
};

/* One report on its way to eventd. */
struct sent_report {
    struct sent_report *prev, *next; /* all of them: what is not answered is freed at the end */
    struct supervisor *supervisor;
    uint64_t number;
    uint8_t incarnation[16];
    char name[NAME_BYTES_MAX + 1];
    enum event_type type; /* inconsistency_found: stands for a refused one */
};

static void sent_free(struct deployd *deployd, struct sent_report *sent)
{
    DL_DELETE(deployd->reports_sent, sent);
    free(sent);
}

void reports_close(struct deployd *deployd)
{
    while (deployd->reports_sent != NULL)
        sent_free(deployd, deployd->reports_sent);
}

static bool is_reportable(enum event_type type)
{
    switch (type) {
    case EVENT_service_started:
    case EVENT_service_crashed:
    case EVENT_service_stopped:
    case EVENT_service_completed:
    case EVENT_service_parked:
    case EVENT_service_restarted:
    case EVENT_service_recovered:
    case EVENT_resource_usage_high:
        return true;
    default:
        return false;
    }
}

static void on_stuck_recorded(void *context, enum status status, const struct problem *problem,
                              const void *reply)
{
    struct supervisor *supervisor = context;
    (void)problem, (void)reply;
    if (status != STATUS_OK)
        supervisor->stuck.is_recorded = false; /* with its next refusal */
}

/* Under no number of the supervisor's: those are what the log refuses. */
static void stuck_record(struct supervisor *supervisor, const char *reason)
{
    AUTO(buffer_close) struct buffer payload = { .limit = 1024 };
    char subject[SUBJECT_BYTES];
    snprintf(subject, sizeof subject, "tenant/%s", supervisor->tenant->name);
    write_map(&payload, 3);
    write_str(&payload, "what");
    write_str(&payload, "reports_stuck");
    write_str(&payload, "number");
    write_u64(&payload, supervisor->stuck.number);
    write_str(&payload, "reason");
    write_str(&payload, reason);
    const struct event_append_request request = {
        .type = event_type_name(EVENT_inconsistency_found),
        .tenant = supervisor->tenant->name,
        .subject = subject,
        .payload = buffer_span(&payload),
        .source = "",
        .intent = "",
    };
    supervisor->stuck.is_recorded = append_send(supervisor->owner, &request, NULL, 0,
                                                on_stuck_recorded, supervisor) == STATUS_OK;
}

/* The first one that is refused: those behind it are only in its wake. */
static void refusal_note(struct supervisor *supervisor, uint64_t number, enum status status,
                         const char *reason)
{
    struct stuck_report *stuck = &supervisor->stuck;
    bool is_lasting = status == STATUS_FAILED_PRECONDITION || status == STATUS_DATA_LOSS;
    if (!is_lasting || stuck->number != number || stuck->status != status)
        *stuck = (struct stuck_report){ .number = number, .status = status };
    stuck->refusals++;
    if (!is_lasting || stuck->refusals < LASTING_REFUSALS_MAX)
        return;
    if (!stuck->is_told)
        log_error("a supervisor's reports are refused for good", "tenant", supervisor->tenant->name,
                  "pid", NUMBER(supervisor->host_pid), "number", NUMBER(number), "reason", reason);
    stuck->is_told = true;
    if (!stuck->is_recorded)
        stuck_record(supervisor, reason);
}

static void on_appended(void *context, enum status status, const struct problem *problem,
                        const void *reply)
{
    struct sent_report *sent = context;
    struct supervisor *supervisor = sent->supervisor;
    struct deployd *deployd = supervisor->owner;
    (void)reply;
    supervisor->reports_in_flight--;
    bool is_same =
        memcmp(sent->incarnation, supervisor->incarnation, sizeof sent->incarnation) == 0;
    if (status == STATUS_OK) {
        deployd->counters.reports += sent->type != EVENT_inconsistency_found;
        deployd->counters.reports_refused += sent->type == EVENT_inconsistency_found;
        supervisor->resync_ms = 0;
        if (is_same)
            supervisor->stuck = (struct stuck_report){ 0 };
        if (is_same && sent->number > supervisor->acknowledged)
            supervisor->acknowledged = sent->number;
        deployd->is_acknowledging = true;
        struct service *service =
            catalog_service(&deployd->catalog, supervisor->tenant->name, sent->name);
        if (service != NULL && service->queue != NULL)
            catalog_mark(&deployd->catalog, service); /* a deploy may wait for it */
        if (sent->type == EVENT_service_completed && service != NULL)
            deployd_refresh(deployd, service);
    } else if (is_same) {
        if (status == STATUS_INVALID_ARGUMENT && sent->type != EVENT_inconsistency_found)
            supervisor->refused = sent->number; /* for good: so it is when it comes again */
        const char *reason = problem == NULL ? status_text(status) : problem->message;
        if (!supervisor_is_resyncing(supervisor))
            refusal_note(supervisor, sent->number, status, reason);
        supervisor_resync(supervisor, reason);
    }
    sent_free(deployd, sent);
}

/* The payload names its generation, whatever the supervisor put into it: the fold needs it. */
static void payload_write(struct buffer *payload, struct span given, uint64_t generation)
{
    struct reader reader = reader_of(given), value;
    uint32_t count = 0;
    if (given.size == 0 || reader_map(&reader, &count) != STATUS_OK)
        count = 0, reader.rest.size = 0;
    if (count > 0 && map_find(given, "generation", &value) == STATUS_OK) {
        buffer_append(payload, given.data, given.size);
        return;
    }
    write_map(payload, count + 1);
    write_str(payload, "generation");
    write_u64(payload, generation);
    buffer_append(payload, reader.rest.data, reader.rest.size);
}

/* What a report says, as it will stand in the log. */
struct said_report {
    enum event_type type;
    char name[NAME_BYTES_MAX + 1]; /* of the service, "" for none */
    uint64_t causation_id;
};

static enum status report_send(struct supervisor *supervisor, uint64_t number,
                               const struct said_report *said, const struct buffer *payload)
{
    char subject[SUBJECT_BYTES], source[EVENT_SOURCE_BYTES_MAX + 1];
    const char *tenant = supervisor->tenant->name;
    /* The rest of the places is for kills and deploys; a report is asked for again. */
    if (rpc_client_pending(supervisor->owner->eventd) >= REPORTS_PENDING_MAX)
        return STATUS_RESOURCE_EXHAUSTED;
    struct sent_report *sent = calloc(1, sizeof *sent);
    if (sent == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    DL_APPEND(supervisor->owner->reports_sent, sent);
    sent->supervisor = supervisor;
    sent->number = number;
    sent->type = said->type;
    memcpy(sent->incarnation, supervisor->incarnation, sizeof sent->incarnation);
    memcpy(sent->name, said->name, sizeof sent->name);
    snprintf(source, sizeof source, "tenantd/%s", tenant);
    if (said->name[0] != '\0')
        subject_of_service(subject, tenant, said->name);
    else
        snprintf(subject, sizeof subject, "tenant/%s", tenant);
    const struct event_append_request request = {
        .type = event_type_name(said->type),
        .tenant = tenant,
        .subject = subject,
        .causation_id = said->causation_id,
        .payload = buffer_span(payload),
        .source = source,
        .incarnation = span_of(supervisor->incarnation, sizeof supervisor->incarnation),
        .source_number = number,
        .intent = "",
    };
    enum status status = append_send(supervisor->owner, &request, NULL, 0, on_appended, sent);
    if (status == STATUS_OK)
        supervisor->reports_in_flight++;
    else
        sent_free(supervisor->owner, sent);
    return status;
}

/* One that can never go into the log as it is: its number does, with what was wrong, so that those
 * behind it may follow. */
static enum status report_refuse(struct supervisor *supervisor, uint64_t number, const char *reason)
{
    AUTO(buffer_close) struct buffer payload = { .limit = 1024 };
    const struct said_report said = { .type = EVENT_inconsistency_found };
    if (supervisor->refused != number)
        log_warning("a supervisor's report was refused", "tenant", supervisor->tenant->name,
                    "number", NUMBER(number), "reason", reason);
    supervisor->refused = number;
    write_map(&payload, 3);
    write_str(&payload, "what");
    write_str(&payload, "report_refused");
    write_str(&payload, "number");
    write_u64(&payload, number);
    write_str(&payload, "reason");
    write_str(&payload, "a report of the tenant's supervisor is invalid; see deployd's log");
    return report_send(supervisor, number, &said, &payload);
}

static enum status report_append(struct supervisor *supervisor, struct span report, uint64_t number)
{
    AUTO(buffer_close) struct buffer payload = { .limit = PAYLOAD_BYTES_MAX };
    char type[EVENT_TYPE_BYTES_MAX + 1];
    struct said_report said = { .causation_id = map_u64(report, "causation_id", 0) };
    struct reader value;
    struct span given = { 0 };
    map_text(report, "type", type, sizeof type);
    map_text(report, "name", said.name, sizeof said.name);
    said.type = event_type_parse(type);
    if (number == supervisor->refused)
        return report_refuse(supervisor, number, "the event log refused it");
    if (!is_reportable(said.type))
        return report_refuse(supervisor, number, "its type is not for supervisors to say");
    if (!name_is_valid(said.name))
        return report_refuse(supervisor, number, "it names no service");
    if (map_find(report, "payload", &value) == STATUS_OK && reader_any(&value, &given) != STATUS_OK)
        return report_refuse(supervisor, number, "its payload cannot be read");
    payload_write(&payload, given, map_u64(report, "generation", 0));
    if (payload.is_exhausted)
        return report_refuse(supervisor, number, "it is too large");
    return report_send(supervisor, number, &said, &payload);
}

void reports_take(struct supervisor *supervisor, struct span report)
{
    uint64_t number = map_u64(report, "number", 0);
    if (number == 0 || number <= supervisor->reported || supervisor_is_resyncing(supervisor))
        return; /* on its way already, recorded and not yet acknowledged, or comes again */
    if (number != supervisor->reported + 1 && supervisor->reported != 0) {
        supervisor_resync(supervisor, "a report is missing");
        return;
    }
    enum status status = report_append(supervisor, report, number);
    if (status == STATUS_OK)
        supervisor->reported = number;
    else
        supervisor_resync(supervisor, status_text(status));
}

void reports_connected(struct supervisor *supervisor)
{
    /* What is on its way still may be refused, and nobody be there to ask for it again: all of it
     * is sent twice then, and recorded once. */
    supervisor->reported = supervisor->acknowledged;
    supervisor->acknowledged_sent = 0;
    supervisor->owner->is_acknowledging = true;
}

static void on_acknowledged(void *context, enum status status, const struct problem *problem,
                            const void *reply)
{
    (void)context, (void)status, (void)problem, (void)reply;
    /* Nothing to do: what was not taken comes again with the next connection. */
}

void reports_acknowledge(struct deployd *deployd)
{
    if (!deployd->is_acknowledging)
        return;
    deployd->is_acknowledging = false;
    for (struct tenant *tenant = deployd->catalog.tenants; tenant != NULL;
         tenant = tenant->hh.next) {
        struct supervisor *supervisor = &tenant->supervisor;
        if (supervisor->acknowledged <= supervisor->acknowledged_sent ||
            supervisor->state != SUPERVISOR_READY)
            continue;
        const struct supervisor_ack_request request = { .number = supervisor->acknowledged };
        if (supervisor_call(supervisor, &method_supervisor_ack, &request, 0, on_acknowledged,
                            supervisor) == STATUS_OK)
            supervisor->acknowledged_sent = supervisor->acknowledged;
    }
}

static void on_crashes_recorded(void *context, enum status status, const struct problem *problem,
                                const void *reply)
{
    (void)context, (void)reply;
    if (status != STATUS_OK)
        log_warning("the end of a supervisor's services was not recorded", "reason",
                    problem == NULL ? status_text(status) : problem->message);
}

static void crash_write(struct buffer *events, const struct service *service)
{
    AUTO(buffer_close) struct buffer payload = { .limit = CRASH_BYTES_MAX };
    char subject[SUBJECT_BYTES];
    write_map(&payload, 2);
    write_str(&payload, "generation");
    write_u64(&payload, service->generation);
    write_str(&payload, "reason");
    write_str(&payload, "its supervisor ended");
    const struct event_append_request request =
        append_about_service(EVENT_service_crashed, service, subject, &payload);
    fields_encode(method_event_append.request, &request, events);
}

static void crashes_send(struct deployd *deployd, struct buffer *events, size_t count)
{
    AUTO(buffer_close) struct buffer list = { .limit = FRAME_BYTES_MAX };
    if (count == 0)
        return;
    write_array(&list, count);
    buffer_append(&list, events->data, events->size);
    enum status status = append_send_batch(deployd, buffer_span(&list), NULL,
                                           0, /* no time limit: nobody else knows of them */
                                           on_crashes_recorded, NULL);
    if (status != STATUS_OK)
        on_crashes_recorded(NULL, status, NULL, NULL);
}

void reports_supervisor_died(struct supervisor *supervisor)
{
    AUTO(buffer_close) struct buffer events = { .limit = CRASHES_PER_BATCH * CRASH_BYTES_MAX };
    size_t count = 0;
    supervisor->reported = supervisor->acknowledged = supervisor->acknowledged_sent = 0;
    supervisor->refused = 0;
    supervisor->stuck = (struct stuck_report){ 0 };
    for (struct service *service = supervisor->tenant->services; service != NULL;
         service = service->next) {
        if (!service->is_held || !service_state_has_process(service->state))
            continue;
        crash_write(&events, service);
        if (++count == CRASHES_PER_BATCH) {
            crashes_send(supervisor->owner, &events, count);
            buffer_clear(&events);
            count = 0;
        }
    }
    crashes_send(supervisor->owner, &events, count);
}
