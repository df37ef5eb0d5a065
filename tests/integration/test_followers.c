/* Output that is followed while its files are moved away, while daemons restart, and while others
 * print without end. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"
#include "tests/support/services.h"

TestSuite(followers, .timeout = 240);

enum { BURSTS = 100, LINES_PER_BURST = 100, LINES = BURSTS * LINES_PER_BURST, PROMPT_MS = 10000 };

/* Prints LINES numbered lines in bursts, into files that hold a few bursts each. */
static json_t *counter_spec(void)
{
    static const char script[] =
        "n=0; for b in $(seq 100); do for i in $(seq 100); do n=$((n+1)); echo \"line $n\"; done; "
        "sleep 0.03; done; sleep 1000";
    return json_pack("{s:s, s:s, s:[s,s,s], s:{s:s, s:i}}", "tenant", "acme", "name", "count",
                     "argv", "sh", "-c", script, "logs", "max_size", "64KiB", "files", 100);
}

/* How many numbered lines `text` has, which must be 1, 2, 3 ... */
static int lines_in_order(const char *text)
{
    int count = 0, number;
    for (const char *at = text; sscanf(at, "line %d\n", &number) == 1; count++) {
        cr_assert_eq(number, count + 1, "line %d after line %d", number, count);
        at = strchr(at, '\n');
        if (at == NULL || *++at == '\0')
            return count + 1;
    }
    return count;
}

static int followed(const char *path)
{
    AUTO(buffer_close) struct buffer text = { .limit = 16u << 20 };
    if (file_read(path, &text) != STATUS_OK)
        return 0;
    /* What is not a whole line yet does not count. */
    while (text.size > 0 && text.data[text.size - 1] != '\n')
        text.size--;
    buffer_append(&text, "", 1);
    return lines_in_order((const char *)text.data);
}

Test(followers, a_follower_survives_rotation_and_restarts)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char soloctl[4200], path[400];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy(&bed, counter_spec());
    snprintf(soloctl, sizeof soloctl, "%s/soloctl", bed.bin);
    snprintf(path, sizeof path, "%s/followed", bed.dir);
    const char *const argv[] = { soloctl, "--run", bed.run, "logs", "acme/count", "-f", NULL };
    pid_t follower = command_start(
        &(struct command){ .argv = argv, .environment = testbed_environment(&bed) }, path);
    bool was_restarted = false;
    uint64_t deadline = clock_boottime_ns() + 120 * 1000000000ull;
    while (followed(path) < LINES && clock_boottime_ns() < deadline) {
        if (!was_restarted && followed(path) > LINES / 4) {
            testbed_soloctl(&bed, &result, "daemon", "restart", "deployd", NULL);
            expect_exit(&result, 0);
            was_restarted = true;
        }
        sleep_ms(50);
    }
    cr_assert_eq(followed(path), LINES);
    cr_assert(was_restarted);
    snprintf(path, sizeof path, "%s/logs/acme/count.log.5", bed.data);
    cr_assert_eq(access(path, F_OK), 0, "nothing was moved away meanwhile");
    process_signal(follower, SIGTERM);
    command_wait(follower, 10000);
}

Test(followers, dropped_lines_are_counted_in_the_log)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_LOG_RATE_BYTES", "50000");
    testbed_set(&bed, "SOLO_LOG_BURST_BYTES", "100000");
    testbed_start(&bed);
    json_t *spec = service_spec(&bed, "acme", "flood", "flooder", "2000000", "100", NULL);
    json_object_set_new(spec, "restart", json_pack("{s:s}", "policy", "never"));
    service_deploy(&bed, spec);
    service_await(&bed, "acme", "flood", "completed", 60000);
    testbed_soloctl(&bed, &result, "logs", "acme/flood", NULL);
    expect_exit(&result, 0);
    unsigned long kept = 0, dropped = 0, lines;
    for (const char *at = result_out(&result); *at != '\0';) {
        if (sscanf(at, "solo: %lu lines (%*u bytes) were dropped since 20", &lines) == 1)
            dropped += lines;
        else
            kept++;
        at += strcspn(at, "\n");
        at += *at == '\n';
    }
    cr_assert_gt(dropped, 0);
    cr_assert_geq(kept, 100000 / 141);
    cr_assert_eq(kept + dropped, 2000000 / 100);
}

Test(followers, two_that_print_without_end_starve_nobody)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    for (int i = 0; i < 2; i++) {
        char name[16];
        snprintf(name, sizeof name, "loud%d", i);
        service_deploy(&bed, service_spec(&bed, "acme", name, "flooder", "0", "20", NULL));
    }
    uint64_t began_ns = clock_boottime_ns();
    service_deploy(&bed, service_spec(&bed, "acme", "quiet", "printer", "3", NULL));
    do
        testbed_soloctl(&bed, &result, "logs", "acme/quiet", NULL);
    while (strstr(result_out(&result), "out 3") == NULL &&
           clock_boottime_ns() - began_ns < PROMPT_MS * 1000000ull);
    expect_contains(result_out(&result), "out 3");
    service_kill(&bed, "acme", "quiet");
    cr_assert_lt(clock_boottime_ns() - began_ns, PROMPT_MS * 1000000ull);
    service_kill(&bed, "acme", "loud0");
    service_kill(&bed, "acme", "loud1");
}
