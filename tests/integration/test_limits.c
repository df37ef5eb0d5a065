/* A tenant gets what the configuration gives it, and a tenant at its limits harms nobody. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "tests/support/expect.h"

TestSuite(limits, .timeout = 120);

static json_t *limited(const struct testbed *bed, const char *tenant, const char *name,
                       const char *limit, json_int_t value)
{
    json_t *spec = service_spec(bed, tenant, name, "sleeper", NULL);
    json_object_set_new(spec, "limits", json_pack("{s:I}", limit, value));
    return spec;
}

static json_t *plain(const struct testbed *bed, const char *tenant, const char *name)
{
    return service_spec(bed, tenant, name, "sleeper", NULL);
}

static void refuse(const struct testbed *bed, json_t *spec, const char *place, const char *part)
{
    json_t *reply = NULL;
    struct problem problem = { 0 };
    enum status status = service_try_deploy(bed, spec, &reply, &problem);
    expect_refused(status, STATUS_RESOURCE_EXHAUSTED, &problem, place);
    expect_contains(problem.message, part);
    json_decref(reply);
}

Test(limits, a_tenant_has_so_many_services_and_a_kill_frees_one)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_TENANT_SERVICES_MAX", "2");
    testbed_start(&bed);
    service_deploy(&bed, plain(&bed, "acme", "a"));
    service_deploy(&bed, plain(&bed, "acme", "b"));
    uint64_t last = log_settled_id(&bed);
    refuse(&bed, plain(&bed, "acme", "c"), "tenant", "tenant acme uses 2 of 2 services");
    cr_assert_eq(log_settled_id(&bed), last, "a refusal stands in the log");
    service_deploy(&bed, plain(&bed, "acme", "b")); /* takes its own place */
    service_deploy(&bed, plain(&bed, "beta", "c")); /* another tenant has its own */
    service_kill(&bed, "acme", "a");
    service_deploy(&bed, plain(&bed, "acme", "c"));
    refuse(&bed, plain(&bed, "acme", "a"), "tenant", "2 of 2");
    struct result result = { 0 };
    testbed_soloctl(&bed, &result, "deploy", "acme/d", "--", "/bin/sleep", "1000", NULL);
    expect_exit(&result, 8);
    expect_contains(result_err(&result), "2 of 2 services");
    result_close(&result);
}

Test(limits, sums_are_bounded_and_a_redeploy_counts_its_difference)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_TENANT_MEMORY_MAX", "1073741824");
    testbed_set(&bed, "SOLO_TENANT_PROCESSES_MAX", "100");
    testbed_start(&bed);
    service_deploy(&bed, limited(&bed, "acme", "a", "memory", 600 << 20));
    refuse(&bed, limited(&bed, "acme", "b", "memory", 600 << 20), "limits.memory",
           "tenant acme uses 600 MiB of 1 GiB of memory; this would take 600 MiB, 176 MiB more "
           "than is left");
    refuse(&bed, limited(&bed, "acme", "b", "memory", (424 << 20) + 1), "limits.memory",
           "this would take 424 MiB, 1 byte more than is left");
    service_deploy(&bed, limited(&bed, "acme", "b", "memory", 400 << 20));
    service_deploy(&bed, limited(&bed, "acme", "a", "memory", 624 << 20));
    refuse(&bed, limited(&bed, "acme", "a", "memory", 625 << 20), "limits.memory", "1 GiB");
    service_deploy(&bed, limited(&bed, "acme", "a", "memory", 100 << 20));
    service_deploy(&bed, limited(&bed, "acme", "c", "tasks", 98));
    refuse(&bed, limited(&bed, "acme", "c", "tasks", 99), "limits.tasks", "100 of 100 tasks");
    refuse(&bed, plain(&bed, "acme", "d"), "limits.tasks", "this would take 1, 1 more");
    refuse(&bed, limited(&bed, "acme", "c", "tasks", 99), "limits.tasks", "99 instead of 98, 1 ");
    /* nothing of that is lost with the run, and a kill gives its part back */
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    refuse(&bed, plain(&bed, "acme", "d"), "limits.tasks", "100 of 100 tasks; this would take 1");
    service_kill(&bed, "acme", "c");
    service_deploy(&bed, limited(&bed, "acme", "c", "tasks", 97));
    service_deploy(&bed, plain(&bed, "acme", "d"));
    refuse(&bed, plain(&bed, "acme", "e"), "limits.tasks", "100 of 100 tasks");
}

Test(limits, log_and_code_are_counted_too)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_TENANT_LOG_BYTES_MAX", "104857600"); /* two with 5 files of 10 MiB */
    testbed_set(&bed, "SOLO_TENANT_CODE_BYTES_MAX", "40");
    testbed_start(&bed);
    json_t *script = json_pack("{s:s, s:s, s:s, s:s}", "tenant", "acme", "name", "a", "interpreter",
                               "sh", "code", "exec sleep 1000  # 30 bytes...");
    service_deploy(&bed, json_deep_copy(script));
    service_deploy(&bed, json_deep_copy(script));
    json_object_set_new(script, "name", json_string("b"));
    refuse(&bed, script, "code", "bytes of 40 bytes of code");
    service_deploy(&bed, plain(&bed, "acme", "b"));
    refuse(&bed, plain(&bed, "acme", "c"), "logs.max_size", "100 MiB of 100 MiB of log");
}

static json_t *row_when(const struct testbed *bed, const char *tenant, const char *name,
                        const char *key, uint64_t least)
{
    for (int i = 0; i < 600; i++) {
        json_t *row = service_row_of(bed, tenant, name);
        if (number_in(row, key) >= least)
            return row;
        json_decref(row);
        sleep_ms(50);
    }
    cr_assert_fail("%s of %s/%s stays below %lu", key, tenant, name, (unsigned long)least);
    return NULL;
}

/* By cgroup or by a look at its processes: what is used is seen, and told when it is nearly all. */
Test(limits, what_a_service_uses_is_shown_and_told_once_when_it_is_nearly_all)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    json_t *spec = service_spec(&bed, "acme", "crowd", "hog", "tasks", "18", NULL);
    json_object_set_new(spec, "limits",
                        json_pack("{s:i, s:I}", "tasks", 20, "memory", (json_int_t)(64 << 20)));
    service_deploy(&bed, spec);
    service_deploy(&bed, limited(&bed, "acme", "calm", "tasks", 20));
    event_await(&bed, 0, "resource_usage_high", "acme", "crowd", 30000);
    json_t *row = row_when(&bed, "acme", "crowd", "tasks", 18);
    expect_number(row, "tasks_max", 20);
    expect_number(row, "memory_max", 64 << 20);
    cr_assert_gt(number_in(row, "memory_bytes"), 0);
    json_decref(row);
    json_decref(row_when(&bed, "acme", "calm", "tasks", 1));
    sleep_ms(5000); /* some more looks */
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "resource_usage_high", NULL, NULL), 1);
    const json_t *payload =
        json_object_get(event_last(events, "resource_usage_high", "acme", "crowd"), "payload");
    expect_text(payload, "resource", "tasks");
    cr_assert_geq(number_in(payload, "used"), 18);
    expect_number(payload, "allowed", 20);
    json_decref(events);
    testbed_soloctl(&bed, &result, "describe", "acme/crowd", NULL);
    expect_contains(result_out(&result), "of 20");
    expect_contains(result_out(&result), "Usage (high)");
    testbed_soloctl(&bed, &result, "status", NULL);
    expect_contains(result_out(&result), "1 near a limit of memory or tasks (acme/crowd)");
    testbed_soloctl(&bed, &result, "get", "services", "-o", "wide", NULL);
    expect_contains(result_out(&result), "tasks 1 of 20");
    testbed_soloctl(&bed, &result, "get", "services", "-o", "json", NULL);
    expect_contains(result_out(&result), "\"tasks_max\": 20");
}

/* All events, when so many warnings are among them and no more come. */
static json_t *events_with_high(const struct testbed *bed, size_t wanted)
{
    for (int left_ms = 60000;; left_ms -= 250) {
        log_settled_id(bed);
        json_t *events = events_after(bed, 0);
        size_t count = events_count(events, "resource_usage_high", NULL, NULL);
        if (count == wanted)
            return events;
        json_decref(events);
        cr_assert(count < wanted && left_ms > 0, "%zu warnings, not %zu", count, wanted);
    }
}

Test(limits, a_tenants_totals_are_shown_and_told_once_when_they_are_nearly_all)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_TENANT_MEMORY_MAX", "1073741824");
    testbed_set(&bed, "SOLO_TENANT_SERVICES_MAX", "50");
    testbed_start(&bed);
    service_deploy(&bed, limited(&bed, "acme", "a", "memory", 600 << 20));
    service_deploy(&bed, limited(&bed, "acme", "b", "memory", 400 << 20));
    service_deploy(&bed, limited(&bed, "acme", "b", "memory", 420 << 20)); /* high still */
    service_deploy(&bed, limited(&bed, "acme", "b", "memory", 200 << 20)); /* neither */
    service_deploy(&bed, limited(&bed, "acme", "b", "memory", 420 << 20));
    testbed_soloctl(&bed, &result, "get", "tenants", NULL);
    expect_contains(result_out(&result), "services 2 of 50, memory 1020 MiB of 1 GiB");
    testbed_soloctl(&bed, &result, "status", NULL);
    expect_contains(result_out(&result), "1 tenants near what they are allowed (acme)");
    json_t *events = events_with_high(&bed, 1);
    json_decref(events);
    service_kill(&bed, "acme", "b");
    testbed_soloctl(&bed, &result, "status", NULL);
    expect_lacks(result_out(&result), "near what they are allowed");
    service_deploy(&bed, limited(&bed, "acme", "b", "memory", 400 << 20));
    events = events_with_high(&bed, 2);
    const json_t *payload =
        json_object_get(event_last(events, "resource_usage_high", NULL, NULL), "payload");
    expect_text(payload, "resource", "memory");
    expect_number(payload, "used", (uint64_t)1000 << 20);
    json_decref(events);
    /* Another deployd finds it so, and has nothing to tell. */
    testbed_soloctl(&bed, &result, "daemon", "restart", "deployd", NULL);
    cr_assert(testbed_wait_ready(&bed, 60000));
    service_deploy(&bed, limited(&bed, "acme", "b", "memory", 410 << 20));
    events = events_with_high(&bed, 2);
    json_decref(events);
}

/* A file of services of acme, each asking for so many MiB. */
static void write_specs(const struct testbed *bed, char file[4096], const int *sizes, size_t count)
{
    snprintf(file, 4096, "%s/specs.json", bed->dir);
    json_t *specs = json_array();
    for (size_t i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%zu", i);
        json_array_append_new(specs,
                              limited(bed, "acme", name, "memory", (json_int_t)sizes[i] << 20));
    }
    cr_assert_eq(json_dump_file(specs, file, 0), 0);
    json_decref(specs);
}

/* Each of them fits by itself. */
Test(limits, an_apply_foresees_what_its_specs_come_to_together)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char file[4096];
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_TENANT_MEMORY_MAX", "1073741824");
    testbed_start(&bed);
    write_specs(&bed, file, (const int[]){ 400, 400, 400 }, 3);
    testbed_soloctl(&bed, &result, "apply", "-f", file, NULL);
    expect_exit(&result, 8);
    expect_contains(result_err(&result), "limits.memory: tenant acme uses 0 bytes of 1 GiB memory; "
                                         "these specs together would take 1.1 GiB more");
    expect_contains(result_err(&result), "nothing was deployed");
    json_t *rows = service_rows(&bed);
    cr_assert_eq(json_array_size(rows), 0);
    json_decref(rows);
    write_specs(&bed, file, (const int[]){ 400, 400 }, 2);
    testbed_soloctl(&bed, &result, "apply", "-f", file, NULL);
    expect_exit(&result, 0);
    /* What is there already is not counted twice, and a redeploy counts its difference. */
    write_specs(&bed, file, (const int[]){ 400, 500, 124 }, 3);
    testbed_soloctl(&bed, &result, "apply", "-f", file, NULL);
    expect_exit(&result, 0);
    /* What shrinks has not shrunk before it is deployed. */
    write_specs(&bed, file, (const int[]){ 100, 500, 424 }, 3);
    testbed_soloctl(&bed, &result, "apply", "-f", file, NULL);
    expect_exit(&result, 8);
    rows = service_rows(&bed);
    cr_assert_eq(json_array_size(rows), 3);
    json_decref(rows);
}

/* What was let in stays in, whatever the configuration says later. */
Test(limits, recovery_is_never_refused)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy(&bed, plain(&bed, "acme", "a"));
    service_deploy(&bed, plain(&bed, "acme", "b"));
    testbed_kill_everything(&bed);
    testbed_set(&bed, "SOLO_TENANT_SERVICES_MAX", "1");
    testbed_start(&bed);
    service_await(&bed, "acme", "a", "running", 10000);
    service_await(&bed, "acme", "b", "running", 10000);
    service_deploy(&bed, plain(&bed, "acme", "b")); /* does not grow */
    refuse(&bed, plain(&bed, "acme", "c"), "tenant", "2 of 1 services");
}

static void await_said(const struct testbed *bed, const char *command, const char *service,
                       const char *text)
{
    for (int left_ms = 60000;; left_ms -= 50, sleep_ms(50)) {
        AUTO(result_close) struct result result = { 0 };
        testbed_soloctl(bed, &result, command, service, NULL);
        if (strstr(result_out(&result), text) != NULL)
            return;
        cr_assert_gt(left_ms, 0, "%s of %s: no \"%s\" in %s", command, service, text,
                     result_out(&result));
    }
}

/* Tenants that share a uid share its processes: there the bomb is held by nothing but a cgroup. */
Test(limits, a_tenant_at_its_limits_harms_no_other)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    if (geteuid() != 0)
        cr_skip("one uid for all");
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_TENANT_PROCESSES_MAX", "60");
    testbed_start(&bed);
    json_t *bomb = service_spec(&bed, "acme", "bomb", "hog", "tasks", "100000", NULL);
    json_object_set_new(bomb, "limits", json_pack("{s:i}", "tasks", 50));
    service_deploy(&bed, bomb);
    sleep_ms(300);
    uint64_t began = clock_boottime_ns();
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        service_deploy(&bed, service_spec(&bed, "beta", name, "hog", "tasks", "3", NULL));
    }
    cr_assert_lt(clock_boottime_ns() - began, 60000000000u);
    await_said(&bed, "logs", "beta/s9", "tasks 3");
    await_said(&bed, "logs", "acme/bomb", "Resource temporarily unavailable");
    await_said(&bed, "describe", "acme/bomb", "tasks 50 (");
    service_kill(&bed, "acme", "bomb");
}

/* A fork bomb of it fills that half; whoever else there is has the other one. */
Test(limits, a_service_without_a_bound_for_its_tasks_has_half_of_the_machines)
{
    for (unsigned as_user = 0; as_user < (geteuid() == 0 ? 2u : 1u); as_user++) {
        AUTO(testbed_close) struct testbed bed = { 0 };
        AUTO(buffer_close) struct buffer limits = { .limit = 64 * 1024 };
        AUTO(buffer_close) struct buffer most = { .limit = 4096 };
        char path[64];
        unsigned long long allowed = 0;
        testbed_open(&bed, as_user == 1 ? TESTBED_AS_USER : 0);
        testbed_start(&bed);
        service_deploy(&bed, plain(&bed, "acme", "free"));
        snprintf(path, sizeof path, "/proc/%d/limits", (int)service_pid(&bed, "acme", "free"));
        cr_assert_eq(file_read(path, &limits), STATUS_OK);
        cr_assert_eq(buffer_append(&limits, "", 1), STATUS_OK);
        cr_assert_eq(file_read("/proc/sys/kernel/pid_max", &most), STATUS_OK);
        cr_assert_eq(buffer_append(&most, "", 1), STATUS_OK);
        const char *line = strstr((const char *)limits.data, "Max processes");
        cr_assert_not_null(line);
        cr_assert_eq(sscanf(line, "Max processes %llu", &allowed), 1, "%.80s", line);
        cr_assert_leq(allowed, strtoull((const char *)most.data, NULL, 10) / 2);
    }
}

/* ---- calls that last ---- */

enum { CALLS_SENT_MAX = 200, ANSWER_MS = 60000 }; /* fewer than CALLS_PER_CONNECTION_MAX */

/* Answers until that of `msgid`, which is returned; notifications are passed over, and how many
 * refusals came before is counted. */
static json_t *answer_of(struct caller *caller, json_int_t msgid, size_t *refused)
{
    for (;;) {
        json_t *answer = caller_receive(caller, ANSWER_MS, NULL);
        cr_assert_not_null(answer);
        bool is_answer = json_integer_value(json_array_get(answer, 0)) == 1;
        if (is_answer && json_integer_value(json_array_get(answer, 1)) == msgid)
            return answer;
        *refused += is_answer && !json_is_null(json_array_get(answer, 2));
        json_decref(answer);
    }
}

/* Sends so many, and a health after them: when that is answered, they have been looked at. How
 * many were refused. */
static size_t begin_calls(struct caller *caller, const char *method, const json_t *params,
                          size_t count)
{
    AUTO(buffer_close) struct buffer frames = { .limit = 1 << 20 };
    size_t refused = 0;
    for (size_t i = 0; i < count; i++)
        caller_pack(&frames, 1000 + i, method, params);
    caller_pack(&frames, 1, "daemon.health", NULL);
    cr_assert(caller_send(caller, buffer_span(&frames)));
    json_decref(answer_of(caller, 1, &refused));
    return refused;
}

static void one_tenant_has_a_quarter(const struct testbed *bed, const char *daemon,
                                     const char *method, const json_t *params, const char *token,
                                     size_t most)
{
    struct caller callers[1 + 4096 / 4 / CALLS_SENT_MAX + 1], other = CALLER_NONE;
    json_t *of_token = json_deep_copy(params);
    char path[4096];
    size_t opened = 0;
    json_object_set_new(of_token, "token", json_string(token));
    testbed_socket(bed, daemon, path);
    for (size_t left = most / 4; left > 0;) {
        size_t count = left < CALLS_SENT_MAX ? left : CALLS_SENT_MAX;
        struct caller *caller = &callers[opened++];
        cr_assert_eq(caller_open(caller, path), STATUS_OK);
        cr_assert_eq(begin_calls(caller, method, of_token, count), 0, "%s", method);
        left -= count;
    }
    cr_assert_eq(caller_open(&other, path), STATUS_OK);
    cr_assert_eq(begin_calls(&other, method, of_token, 3), 3, "%s: more than a quarter", method);
    cr_assert_eq(begin_calls(&other, method, params, 1), 0, "%s: operators suffer", method);
    for (size_t i = 0; i < opened; i++)
        caller_close(&callers[i]);
    caller_close(&other);
    json_decref(of_token);
}

Test(limits, a_tenant_takes_a_quarter_of_what_calls_that_last_there_may_be)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char token[128];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy(&bed, plain(&bed, "acme", "a"));
    testbed_soloctl(&bed, &result, "token", "create", "-t", "acme", "--permission", "read", NULL);
    expect_exit(&result, 0);
    snprintf(token, sizeof token, "%.*s", (int)strcspn(result_out(&result), "\n"),
             result_out(&result));
    json_t *logs = json_pack("{s:s, s:s, s:b}", "tenant", "acme", "name", "a", "follow", 1);
    json_t *wait = json_pack("{s:s, s:s, s:s}", "tenant", "acme", "name", "a", "condition", "gone");
    json_t *watch = json_pack("{s:s, s:b}", "tenant", "acme", "from_end", 1);
    one_tenant_has_a_quarter(&bed, "deployd", "service.logs", logs, token, LOG_STREAMS_MAX);
    one_tenant_has_a_quarter(&bed, "deployd", "service.wait", wait, token, WAITS_MAX);
    one_tenant_has_a_quarter(&bed, "eventd", "event.watch", watch, token, WATCHES_MAX);
    json_decref(logs);
    json_decref(wait);
    json_decref(watch);
}
