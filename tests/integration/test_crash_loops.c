/* Two hundred services that crash as soon as they run, beside two hundred that are well: nothing of
 * the former may delay the latter, and the log may not grow with the number of crashes. */
#include <stdlib.h>

#include "common/base/clock.h"
#include "tests/support/expect.h"
#include "tests/support/services.h"

TestSuite(crash_loops, .timeout = 400);

enum { EACH = 200, OTHERS = 20, PROMPT_MS = 5000, PATIENCE_MS = 60000 };

static const char *name_of(char name[16], const char *kind, size_t i)
{
    snprintf(name, 16, "%s%03zu", kind, i);
    return name;
}

/* Without an end: it is never parked, and crashes about ten times a second. */
static json_t *crasher_spec(const struct testbed *bed, size_t i)
{
    char name[16];
    json_t *spec = service_spec(bed, "acme", name_of(name, "sick", i), "exiter", "3", NULL);
    json_object_set_new(
        spec, "restart",
        json_pack("{s:s, s:s, s:i}", "initial", "500ms", "max", "500ms", "max_restarts", 1000000));
    return spec;
}

static uint64_t restarts_sum(const struct testbed *bed)
{
    uint64_t sum = 0;
    size_t i;
    json_t *row, *rows = service_rows(bed);
    json_array_foreach(rows, i, row) sum += number_in(row, "restarts");
    json_decref(rows);
    return sum;
}

static int by_size(const void *left, const void *right)
{
    long a = *(const long *)left, b = *(const long *)right;
    return a < b ? -1 : a > b;
}

/* What else the machine does may delay one of them, not half of them. */
static long median(long *times_ms, size_t count)
{
    qsort(times_ms, count, sizeof *times_ms, by_size);
    return times_ms[count / 2];
}

static long since_ms(uint64_t began_ns)
{
    return (long)((clock_boottime_ns() - began_ns) / 1000000);
}

Test(crash_loops, the_healthy_are_not_delayed_and_the_log_grows_by_transitions)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char name[16], key[32];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    for (size_t i = 0; i < EACH; i++) {
        service_deploy_sleeper(&bed, "acme", name_of(name, "well", i));
        service_deploy(&bed, crasher_spec(&bed, i));
    }
    uint64_t after = log_settled_id(&bed), restarts = restarts_sum(&bed);

    /* They go on crashing while others come, print, and go. */
    long deploy_ms[OTHERS], logs_ms[OTHERS];
    for (size_t i = 0; i < OTHERS; i++) {
        uint64_t began_ns = clock_boottime_ns();
        name_of(name, "new", i);
        service_deploy(&bed, service_spec(&bed, "acme", name, "printer", "2", NULL));
        deploy_ms[i] = since_ms(began_ns);
        snprintf(key, sizeof key, "acme/%s", name);
        began_ns = clock_boottime_ns();
        do
            testbed_soloctl(&bed, &result, "logs", key, NULL);
        while (strstr(result_out(&result), "out 2") == NULL && since_ms(began_ns) < PATIENCE_MS);
        expect_contains(result_out(&result), "out 2");
        logs_ms[i] = since_ms(began_ns);
    }
    cr_assert_lt(median(deploy_ms, OTHERS), PROMPT_MS, "deploys are delayed");
    cr_assert_lt(median(logs_ms, OTHERS), PROMPT_MS, "output is delayed");
    while (restarts_sum(&bed) < restarts + 2 * EACH)
        sleep_ms(100);

    json_t *events = events_after(&bed, after);
    size_t count = json_array_size(events), of_others = 0;
    for (size_t i = 0; i < EACH; i++) {
        name_of(name, "sick", i);
        of_others += events_count(events, "service_crashed", "acme", name) +
                     events_count(events, "service_restarted", "acme", name);
    }
    /* At most one transition each that had not been written when counting began. */
    cr_assert_leq(of_others, 2 * EACH, "%zu events about crashes", of_others);
    cr_assert_leq(count, of_others + OTHERS * 2, "%zu events", count);
    json_decref(events);

    events = events_after(&bed, 0);
    for (size_t i = 0; i < EACH; i++) {
        name_of(name, "sick", i);
        cr_assert_eq(events_count(events, "service_crashed", "acme", name), 1, "%s", name);
        name_of(name, "well", i);
        cr_assert_eq(events_count(events, "service_crashed", "acme", name), 0, "%s", name);
    }
    json_decref(events);
}
