/* Deploying, looking and waiting. Waiting for a state polls service.describe: what a client without
 * a stream would do, and good enough for a test. */
#include "tests/support/services.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/name.h"

enum {
    POLL_MS = 10,
    SETTLE_MS = 250,
    GUARD_MS = 60000, /* what never comes is told late: what comes late is no fault */
    OUTBOX_MS = 20000,
    OUTBOX_ANSWER_MS = 2000,
};

void sleep_ms(int milliseconds)
{
    struct timespec delay = { milliseconds / 1000, milliseconds % 1000 * 1000000L };
    nanosleep(&delay, NULL);
}

const char *text_in(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

uint64_t number_in(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

json_t *service_spec(const struct testbed *bed, const char *tenant, const char *name,
                     const char *program, ...)
{
    char path[4096];
    json_t *argv = json_array();
    json_array_append_new(argv, json_string(testbed_program(bed, program, path)));
    va_list arguments;
    va_start(arguments, program);
    for (const char *argument; (argument = va_arg(arguments, const char *)) != NULL;)
        json_array_append_new(argv, json_string(argument));
    va_end(arguments);
    return json_pack("{s:s, s:s, s:o}", "tenant", tenant, "name", name, "argv", argv);
}

enum status service_try_deploy(const struct testbed *bed, json_t *spec, json_t **reply,
                               struct problem *problem)
{
    return testbed_call(bed, "deployd", "service.deploy", json_pack("{s:o}", "spec", spec), reply,
                        problem);
}

uint64_t service_deploy(const struct testbed *bed, json_t *spec)
{
    json_t *reply = testbed_ask(bed, "deployd", "service.deploy", json_pack("{s:o}", "spec", spec));
    uint64_t generation = number_in(reply, "generation");
    if (generation == 0)
        test_fail("service.deploy answered without a generation");
    json_decref(reply);
    return generation;
}

uint64_t service_deploy_sleeper(const struct testbed *bed, const char *tenant, const char *name)
{
    return service_deploy(bed, service_spec(bed, tenant, name, "sleeper", NULL));
}

static json_t *service_params(const char *tenant, const char *name)
{
    return json_pack("{s:s, s:s}", "tenant", tenant, "name", name);
}

uint64_t service_kill(const struct testbed *bed, const char *tenant, const char *name)
{
    json_t *reply = testbed_ask(bed, "deployd", "service.kill", service_params(tenant, name));
    uint64_t generation = number_in(reply, "generation");
    json_decref(reply);
    return generation;
}

json_t *service_row_of(const struct testbed *bed, const char *tenant, const char *name)
{
    json_t *reply = NULL;
    struct problem problem = { 0 };
    enum status status = testbed_call(bed, "deployd", "service.describe",
                                      service_params(tenant, name), &reply, &problem);
    if (status == STATUS_NOT_FOUND)
        return NULL;
    if (status != STATUS_OK)
        test_fail("service.describe %s/%s: %s %s", tenant, name, status_name(status),
                  problem.message);
    json_t *row = json_incref(json_object_get(reply, "service"));
    json_decref(reply);
    return row;
}

json_t *service_rows(const struct testbed *bed)
{
    json_t *rows = json_array();
    char after[SERVICE_KEY_BYTES] = "";
    for (;;) {
        json_t *params = after[0] == '\0' ? json_object() : json_pack("{s:s}", "after", after);
        json_t *reply = testbed_ask(bed, "deployd", "service.list", params);
        json_array_extend(rows, json_object_get(reply, "services"));
        const char *next = text_in(reply, "next");
        snprintf(after, sizeof after, "%s", next == NULL ? "" : next);
        json_decref(reply);
        if (after[0] == '\0')
            return rows;
    }
}

pid_t service_pid(const struct testbed *bed, const char *tenant, const char *name)
{
    json_t *row = service_row_of(bed, tenant, name);
    pid_t pid = (pid_t)number_in(row, "pid");
    json_decref(row);
    return pid;
}

static uint64_t deadline_ns(int timeout_ms)
{
    return clock_boottime_ns() +
           (uint64_t)(timeout_ms > GUARD_MS ? timeout_ms : GUARD_MS) * 1000000;
}

void service_await(const struct testbed *bed, const char *tenant, const char *name,
                   const char *state, int timeout_ms)
{
    uint64_t end_ns = deadline_ns(timeout_ms);
    for (;;) {
        json_t *row = service_row_of(bed, tenant, name);
        const char *found = text_in(row, "state");
        bool is_there = found != NULL && strcmp(found, state) == 0;
        if (!is_there && clock_boottime_ns() >= end_ns) {
            char *text = row == NULL ? NULL : json_dumps(row, 0);
            test_fail("%s/%s is not %s after %d ms: %s", tenant, name, state, timeout_ms,
                      text == NULL ? "no row" : text);
        }
        json_decref(row);
        if (is_there)
            return;
        sleep_ms(POLL_MS);
    }
}

pid_t service_await_new_pid(const struct testbed *bed, const char *tenant, const char *name,
                            pid_t old, int timeout_ms)
{
    uint64_t end_ns = deadline_ns(timeout_ms);
    for (;;) {
        json_t *row = service_row_of(bed, tenant, name);
        pid_t pid = (pid_t)number_in(row, "pid");
        const char *state = text_in(row, "state");
        bool runs = state != NULL && strcmp(state, "running") == 0 && pid != 0 && pid != old;
        if (!runs && clock_boottime_ns() >= end_ns) {
            char *text = row == NULL ? NULL : json_dumps(row, 0);
            test_fail("%s/%s does not run anew after %d ms (old pid %d): %s", tenant, name,
                      timeout_ms, old, text == NULL ? "no row" : text);
        }
        json_decref(row);
        if (runs)
            return pid;
        sleep_ms(POLL_MS);
    }
}

json_t *events_after(const struct testbed *bed, uint64_t after)
{
    json_t *events = json_array();
    for (;;) {
        json_t *reply = testbed_ask(
            bed, "eventd", "event.query",
            json_pack("{s:I, s:i}", "after", (json_int_t)after, "limit", QUERY_LIMIT_MAX));
        json_array_extend(events, json_object_get(reply, "events"));
        uint64_t next = number_in(reply, "next");
        json_decref(reply);
        if (next == 0)
            return events;
        after = next;
    }
}

static bool event_matches(const json_t *event, const char *type, const char *tenant,
                          const char *name)
{
    char key[SERVICE_KEY_BYTES], subject[SERVICE_KEY_BYTES + 16];
    const char *found = text_in(event, "type");
    if (found == NULL || strcmp(found, type) != 0)
        return false;
    const char *whose = text_in(event, "tenant");
    if (tenant != NULL && (whose == NULL || strcmp(whose, tenant) != 0))
        return false;
    if (tenant == NULL || name == NULL)
        return true;
    snprintf(subject, sizeof subject, "service/%s", service_key(key, tenant, name));
    const char *about = text_in(event, "subject");
    return about != NULL && strcmp(about, subject) == 0;
}

size_t events_count(const json_t *events, const char *type, const char *tenant, const char *name)
{
    size_t count = 0, i;
    json_t *event;
    json_array_foreach(events, i, event) count += event_matches(event, type, tenant, name);
    return count;
}

json_t *event_last(const json_t *events, const char *type, const char *tenant, const char *name)
{
    json_t *last = NULL, *event;
    size_t i;
    json_array_foreach(events, i, event) if (event_matches(event, type, tenant, name)) last = event;
    return last;
}

void event_await(const struct testbed *bed, uint64_t after, const char *type, const char *tenant,
                 const char *name, int timeout_ms)
{
    uint64_t end_ns = deadline_ns(timeout_ms);
    for (;;) {
        json_t *events = events_after(bed, after);
        bool is_there = events_count(events, type, tenant, name) > 0;
        if (!is_there && clock_boottime_ns() >= end_ns) {
            char *text = json_dumps(events, 0);
            test_fail("no %s of %s/%s after %d ms, only %s", type, tenant, name, timeout_ms, text);
        }
        json_decref(events);
        if (is_there)
            return;
        sleep_ms(POLL_MS);
    }
}

uint64_t log_last_id(const struct testbed *bed)
{
    json_t *reply = testbed_ask(bed, "eventd", "event.query",
                                json_pack("{s:i, s:b}", "limit", 1, "newest_first", 1));
    uint64_t last = number_in(reply, "last_id");
    json_decref(reply);
    return last;
}

/* Whoever does not answer, is not there or is refused by the log is not waited for. */
static bool is_sending(const struct testbed *bed, const char *daemon, const char *method)
{
    char path[4096];
    struct caller caller;
    json_t *status = NULL;
    if (caller_open(&caller, testbed_socket(bed, daemon, path)) == STATUS_OK)
        caller_call(&caller, method, NULL, OUTBOX_ANSWER_MS, &status, NULL);
    caller_close(&caller);
    const char *state = text_in(status, "outbox_state");
    bool is = state != NULL && strcmp(state, "sending") == 0;
    json_decref(status);
    return is;
}

uint64_t log_settled_id(const struct testbed *bed)
{
    uint64_t last = log_last_id(bed), before, end_ns = clock_boottime_ns() + OUTBOX_MS * 1000000ull;
    bool is_sent;
    do {
        before = last;
        is_sent = (!is_sending(bed, "tokend", "token.status") &&
                   !is_sending(bed, "vaultd", "vault.status")) ||
                  clock_boottime_ns() > end_ns;
        sleep_ms(SETTLE_MS);
        last = log_last_id(bed);
    } while (last != before || !is_sent);
    return last;
}
