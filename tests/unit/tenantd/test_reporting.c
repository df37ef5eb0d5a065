/* The watch: rows, reports, acknowledgements, across connections. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "tests/support/criterion.h"
#include "tests/unit/tenantd/supervisor_calls.h"

static struct bed bed;

static void end(void)
{
    bed_close(&bed);
}
TestSuite(reporting, .fini = end);

#define SLEEPER "\"argv\": [\"PROGRAMS/sleeper\"]"

static void acknowledge(uint64_t number)
{
    struct supervisor_ack_reply reply = {};
    const struct supervisor_ack_request request = { .number = number };
    cr_assert_eq(bed_call(&bed, &method_supervisor_ack, &request, &reply), STATUS_OK);
}

static void reconnect(void)
{
    bed_unwatch(&bed);
    bed.report_count = bed.states = 0;
    bed_watch(&bed);
}

/* So many rows and reports come, and no more. */
static void expect_told(size_t states, size_t reports)
{
    for (int i = 0; i < 6000 && (bed.states < states || bed.report_count < reports); i++)
        bed_turn(&bed, 10);
    bed_turn(&bed, 50);
    cr_assert_eq(bed.states, states, "%zu rows", (size_t)bed.states);
    cr_assert_eq(bed.report_count, reports, "%zu reports", (size_t)bed.report_count);
}

static void start_some(const char *prefix, int count)
{
    for (int i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s%d", prefix, i);
        cr_assert_eq(bed_start(&bed, name, 10, 10, "deploy", SLEEPER, NULL), STATUS_OK);
    }
}

Test(reporting, what_is_not_acknowledged_comes_again)
{
    bed_open(&bed, NULL);
    start_some("s", 5);
    bed_watch(&bed);
    expect_told(5, 5);
    for (size_t i = 0; i < 5; i++) {
        cr_assert_eq(bed.reports[i].number, i + 1);
        cr_assert_str_eq(bed.reports[i].type, "service_started");
        cr_assert_eq(bed.reports[i].generation, 10);
        cr_assert_eq(bed.reports[i].since, 10);
        cr_assert_eq(bed.reports[i].causation_id, 10);
    }
    acknowledge(3);
    reconnect();
    expect_told(5, 2);
    cr_assert_eq(bed.reports[0].number, 4);
    bed_unwatch(&bed);
    /* Nobody watches; what happens is kept. */
    start_some("t", 2);
    acknowledge(5);
    reconnect();
    expect_told(7, 2);
    cr_assert_eq(bed.reports[0].number, 6);
    cr_assert_eq(bed.reports[1].number, 7);
    acknowledge(7);
    reconnect();
    expect_told(7, 0);
    bed_close(&bed);
}

Test(reporting, a_new_watch_takes_the_place_of_the_old_one)
{
    bed_open(&bed, NULL);
    bed_watch(&bed);
    struct rpc_client *old = bed.watch;
    bed_watch(&bed);
    for (int i = 0; i < 6000 && !bed.is_watch_over; i++)
        bed_turn(&bed, 10);
    cr_assert(bed.is_watch_over, "the old watch was not ended");
    start_some("s", 1);
    bed_await_report(&bed, "service_started", "s0", 1);
    bed_turn(&bed, 100);
    cr_assert_eq(bed_reports_of(&bed, "service_started", "s0"), 1);
    rpc_client_close(&old);
    /* The end of the old connection does not end the new watch. */
    bed_turn(&bed, 50);
    start_some("t", 1);
    bed_await_report(&bed, "service_started", "t0", 1);
    bed_turn(&bed, 100);
    cr_assert_eq(bed_reports_of(&bed, "service_started", "t0"), 1);
    bed_close(&bed);
}

Test(reporting, a_crash_and_its_restart_are_told_once)
{
    struct row row;
    bed_open(&bed, NULL);
    bed_watch(&bed);
    cr_assert_eq(bed_start(&bed, "api", 10, 10, "deploy",
                           SLEEPER ", \"restart\": {\"initial\": \"10ms\", \"max\": \"10ms\"}",
                           &row),
                 STATUS_OK);
    for (uint64_t i = 1; i <= 3; i++) {
        uint64_t before = row.pid;
        cr_assert_gt(row.pid, 0);
        cr_assert_eq(kill((pid_t)row.pid, SIGKILL), 0);
        for (int j = 0; j < 2000 && (row.restarts != i || row.pid == 0); j++) {
            bed_turn(&bed, 2);
            cr_assert(bed_row(&bed, "api", &row));
        }
        cr_assert_eq(row.restarts, i);
        cr_assert_neq(row.pid, before);
    }
    cr_assert_eq(bed_reports_of(&bed, "service_crashed", "api"), 1);
    cr_assert_eq(bed_reports_of(&bed, "service_restarted", "api"), 1);
    cr_assert_eq(row.exits, 3);
    cr_assert_eq(bed_restart(&bed, "api", 10, 10, &row), STATUS_OK);
    bed_await_report(&bed, "service_restarted", "api", 2);
    cr_assert_gt(row.pid, 0);
    cr_assert_eq(kill((pid_t)row.pid, SIGKILL), 0);
    bed_await_report(&bed, "service_crashed", "api", 2);
    bed_close(&bed);
}

Test(reporting, one_event_restarts_once)
{
    struct row first, again, later;
    bed_open(&bed, NULL);
    bed_watch(&bed);
    cr_assert_eq(bed_start(&bed, "api", 10, 10, "deploy", SLEEPER, NULL), STATUS_OK);
    cr_assert_eq(bed_restart_for(&bed, "api", 10, 10, 12, &first), STATUS_OK);
    bed_await_report(&bed, "service_restarted", "api", 1);
    cr_assert_eq(bed_restart_for(&bed, "api", 10, 10, 12, &again), STATUS_OK);
    cr_assert_eq(again.pid, first.pid, "restarted twice for one event");
    cr_assert_eq(bed_restart_for(&bed, "api", 10, 10, 11, &again), STATUS_OK);
    cr_assert_eq(again.pid, first.pid, "what runs was started later than that was asked for");
    cr_assert_eq(bed_restart_for(&bed, "api", 10, 10, 13, &later), STATUS_OK);
    cr_assert_neq(later.pid, first.pid);
    bed_await_report(&bed, "service_restarted", "api", 2);
    bed_close(&bed);
}

Test(reporting, a_list_of_many_comes_in_order_and_in_pages)
{
    char name[32], last[64] = "";
    enum { SERVICES = 120 };
    bed_open(&bed, NULL);
    for (int i = 0; i < SERVICES; i++) {
        snprintf(name, sizeof name, "s%03d", (i * 37) % SERVICES);
        cr_assert_eq(bed_start(&bed, name, 10, 10, "deploy", SLEEPER, NULL), STATUS_OK);
    }
    struct supervisor_list_reply reply = { 0 };
    struct supervisor_list_request request = { .after = "s099" };
    cr_assert_eq(bed_call(&bed, &method_supervisor_list, &request, &reply), STATUS_OK);
    cr_assert_str_eq(reply.next, "");
    cr_assert_eq(reply.services.data[0], 0xdc); /* array 16 */
    cr_assert_eq(reply.services.data[1] * 256 + reply.services.data[2], 20);
    request.after = "";
    cr_assert_eq(bed_call(&bed, &method_supervisor_list, &request, &reply), STATUS_OK);
    cr_assert_eq(reply.services.data[1] * 256 + reply.services.data[2], SERVICES);
    snprintf(last, sizeof last, "%s", reply.next);
    cr_assert_str_eq(last, "");
    bed_close(&bed);
}

/* What was sent may be in the log already: the log must be able to compare it when it comes again.
 */
Test(reporting, no_more_reports_are_sent_than_the_log_can_compare)
{
    enum { RESTARTS = REPORTS_SENT_MAX / 2 + 4 }; /* two reports each */
    bed_open(&bed, NULL);
    start_some("s", 1);
    for (int i = 0; i < RESTARTS; i++)
        cr_assert_eq(bed_restart(&bed, "s0", 10, 10, NULL), STATUS_OK);
    bed_watch(&bed);
    while (bed.report_count < REPORTS_SENT_MAX)
        bed_turn(&bed, 5);
    bed_turn(&bed, 50);
    cr_assert_eq(bed.report_count, REPORTS_SENT_MAX);
    cr_assert_eq(bed.reports[REPORTS_SENT_MAX - 1].number, REPORTS_SENT_MAX);
    acknowledge(2);
    while (bed.report_count < REPORTS_SENT_MAX + 2)
        bed_turn(&bed, 5);
    reconnect();
    while (bed.report_count < REPORTS_SENT_MAX)
        bed_turn(&bed, 5);
    cr_assert_eq(bed.reports[0].number, 3);
    acknowledge(REPORTS_SENT_MAX + 2);
    while (bed.reports[bed.report_count - 1].number < 2 * RESTARTS + 1)
        bed_turn(&bed, 5);
    bed_close(&bed);
}
