/* A thousand services of fifty tenants, compared field by field before and after the loss of every
 * process: what came back is what was there. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(many_services, .timeout = 540);

enum { TENANTS = 50, SERVICES = 1000, SCRIPT_EVERY = 20 };

/* What can be seen of one service from outside. */
struct sight {
    json_t *description; /* service.describe: row and spec */
    struct buffer cmdline, environment, limits, code;
};

static void names_of(size_t i, char tenant[16], char name[16])
{
    snprintf(tenant, 16, "t%02zu", i % TENANTS);
    snprintf(name, 16, "s%03zu", i / TENANTS);
}

static json_t *spec_of(const struct testbed *bed, size_t i)
{
    char tenant[16], name[16], word[64];
    names_of(i, tenant, name);
    snprintf(word, sizeof word, "argument %zu with spaces and \xc3\xbc", i);
    json_t *spec;
    if (i % SCRIPT_EVERY == 0) {
        char code[200], sleeper[4096];
        snprintf(code, sizeof code, "# script %zu\nexec %.100s\n", i,
                 testbed_program(bed, "sleeper", sleeper));
        spec = json_pack("{s:s, s:s, s:s, s:s, s:[s]}", "tenant", tenant, "name", name, "code",
                         code, "interpreter", "sh", "argv", word);
    } else {
        spec = service_spec(bed, tenant, name, "sleeper", word, NULL);
    }
    json_object_set_new(spec, "env", json_pack("{s:s, s:s}", "NUMBER", name, "TEXT", word));
    char timeout[16];
    snprintf(timeout, sizeof timeout, "%zus", 30 + i % 7);
    json_object_set_new(spec, "stop", json_pack("{s:s}", "timeout", timeout));
    return spec;
}

/* The mark differs from start to start; everything else must not. */
static void drop_instance(struct buffer *environment)
{
    for (size_t at = 0; at < environment->size;) {
        char *entry = (char *)environment->data + at;
        size_t size = strlen(entry) + 1;
        if (strncmp(entry, "SOLO_INSTANCE=", 14) == 0) {
            memmove(entry, entry + size, environment->size - at - size);
            environment->size -= size;
        } else {
            at += size;
        }
    }
}

static void sight_take(const struct testbed *bed, size_t i, struct sight *sight)
{
    char tenant[16], name[16], path[4096];
    names_of(i, tenant, name);
    sight->cmdline.limit = sight->environment.limit = sight->limits.limit = sight->code.limit =
        1 << 20;
    sight->description = testbed_ask(bed, "deployd", "service.describe",
                                     json_pack("{s:s, s:s}", "tenant", tenant, "name", name));
    json_t *row = json_object_get(sight->description, "service");
    expect_text(row, "state", "running");
    pid_t pid = (pid_t)number_in(row, "pid");
    /* A script becomes the sleeper; until then its command line is the interpreter's. */
    if (i % SCRIPT_EVERY == 0) {
        for (int k = 0; k < 12000; k++) {
            cr_assert(process_read(pid, "cmdline", &sight->cmdline));
            if (memmem(sight->cmdline.data, sight->cmdline.size, "/sleeper", 8) != NULL)
                break;
            sleep_ms(5);
        }
        snprintf(path, sizeof path, "%s/tenants/%s/%s/%lu/code", bed->run, tenant, name,
                 (unsigned long)number_in(row, "generation"));
        cr_assert_eq(file_read(path, &sight->code), STATUS_OK, "%s", path);
    }
    cr_assert(process_read(pid, "cmdline", &sight->cmdline), "%s/%s: pid %d", tenant, name, pid);
    cr_assert(process_read(pid, "environ", &sight->environment));
    cr_assert(process_read(pid, "limits", &sight->limits));
    drop_instance(&sight->environment);
}

static void sight_close(struct sight *sight)
{
    json_decref(sight->description);
    buffer_close(&sight->cmdline);
    buffer_close(&sight->environment);
    buffer_close(&sight->limits);
    buffer_close(&sight->code);
}

static void expect_same_sight(size_t i, const struct sight *before, const struct sight *after)
{
    json_t *old = json_object_get(before->description, "service");
    json_t *new = json_object_get(after->description, "service");
    static const char *const texts[] = { "tenant", "name", "spec_hash" };
    for (size_t k = 0; k < COUNT_OF(texts); k++)
        expect_text(new, texts[k], text_in(old, texts[k]));
    expect_number(new, "generation", number_in(old, "generation"));
    expect_number(new, "since", number_in(old, "since"));
    cr_assert(json_equal(json_object_get(before->description, "spec"),
                         json_object_get(after->description, "spec")),
              "the spec of service %zu differs", i);
    cr_assert(span_equal(buffer_span(&before->cmdline), buffer_span(&after->cmdline)),
              "the arguments of service %zu differ", i);
    cr_assert(span_equal(buffer_span(&before->environment), buffer_span(&after->environment)),
              "the environment of service %zu differs", i);
    cr_assert(span_equal(buffer_span(&before->limits), buffer_span(&after->limits)),
              "the limits of service %zu differ", i);
    cr_assert(span_equal(buffer_span(&before->code), buffer_span(&after->code)),
              "the code of service %zu differs", i);
}

/* Deploys over one connection, many requests on the way. */
static void deploy_all(const struct testbed *bed)
{
    enum { IN_FLIGHT = 32 };
    char path[4096];
    struct caller caller;
    cr_assert_eq(caller_open(&caller, testbed_socket(bed, "deployd", path)), STATUS_OK);
    size_t sent = 0, answered = 0;
    while (answered < SERVICES) {
        AUTO(buffer_close) struct buffer frames = { .limit = 4 << 20 };
        for (; sent < SERVICES && sent - answered < IN_FLIGHT; sent++) {
            json_t *params = json_pack("{s:o}", "spec", spec_of(bed, sent));
            caller_pack(&frames, sent, "service.deploy", params);
            json_decref(params);
        }
        cr_assert(caller_send(&caller, buffer_span(&frames)));
        json_t *answer = caller_receive(&caller, 60000, NULL);
        cr_assert_not_null(answer, "no answer after %zu deploys", answered);
        if (!json_is_null(json_array_get(answer, 2))) {
            char *text = json_dumps(answer, 0);
            cr_assert_fail("deploy %zu: %s", answered, text);
        }
        json_decref(answer);
        answered++;
    }
    caller_close(&caller);
}

static size_t processes_of(const struct testbed *bed, const char *program)
{
    char path[4096];
    pid_t pids[1];
    return process_find(testbed_program(bed, program, path), pids, 1);
}

Test(many_services, come_back_identical_after_the_loss_of_every_process)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_SHUTDOWN_TIMEOUT_MS", "60000");
    testbed_set(&bed, "SOLO_RECOVERY_TIMEOUT_MS", "120000");
    testbed_start(&bed);
    deploy_all(&bed);
    static struct sight before[SERVICES], after;
    for (size_t i = 0; i < SERVICES; i++)
        sight_take(&bed, i, &before[i]);
    cr_assert_eq(processes_of(&bed, "sleeper"), SERVICES);

    testbed_kill_everything(&bed);
    testbed_recoveryd(&bed, &result, "--dry-run", "-o", "json", NULL);
    expect_exit(&result, 0);
    json_t *plan = result_json(&result);
    expect_number(json_object_get(plan, "summary"), "start", SERVICES);
    json_decref(plan);
    uint64_t begin = clock_boottime_ns();
    testbed_start(&bed);
    printf("%d services of %d tenants were back after %lu ms\n", SERVICES, TENANTS,
           (unsigned long)((clock_boottime_ns() - begin) / 1000000));

    for (size_t i = 0; i < SERVICES; i++) {
        sight_take(&bed, i, &after);
        expect_same_sight(i, &before[i], &after);
        sight_close(&after);
        sight_close(&before[i]);
        after = (struct sight){ 0 };
    }
    cr_assert_eq(processes_of(&bed, "sleeper"), SERVICES);
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "service_recovered", NULL, NULL), SERVICES);
    cr_assert_eq(events_count(events, "tenant_created", NULL, NULL), TENANTS);
    json_decref(events);
    testbed_recoveryd(&bed, &result, "verify", "--full", NULL);
    expect_exit(&result, 0);
    testbed_recoveryd(&bed, &result, "--dry-run", "-o", "json", NULL);
    plan = result_json(&result);
    expect_number(json_object_get(plan, "summary"), "keep", SERVICES);
    cr_assert_not(json_is_true(json_object_get(plan, "has_changes")));
    json_decref(plan);
}
