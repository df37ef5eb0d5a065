/* Captured output: every line, which stream, bounded in size; and the live tail of the log. */
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(output, .timeout = 120);

static void await_output(const struct testbed *bed, struct result *result, const char *service,
                         const char *text)
{
    for (int i = 0; i < 3000; i++) {
        testbed_soloctl(bed, result, "logs", service, NULL);
        if (result->exit_code == 0 && strstr(result_out(result), text) != NULL)
            return;
        sleep_ms(20);
    }
    cr_assert_fail("\"%s\" never came: %s%s", text, result_out(result), result_err(result));
}

Test(output, both_streams_are_kept_and_told_apart)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy(&bed, service_spec(&bed, "acme", "talk", "printer", "5", NULL));
    await_output(&bed, &result, "acme/talk", "err 5"); /* each stream comes by itself */
    await_output(&bed, &result, "acme/talk", "done");
    for (int i = 1; i <= 5; i++) {
        char line[32];
        snprintf(line, sizeof line, "out %d ", i);
        expect_contains(result_out(&result), line);
        snprintf(line, sizeof line, "err %d", i);
        expect_contains(result_out(&result), line);
    }
    testbed_soloctl(&bed, &result, "logs", "acme/talk", "--stream", "err", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "err 5");
    expect_lacks(result_out(&result), "out 1");
    testbed_soloctl(&bed, &result, "logs", "acme/talk", "--stream", "out", "-n", "2", NULL);
    expect_exit(&result, 0);
    expect_lacks(result_out(&result), "out 1 ");
    expect_contains(result_out(&result), "done");
    /* it is there after a crash of everything, and after the service is gone */
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    testbed_soloctl(&bed, &result, "logs", "acme/talk", NULL);
    expect_contains(result_out(&result), "out 5 ");
    service_kill(&bed, "acme", "talk");
    testbed_soloctl(&bed, &result, "logs", "acme/talk", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "out 5 ");
}

Test(output, a_flood_stays_within_its_bound)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    json_t *spec = service_spec(&bed, "acme", "flood", "printer", "4000", "400", NULL);
    json_object_set_new(spec, "logs", json_pack("{s:s, s:i}", "max_size", "64KiB", "files", 2));
    service_deploy(&bed, spec);
    await_output(&bed, &result, "acme/flood", "done");
    char command[400];
    snprintf(command, sizeof command, "%s/logs/acme", bed.data);
    const char *const argv[] = { "/usr/bin/du", "-sb", command, NULL };
    command_run(&(struct command){ .argv = argv, .environment = testbed_environment(&bed) },
                &result);
    expect_exit(&result, 0);
    long bytes = atol(result_out(&result));
    cr_assert_gt(bytes, 1000);
    cr_assert_lt(bytes, 300 * 1024, "%ld bytes are kept of a service that may have 2 x 64 KiB",
                 bytes);
}

Test(output, control_characters_do_not_reach_the_terminal_through_tables)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    json_t *spec = service_spec(&bed, "acme", "evil", "sleeper", "\x1b[31mred", NULL);
    json_object_set_new(spec, "env", json_pack("{s:s}", "A", "\x1b]0;title\x07"));
    service_deploy(&bed, spec);
    testbed_soloctl(&bed, &result, "describe", "acme/evil", NULL);
    expect_exit(&result, 0);
    expect_lacks(result_out(&result), "\x1b");
    testbed_soloctl(&bed, &result, "get", "services", NULL);
    expect_lacks(result_out(&result), "\x1b");
}

/* Takes notifications until number `last` was seen; every number once and in order. */
static uint64_t take_events(struct caller *caller, uint64_t next, uint64_t last)
{
    while (next <= last) {
        json_t *message = caller_receive(caller, 60000, NULL);
        if (message == NULL)
            return next;
        if (json_integer_value(json_array_get(message, 0)) != 2) {
            json_decref(message);
            return next; /* the call's end: the daemon went */
        }
        json_t *params = json_array_get(message, 2);
        cr_assert_str_eq(json_string_value(json_array_get(message, 1)), "event.batch");
        json_t *batch = json_array_get(params, 1);
        size_t i;
        json_t *event;
        json_array_foreach(json_object_get(batch, "events"), i, event) cr_assert_eq(
            number_in(event, "id"), next++, "missed or repeated before %lu", (unsigned long)next);
        json_decref(message);
    }
    return next;
}

Test(output, a_watch_misses_nothing_over_a_restart_of_eventd)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    char path[4096];
    testbed_socket(&bed, "eventd", path);
    uint64_t next = 1;
    for (int round = 0; round < 3; round++) {
        struct caller caller;
        cr_assert_eq(caller_open(&caller, path), STATUS_OK);
        AUTO(buffer_close) struct buffer frame = { .limit = 4096 };
        json_t *params = json_pack("{s:I}", "after", (json_int_t)(next - 1));
        caller_pack(&frame, 1, "event.watch", params);
        json_decref(params);
        cr_assert(caller_send(&caller, buffer_span(&frame)));
        for (int i = 0; i < 20; i++)
            json_decref(
                testbed_ask(&bed, "eventd", "event.append",
                            json_pack("{s:s, s:{s:i}}", "type", "app.tick", "payload", "i", i)));
        uint64_t last = log_last_id(&bed);
        next = take_events(&caller, next, last);
        cr_assert_gt(next, last, "the watch is behind");
        process_signal(testbed_daemon(&bed, "eventd"), SIGKILL);
        caller_close(&caller);
        json_decref(
            testbed_ask(&bed, "eventd", "event.append", json_pack("{s:s}", "type", "app.between")));
    }
    cr_assert_gt(next, 60);
}
