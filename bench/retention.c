/* Old events leaving the log: how fast they are archived and removed, and what an append takes
 * meanwhile, beside one before. One client appends one event after the other.
 *
 *     bench_retention [EVENTS [ROUNDS]]       200000 and 3 by default */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/figures.h"
#include "bench/fill.h"
#include "bench/machine.h"
#include "common/base/file.h"

enum { EVENTS_DEFAULT = 200000, ROUNDS_DEFAULT = 3, APPENDS_MAX = 200000, KEPT = 1000 };
static const double quiet_seconds = 2.;

struct latencies {
    double ms[APPENDS_MAX];
    size_t count;
};

static int compare(const void *a_, const void *b_)
{
    double a = *(const double *)a_, b = *(const double *)b_;
    return a < b ? -1 : a > b;
}

static double at(struct latencies *latencies, double share)
{
    qsort(latencies->ms, latencies->count, sizeof *latencies->ms, compare);
    return latencies->count == 0 ? 0.
                                 : latencies->ms[(size_t)((double)(latencies->count - 1) * share)];
}

static void append_one(struct caller *caller, struct latencies *latencies)
{
    json_t *params = json_pack("{s:s, s:{s:i}}", "type", "app.bench", "payload", "n", 1);
    double begin = machine_now();
    if (caller_call(caller, "event.append", params, 60000, NULL, NULL) != STATUS_OK)
        test_fail("an append was refused");
    if (latencies->count < APPENDS_MAX)
        latencies->ms[latencies->count++] = (machine_now() - begin) * 1e3;
    json_decref(params);
}

/* Sends event.archive without waiting. */
static void begin_archive(struct caller *caller)
{
    AUTO(buffer_close) struct buffer frame = { .limit = 4096 };
    json_t *params = json_pack("{s:i}", "keep_events", KEPT);
    caller_pack(&frame, 1, "event.archive", params);
    json_decref(params);
    if (!caller_send(caller, buffer_span(&frame)))
        test_fail("event.archive cannot be asked");
}

/* The answer [1, msgid, nil, {...}] when it is there by now; NULL otherwise. */
static json_t *end_archive(struct caller *caller)
{
    bool is_closed = false;
    json_t *message = caller_receive(caller, 1, &is_closed);
    if (is_closed)
        test_fail("eventd has gone");
    return message;
}

struct round {
    double archive_seconds, quiet_p50, quiet_p99, quiet_max, busy_p50, busy_p99, busy_max;
    uint64_t events;
};

static void run_round(struct testbed *bed, size_t events, struct round *round)
{
    static struct latencies quiet, busy;
    char path[4096];
    AUTO(caller_close) struct caller appender = CALLER_NONE, asker = CALLER_NONE;
    quiet.count = busy.count = 0;
    fill_events(bed, events);
    testbed_socket(bed, "eventd", path);
    if (caller_open(&appender, path) != STATUS_OK || caller_open(&asker, path) != STATUS_OK)
        test_fail("eventd cannot be reached");
    for (double end = machine_now() + quiet_seconds; machine_now() < end;)
        append_one(&appender, &quiet);
    json_t *answer = NULL;
    double begin = machine_now();
    begin_archive(&asker);
    for (int i = 0; answer == NULL; i++) {
        append_one(&appender, &busy);
        if (i % 16 == 0)
            answer = end_archive(&asker);
    }
    round->archive_seconds = machine_now() - begin;
    round->events = number_in(json_array_get(answer, 3), "events");
    json_decref(answer);
    if (round->events < events / 2)
        test_fail("only %lu events were archived", (unsigned long)round->events);
    round->quiet_p50 = at(&quiet, .5), round->quiet_p99 = at(&quiet, .99);
    round->quiet_max = at(&quiet, 1.);
    round->busy_p50 = at(&busy, .5), round->busy_p99 = at(&busy, .99);
    round->busy_max = at(&busy, 1.);
}

int main(int argc, char **argv)
{
    size_t events = argc > 1 ? (size_t)atol(argv[1]) : EVENTS_DEFAULT;
    int rounds = argc > 2 ? atoi(argv[2]) : ROUNDS_DEFAULT;
    struct testbed bed = { 0 };
    struct figures rate = { 0 }, p50 = { 0 }, p99 = { 0 }, max = { 0 }, quiet_p50 = { 0 },
                   quiet_p99 = { 0 }, quiet_max = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    for (int i = 0; i < rounds; i++) {
        struct round round = { 0 };
        run_round(&bed, events, &round);
        figures_add(&rate, (double)round.events / round.archive_seconds);
        figures_add(&p50, round.busy_p50), figures_add(&quiet_p50, round.quiet_p50);
        figures_add(&p99, round.busy_p99), figures_add(&quiet_p99, round.quiet_p99);
        figures_add(&max, round.busy_max), figures_add(&quiet_max, round.quiet_max);
    }
    testbed_discard(&bed);
    figure_print_plain("events archived, verified, removed", figures_median(&rate), "/s", 0, 0);
    figure_print("append meanwhile, p50", figures_median(&p50), "ms", "quiet",
                 figures_median(&quiet_p50), 0, 1);
    figure_print("append meanwhile, p99", figures_median(&p99), "ms", "quiet",
                 figures_median(&quiet_p99), 0, 1);
    figure_print("append meanwhile, slowest", figures_median(&max), "ms", "quiet",
                 figures_median(&quiet_max), 0, 1);
    figure_print_plain("added to an append, p99", figures_median(&p99) - figures_median(&quiet_p99),
                       "ms", 10, 1);
    return 0;
}
