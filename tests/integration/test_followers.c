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

enum { BURSTS = 100, LINES_PER_BURST = 100, LINES = BURSTS * LINES_PER_BURST, PROMPT_MS = 60000 };

/* Prints LINES numbered lines in bursts, into files that hold a few bursts each; half of them when
 * it is told to go on. */
static json_t *counter_spec(void)
{
    static const char script[] =
        "n=0; for b in $(seq 100); do for i in $(seq 100); do n=$((n+1)); echo \"line $n\"; done; "
        "sleep 0.03; while [ $b = 50 ] && [ ! -e go ]; do sleep 0.1; done; done; sleep 1000";
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
    char soloctl[4200], path[400], go[400];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy(&bed, counter_spec());
    snprintf(go, sizeof go, "%s/tenants/acme/count/go", bed.data);
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
            cr_assert_eq(file_write(go, span_of_text(""), 0644), STATUS_OK);
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

/* Waits until the text stands in the file, behind an earlier one when there is `after`. */
static void await_text(const char *path, const char *after, const char *text)
{
    bool is_there = false;
    for (uint64_t until = clock_boottime_ns() + 60 * 1000000000ull;
         !is_there && clock_boottime_ns() < until; sleep_ms(20)) {
        AUTO(buffer_close) struct buffer seen = { .limit = 16u << 20 };
        if (file_read(path, &seen) != STATUS_OK)
            continue;
        buffer_append(&seen, "", 1);
        const char *from = strstr((const char *)seen.data, after);
        is_there = from != NULL && strstr(from, text) != NULL;
    }
    cr_assert(is_there, "\"%s\" did not come", text);
}

Test(followers, a_follower_is_told_that_the_folder_was_removed_and_goes_on)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char soloctl[4200], path[400], folder[400];
    static const char script[] = "while :; do echo beat; sleep 0.1; done";
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy(&bed, json_pack("{s:s, s:s, s:[s,s,s]}", "tenant", "acme", "name", "heart",
                                   "argv", "sh", "-c", script));
    snprintf(soloctl, sizeof soloctl, "%s/soloctl", bed.bin);
    snprintf(path, sizeof path, "%s/followed", bed.dir);
    snprintf(folder, sizeof folder, "%s/logs/acme", bed.data);
    const char *const follow[] = { soloctl, "--run", bed.run, "logs", "acme/heart", "-f", NULL };
    const char *const removal[] = { "/bin/rm", "-rf", folder, NULL };
    pid_t follower = command_start(
        &(struct command){ .argv = follow, .environment = testbed_environment(&bed) }, path);
    await_text(path, "", "beat\nbeat\n");
    do /* a line that comes meanwhile makes a file in it */
        command_run(&(struct command){ .argv = removal }, &result);
    while (result.exit_code != 0);
    await_text(path, "", "solo: the folder of its output was removed");
    await_text(path, "was removed", "beat\nbeat\n");
    process_signal(follower, SIGTERM);
    command_wait(follower, 10000);
}

static void lines_count(const char *text, unsigned long *kept, unsigned long *dropped)
{
    unsigned long lines;
    *kept = *dropped = 0;
    for (const char *at = text; *at != '\0';) {
        if (sscanf(at, "solo: %lu lines (%*u bytes) were dropped since 20", &lines) == 1)
            *dropped += lines;
        else
            ++*kept;
        at += strcspn(at, "\n");
        at += *at == '\n';
    }
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
    unsigned long kept = 0, dropped = 0;
    /* What was dropped is told a moment later. */
    for (int i = 0; i < 300 && kept + dropped < 2000000 / 100; i++) {
        sleep_ms(i == 0 ? 0 : 100);
        testbed_soloctl(&bed, &result, "logs", "acme/flood", NULL);
        expect_exit(&result, 0);
        lines_count(result_out(&result), &kept, &dropped);
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

static pid_t start_soloctl(const struct testbed *bed, const char *const *arguments,
                           const char *path)
{
    char soloctl[4200];
    const char *argv[12] = { soloctl, "--run", bed->run };
    snprintf(soloctl, sizeof soloctl, "%s/soloctl", bed->bin);
    for (size_t i = 0; arguments[i] != NULL; i++)
        argv[3 + i] = arguments[i];
    return command_start(&(struct command){ .argv = argv, .environment = testbed_environment(bed) },
                         path);
}

/* Whoever waits for something that has not come yet goes on waiting with the next deployd. */
Test(followers, those_who_wait_survive_a_restart_of_deployd)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char quiet[400], fresh[400], gone[400];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    /* Its ticks show when somebody follows. */
    static const char script[] =
        "echo old; while [ ! -e quiet ]; do echo tick; sleep 0.1; done; echo last; "
        "while [ ! -e go ]; do sleep 0.1; done; echo new; sleep 1000";
    static const char silent[] = "while [ ! -e go ]; do sleep 0.1; done; echo new; sleep 1000";
    service_deploy(&bed, json_pack("{s:s, s:s, s:[s,s,s]}", "tenant", "acme", "name", "quiet",
                                   "argv", "sh", "-c", silent));
    service_deploy(&bed, json_pack("{s:s, s:s, s:[s,s,s]}", "tenant", "acme", "name", "talks",
                                   "argv", "sh", "-c", script));
    char log[400];
    snprintf(log, sizeof log, "%s/logs/acme/talks.log", bed.data);
    await_text(log, "", "old\n");
    snprintf(quiet, sizeof quiet, "%s/quiet", bed.dir);
    snprintf(fresh, sizeof fresh, "%s/fresh", bed.dir);
    snprintf(gone, sizeof gone, "%s/gone", bed.dir);
    static const char *const follow[] = { "logs", "acme/quiet", "-f", NULL };
    static const char *const follow_new[] = { "logs", "acme/talks", "-f", "-n", "0", NULL };
    static const char *const wait[] = { "wait",      "acme/quiet", "--for", "gone",
                                        "--timeout", "4m",         NULL };
    pid_t followers[] = { start_soloctl(&bed, follow, quiet),
                          start_soloctl(&bed, follow_new, fresh) };
    pid_t waiter = start_soloctl(&bed, wait, gone);
    await_text(fresh, "", "tick\n");
    char silence[400];
    snprintf(silence, sizeof silence, "%s/tenants/acme/talks/quiet", bed.data);
    cr_assert_eq(file_write(silence, span_of_text(""), 0644), STATUS_OK);
    await_text(fresh, "", "last\n");
    sleep_ms(500); /* the others began to wait before, most probably */
    testbed_soloctl(&bed, &result, "daemon", "restart", "deployd", NULL);
    expect_exit(&result, 0);
    static const char *const names[] = { "quiet", "talks" };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char go[400];
        snprintf(go, sizeof go, "%s/tenants/acme/%s/go", bed.data, names[i]);
        cr_assert_eq(file_write(go, span_of_text(""), 0644), STATUS_OK);
    }
    await_text(quiet, "", "new\n");
    await_text(fresh, "", "new\n");
    AUTO(buffer_close) struct buffer text = { .limit = 1u << 20 };
    cr_assert_eq(file_read(fresh, &text), STATUS_OK);
    buffer_append(&text, "", 1);
    const char *seen = strstr((const char *)text.data, "last\n");
    cr_assert_not_null(seen);
    cr_assert_str_eq(seen, "last\nnew\n", "%s", (const char *)text.data);
    expect_lacks((const char *)text.data, "old");
    testbed_soloctl(&bed, &result, "logs", "acme/talks", "-n", "0", NULL);
    expect_exit(&result, 0);
    cr_assert_str_eq(result_out(&result), "");
    for (size_t i = 0; i < COUNT_OF(followers); i++) {
        process_signal(followers[i], SIGTERM);
        command_wait(followers[i], 10000);
    }
    service_kill(&bed, "acme", "quiet");
    cr_assert_eq(command_wait(waiter, 60000), 0);
    await_text(gone, "", "acme/quiet is gone");
}
