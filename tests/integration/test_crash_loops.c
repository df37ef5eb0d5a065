/* Two hundred services that crash as soon as they run, beside two hundred that are well: nothing of
 * the former may delay the latter, and the log may not grow with the number of crashes. */
#include <stdlib.h>

#include "common/base/clock.h"
#include "tests/support/expect.h"
#include "tests/support/services.h"

TestSuite(crash_loops, .timeout = 400);

enum { EACH = 200, PROMPT_MS = 5000 };

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

static long deploy_ms(const struct testbed *bed, const char *name)
{
    uint64_t began_ns = clock_boottime_ns();
    service_deploy(bed, service_spec(bed, "acme", name, "printer", "2", NULL));
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
    for (size_t i = 0; i < 20; i++) {
        name_of(name, "new", i);
        long took_ms = deploy_ms(&bed, name);
        cr_assert_lt(took_ms, PROMPT_MS, "a deploy took %ld ms", took_ms);
        snprintf(key, sizeof key, "acme/%s", name);
        uint64_t began_ns = clock_boottime_ns();
        do
            testbed_soloctl(&bed, &result, "logs", key, NULL);
        while (strstr(result_out(&result), "out 2") == NULL &&
               clock_boottime_ns() - began_ns < PROMPT_MS * 1000000ull);
        cr_assert_not_null(strstr(result_out(&result), "out 2"), "no output of %s after %d ms", key,
                           (int)PROMPT_MS);
    }
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
    cr_assert_leq(count, of_others + 20 * 2, "%zu events", count);
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
