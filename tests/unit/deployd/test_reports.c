/* A supervisor's reports on their way into the log: in order, once, and again when it refused. */
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/wire/writer.h"
#include "deployd/appends.h"
#include "deployd/reports.h"
#include "deployd/supervisors.h"
#include "tests/support/criterion.h"

enum { SENT_MAX = 16 };

static struct {
    struct deployd deployd;
    struct tenant *tenant;
    struct supervisor *supervisor;
    struct {
        uint64_t number;
        char type[40], subject[SUBJECT_BYTES];
        size_t payload_bytes;
        bool has_source;
        rpc_on_reply on_reply;
        void *context;
    } sent[SENT_MAX];
    size_t count;
    unsigned resyncs;
    uint64_t acknowledged;
    bool is_resyncing, is_full;
} world;

enum status append_send(struct deployd *deployd, const struct event_append_request *request,
                        const struct uuid *request_id, uint64_t timeout_ms, rpc_on_reply on_reply,
                        void *context)
{
    (void)deployd, (void)request_id;
    cr_assert_eq(timeout_ms, 0, "a report waits for as long as eventd is away");
    if (world.is_full)
        return STATUS_RESOURCE_EXHAUSTED;
    cr_assert_lt(world.count, SENT_MAX);
    world.sent[world.count].number = request->source_number;
    snprintf(world.sent[world.count].type, sizeof world.sent[0].type, "%s", request->type);
    world.sent[world.count].has_source = request->source[0] != '\0';
    snprintf(world.sent[world.count].subject, SUBJECT_BYTES, "%s", request->subject);
    world.sent[world.count].payload_bytes = request->payload.size;
    world.sent[world.count].on_reply = on_reply;
    world.sent[world.count++].context = context;
    return STATUS_OK;
}

enum status deployd_refresh(struct deployd *deployd, struct service *service)
{
    (void)deployd, (void)service;
    return STATUS_OK;
}

void supervisor_resync(struct supervisor *supervisor, const char *reason)
{
    (void)reason;
    if (supervisor->state != SUPERVISOR_READY)
        return;
    world.resyncs += !world.is_resyncing;
    world.is_resyncing = true;
}

bool supervisor_is_resyncing(const struct supervisor *supervisor)
{
    (void)supervisor;
    return world.is_resyncing;
}

enum status supervisor_call(struct supervisor *supervisor, const struct method *method,
                            const void *request, uint64_t timeout_ms, rpc_on_reply on_reply,
                            void *context)
{
    (void)supervisor, (void)timeout_ms, (void)on_reply, (void)context;
    cr_assert_eq(method, &method_supervisor_ack);
    world.acknowledged = ((const struct supervisor_ack_request *)request)->number;
    return STATUS_OK;
}

enum status append_send_batch(struct deployd *deployd, struct span events,
                              const struct uuid *request_id, uint64_t timeout_ms,
                              rpc_on_reply on_reply, void *context)
{
    (void)deployd, (void)events, (void)request_id, (void)timeout_ms, (void)on_reply, (void)context;
    return STATUS_OK;
}

static void open(void)
{
    struct problem problem;
    log_setup("test", LOG_LEVEL_ERROR);
    cr_assert_eq(catalog_tenant_make(&world.deployd.catalog, "acme", &world.tenant, &problem),
                 STATUS_OK);
    world.deployd.loop = ev_loop_new(EVFLAG_AUTO); /* nobody listens, and nothing is sent */
    cr_assert_eq(rpc_client_open(&world.deployd.eventd, world.deployd.loop,
                                 &(struct rpc_client_options){ .path = "/nonexistent" }),
                 STATUS_OK);
    world.supervisor = &world.tenant->supervisor;
    world.supervisor->owner = &world.deployd;
    world.supervisor->tenant = world.tenant;
    world.supervisor->state = SUPERVISOR_READY;
}

static void end(void)
{
    for (size_t i = 0; i < world.count; i++)
        world.sent[i].on_reply(world.sent[i].context, STATUS_OK, NULL, NULL);
    catalog_close(&world.deployd.catalog);
    rpc_client_close(&world.deployd.eventd);
    ev_loop_destroy(world.deployd.loop);
}

TestSuite(reports, .init = open, .fini = end);

static void report_sized(uint64_t number, const char *type, size_t text_bytes)
{
    AUTO(buffer_close) struct buffer map = { .limit = 1 << 20 };
    static char text[SUPERVISOR_REPORT_BYTES_MAX + 1];
    memset(text, 'x', text_bytes);
    text[text_bytes] = '\0';
    write_map(&map, 5);
    write_str(&map, "number");
    write_u64(&map, number);
    write_str(&map, "type");
    write_str(&map, type);
    write_str(&map, "name");
    write_str(&map, "api");
    write_str(&map, "generation");
    write_u64(&map, 7);
    write_str(&map, "payload");
    write_map(&map, 1);
    write_str(&map, "r");
    write_str(&map, text);
    reports_take(world.supervisor, buffer_span(&map));
}

static void report(uint64_t number)
{
    report_sized(number, "service_started", 3);
}

static void answer(enum status status)
{
    cr_assert_gt(world.count, 0);
    rpc_on_reply on_reply = world.sent[0].on_reply;
    void *context = world.sent[0].context;
    memmove(world.sent, world.sent + 1, --world.count * sizeof world.sent[0]);
    on_reply(context, status, NULL, NULL);
}

Test(reports, each_is_appended_once_and_acknowledged_when_it_is_in_the_log)
{
    report(1);
    report(2);
    report(2);
    report(1);
    cr_assert_eq(world.count, 2);
    cr_assert_eq(world.supervisor->reports_in_flight, 2);
    reports_acknowledge(&world.deployd);
    cr_assert_eq(world.acknowledged, 0);
    answer(STATUS_OK);
    reports_acknowledge(&world.deployd);
    cr_assert_eq(world.acknowledged, 1);
    answer(STATUS_OK);
    reports_acknowledge(&world.deployd);
    cr_assert_eq(world.acknowledged, 2);
    cr_assert_eq(world.supervisor->reports_in_flight, 0);
    cr_assert_eq(world.resyncs, 0);
}

Test(reports, a_deployd_that_has_come_back_goes_on_in_the_middle)
{
    report(41);
    report(42);
    cr_assert_eq(world.count, 2);
    cr_assert_eq(world.resyncs, 0);
}

Test(reports, a_refusal_has_them_sent_again_and_nothing_is_appended_before)
{
    report(1);
    report(2);
    report(3);
    answer(STATUS_OK);
    answer(STATUS_RESOURCE_EXHAUSTED);
    answer(STATUS_FAILED_PRECONDITION);
    cr_assert_eq(world.resyncs, 1);
    report(4);
    cr_assert_eq(world.count, 0, "its number would leave a gap");
    cr_assert_eq(world.supervisor->reports_in_flight, 0);
    cr_assert_eq(world.supervisor->state, SUPERVISOR_READY, "services are looked after meanwhile");
    world.is_resyncing = false;
    world.supervisor->reported = world.supervisor->acknowledged; /* as the resync does */
    report(2);
    report(3);
    cr_assert_eq(world.count, 2);
}

/* Nobody can be asked for it then; the next connection brings it. */
Test(reports, what_was_refused_between_two_connections_is_taken_again)
{
    report(1);
    report(2);
    answer(STATUS_OK);
    world.supervisor->state = SUPERVISOR_LOST;
    answer(STATUS_RESOURCE_EXHAUSTED);
    cr_assert_eq(world.resyncs, 0);
    reports_connected(world.supervisor);
    world.supervisor->state = SUPERVISOR_READY;
    report(2);
    report(3);
    cr_assert_eq(world.count, 2);
    cr_assert_eq(world.sent[0].number, 2);
    answer(STATUS_OK);
    answer(STATUS_OK);
    reports_acknowledge(&world.deployd);
    cr_assert_eq(world.acknowledged, 3);
}

Test(reports, a_gap_and_a_full_client_have_them_sent_again)
{
    report(1);
    report(3);
    cr_assert_eq(world.resyncs, 1);
    cr_assert_eq(world.count, 1);
    world.is_resyncing = false;
    world.is_full = true;
    report(2);
    cr_assert_eq(world.resyncs, 2);
    cr_assert_eq(world.supervisor->reported, 1);
}

Test(reports, the_greatest_report_of_a_supervisor_passes)
{
    report_sized(1, "service_crashed", SUPERVISOR_REPORT_BYTES_MAX - 64);
    cr_assert_eq(world.count, 1);
    cr_assert_gt(world.sent[0].payload_bytes, SUPERVISOR_REPORT_BYTES_MAX - 64);
}

/* Its number is taken in the log by what was wrong, so that those behind it follow. */
Test(reports, an_invalid_one_is_recorded_as_refused_and_the_next_ones_go_on)
{
    report(1);
    report_sized(2, "service_deployed", 3); /* is not for supervisors to say */
    report_sized(3, "service_crashed", SUPERVISOR_REPORT_BYTES_MAX);
    report(4);
    cr_assert_eq(world.count, 4);
    cr_assert_str_eq(world.sent[0].type, "service_started");
    cr_assert_str_eq(world.sent[1].type, "inconsistency_found");
    cr_assert_eq(world.sent[1].number, 2);
    cr_assert_str_eq(world.sent[1].subject, "tenant/acme");
    cr_assert_str_eq(world.sent[3].type, "service_started");
    while (world.count > 0)
        answer(STATUS_OK);
    reports_acknowledge(&world.deployd);
    cr_assert_eq(world.acknowledged, 4);
    cr_assert_eq(world.resyncs, 0);
    cr_assert_eq(world.deployd.counters.reports + world.deployd.counters.reports_refused, 4);
    cr_assert_geq(world.deployd.counters.reports_refused, 1);
}

Test(reports, one_that_the_event_log_calls_invalid_is_recorded_as_refused_when_it_comes_again)
{
    report(1);
    report(2);
    answer(STATUS_INVALID_ARGUMENT);
    answer(STATUS_FAILED_PRECONDITION);
    cr_assert_eq(world.resyncs, 1);
    world.is_resyncing = false;
    world.supervisor->reported = world.supervisor->acknowledged;
    report(1);
    report(2);
    cr_assert_eq(world.count, 2);
    cr_assert_str_eq(world.sent[0].type, "inconsistency_found");
    cr_assert_str_eq(world.sent[1].type, "service_started");
}

static void resynced(void)
{
    world.is_resyncing = false;
    world.supervisor->reported = world.supervisor->acknowledged;
}

/* Its source has lost its place in the log: asked for again for ever, and nobody would know. */
Test(reports, one_whose_number_is_refused_for_good_is_recorded_once_and_told)
{
    for (int refusal = 1; refusal <= 5; refusal++) {
        report(13);
        report(14);
        answer(STATUS_FAILED_PRECONDITION);
        answer(STATUS_FAILED_PRECONDITION); /* in the wake of the first */
        cr_assert_eq(world.supervisor->stuck.is_told, refusal >= 3, "refusal %d", refusal);
        cr_assert_eq(world.count, refusal == 3, "refusal %d", refusal);
        if (refusal == 3) {
            cr_assert_str_eq(world.sent[0].type, "inconsistency_found");
            cr_assert_str_eq(world.sent[0].subject, "tenant/acme");
            cr_assert_not(world.sent[0].has_source, "its numbers are what is refused");
            answer(STATUS_OK);
        }
        resynced();
    }
    cr_assert_eq(world.supervisor->stuck.number, 13);
    report(13);
    answer(STATUS_OK);
    cr_assert_not(world.supervisor->stuck.is_told);
}

Test(reports, a_refusal_that_passes_is_told_to_nobody)
{
    for (int refusal = 0; refusal < 6; refusal++) {
        report(1);
        answer(refusal % 2 == 0 ? STATUS_RESOURCE_EXHAUSTED : STATUS_FAILED_PRECONDITION);
        cr_assert_not(world.supervisor->stuck.is_told);
        cr_assert_eq(world.count, 0);
        resynced();
    }
}
