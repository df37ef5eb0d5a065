/* SIGTERM, and restarts, in the midst of work: what was acknowledged is there, whoever was not
 * answered knows it, and nobody else notices. */
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/uuid.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"
#include "tests/support/secrets.h"

TestSuite(interrupted, .timeout = 240);

/* --- requests in flight --- */

enum { CONNECTIONS = 5, EACH = 100, IN_FLIGHT = CONNECTIONS * EACH, SERVICES = 200, TENANTS = 4 };

static json_t *spec_of(const struct testbed *bed, const char *prefix, int i)
{
    char tenant[16], name[16];
    snprintf(tenant, sizeof tenant, "t%d", i % TENANTS);
    snprintf(name, sizeof name, "%s%d", prefix, i);
    return service_spec(bed, tenant, name, "sleeper", NULL);
}

static void services_apply(const struct testbed *bed, int count)
{
    char path[300];
    AUTO(buffer_close) struct buffer file = { .limit = 1 << 20 };
    AUTO(result_close) struct result applied = { 0 };
    for (int i = 0; i < count; i++) {
        json_t *spec = spec_of(bed, "s", i);
        char *text = json_dumps(spec, JSON_COMPACT);
        buffer_append(&file, text, strlen(text));
        buffer_append(&file, "\n", 1);
        free(text);
        json_decref(spec);
    }
    snprintf(path, sizeof path, "%s/specs", bed->dir);
    cr_assert_eq(file_write(path, buffer_span(&file), 0644), STATUS_OK);
    testbed_soloctl(bed, &applied, "apply", "-f", path, NULL);
    expect_exit(&applied, 0);
}

struct flight {
    struct caller caller;
    bool is_deploys;
    bool was_answered[EACH];
    uint64_t event_id[EACH]; /* 0: not acknowledged */
    size_t acknowledged, refused;
};

/* Half of the connections append, half deploy. */
static void flight_begin(const struct testbed *bed, struct flight *flight, int index)
{
    char path[4096];
    AUTO(buffer_close) struct buffer frames = { .limit = 1 << 20 };
    flight->is_deploys = index % 2 == 0;
    testbed_socket(bed, flight->is_deploys ? "deployd" : "eventd", path);
    cr_assert_eq(caller_open(&flight->caller, path), STATUS_OK);
    for (int i = 0; i < EACH; i++) {
        int n = index * EACH + i;
        json_t *params = flight->is_deploys
                             ? json_pack("{s:o}", "spec", spec_of(bed, "new", n))
                             : json_pack("{s:s, s:{s:i}}", "type", "app.flight", "payload", "n", n);
        caller_pack(&frames, (uint64_t)i + 1,
                    flight->is_deploys ? "service.deploy" : "event.append", params);
        json_decref(params);
    }
    cr_assert(caller_send(&flight->caller, buffer_span(&frames)));
}

/* Reads on until the connection ends. */
static void flight_end(struct flight *flight)
{
    bool is_closed = false;
    for (json_t *answer; (answer = caller_receive(&flight->caller, 60000, &is_closed)) != NULL;) {
        size_t i = (size_t)json_integer_value(json_array_get(answer, 1)) - 1;
        cr_assert_lt(i, (size_t)EACH);
        cr_assert_not(flight->was_answered[i], "answered twice");
        flight->was_answered[i] = true;
        json_t *error = json_array_get(answer, 2), *result = json_array_get(answer, 3);
        if (json_is_null(error)) {
            flight->acknowledged++;
            flight->event_id[i] = number_in(result, flight->is_deploys ? "generation" : "event_id");
            cr_assert_gt(flight->event_id[i], 0);
        } else {
            flight->refused++;
            cr_assert_gt(number_in(error, "retry_after_ms"), 0, "%s", text_in(error, "message"));
        }
        json_decref(answer);
    }
    cr_assert(is_closed, "somebody was neither answered nor cut off");
    caller_close(&flight->caller);
}

/* What was acknowledged is in the log, under the number that was told. */
static void flight_judge(const struct flight *flight, int index, const json_t *events)
{
    for (int i = 0; i < EACH; i++) {
        if (flight->event_id[i] == 0)
            continue;
        const json_t *event = json_array_get(events, flight->event_id[i] - 1);
        expect_number(event, "id", flight->event_id[i]);
        expect_text(event, "type", flight->is_deploys ? "service_deployed" : "app.flight");
        if (!flight->is_deploys)
            expect_number(json_object_get(event, "payload"), "n", index * EACH + i);
    }
}

Test(interrupted, a_shutdown_with_500_requests_in_flight_keeps_each_that_was_acknowledged)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    static struct flight flights[CONNECTIONS];
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_SHUTDOWN_TIMEOUT_MS", "60000");
    testbed_start(&bed);
    services_apply(&bed, SERVICES);
    for (int i = 0; i < CONNECTIONS; i++)
        flight_begin(&bed, &flights[i], i);
    sleep_ms(30); /* some of it is under way */
    process_signal(bed.solod, SIGTERM);
    size_t acknowledged = 0, refused = 0;
    for (int i = 0; i < CONNECTIONS; i++) {
        flight_end(&flights[i]);
        acknowledged += flights[i].acknowledged;
        refused += flights[i].refused;
    }
    cr_assert_eq(testbed_stop(&bed), 0);
    printf("%zu of %d acknowledged, %zu refused, the others cut off\n", acknowledged, IN_FLIGHT,
           refused);
    testbed_start(&bed);
    json_t *events = events_after(&bed, 0);
    for (int i = 0; i < CONNECTIONS; i++)
        flight_judge(&flights[i], i, events);
    json_decref(events);
    /* Every service whose deploy was acknowledged runs again, and each that ran before. */
    json_t *rows = service_rows(&bed);
    size_t i, running = 0, deployed = 0;
    json_t *row;
    json_array_foreach(rows, i, row) running += strcmp(text_in(row, "state"), "running") == 0;
    cr_assert_eq(running, json_array_size(rows));
    json_decref(rows);
    for (int k = 0; k < CONNECTIONS; k++)
        deployed += flights[k].is_deploys ? flights[k].acknowledged : 0;
    cr_assert_geq(running, SERVICES + deployed);
}

/* --- work that takes longer --- */

Test(interrupted, a_build_ends_with_solo_and_leaves_nothing)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "web");
    uint64_t before = log_settled_id(&bed);
    char path[4096], mark[300], build[400];
    snprintf(mark, sizeof mark, "%s/building", bed.dir);
    cr_assert_eq(chmod(bed.dir, 0777), 0);
    snprintf(build, sizeof build, "touch %s; sleep 1000", mark);
    AUTO(buffer_close) struct buffer frame = { .limit = 1 << 16 };
    json_t *params =
        json_pack("{s:{s:s, s:s, s:s, s:[s, s, s], s:[s]}}", "spec", "tenant", "acme", "name",
                  "web", "code", "x", "build", "/bin/sh", "-c", build, "argv", "{out}");
    struct caller caller;
    cr_assert_eq(caller_open(&caller, testbed_socket(&bed, "deployd", path)), STATUS_OK);
    caller_pack(&frame, 1, "service.deploy", params);
    json_decref(params);
    cr_assert(caller_send(&caller, buffer_span(&frame)));
    for (int i = 0; i < 600 && access(mark, F_OK) != 0; i++)
        sleep_ms(50);
    cr_assert_eq(access(mark, F_OK), 0, "the build does not begin");
    cr_assert_eq(testbed_stop(&bed), 0);
    json_t *answer = caller_receive(&caller, 10000, NULL);
    if (answer != NULL) {
        expect_text(json_array_get(answer, 2), "code", "unavailable");
        json_decref(answer);
    }
    caller_close(&caller);
    cr_assert(testbed_is_empty(&bed), "the compiler outlives Solo");
    testbed_start(&bed);
    service_await(&bed, "acme", "web", "running", 20000);
    json_t *events = events_after(&bed, before);
    cr_assert_eq(events_count(events, "service_deployed", NULL, NULL), 0);
    json_decref(events);
}

Test(interrupted, a_rotation_goes_on_in_the_next_run)
{
    enum { SECRETS = 60 };
    AUTO(testbed_close) struct testbed bed = { 0 };
    char name[16];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    for (int i = 0; i < SECRETS; i++) {
        snprintf(name, sizeof name, "s%d", i);
        cr_assert_eq(secret_put(&bed, i % 2 == 0 ? "acme" : "beta", name, name), STATUS_OK);
    }
    json_decref(testbed_ask(&bed, "vaultd", "vault.rotate", NULL));
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_start(&bed);
    uint64_t end = clock_boottime_ns() + 60000000000u;
    for (uint64_t left = 1; left > 0; sleep_ms(10)) {
        json_t *status = testbed_ask(&bed, "vaultd", "vault.status", NULL);
        left = number_in(status, "rotating");
        json_decref(status);
        cr_assert_lt(clock_boottime_ns(), end, "the rotation does not end");
    }
    json_t *verified = testbed_ask(&bed, "vaultd", "vault.verify", NULL);
    expect_number(verified, "readable", SECRETS);
    expect_number(verified, "damaged", 0);
    json_decref(verified);
    expect_secret(&bed, "acme", "s0", "s0");
    expect_secret(&bed, "beta", "s59", "s59");
}

/* It hears nothing: it is killed when the time is over, and the exit code says so. */
Test(interrupted, a_daemon_that_hangs_is_killed_and_nothing_is_lost)
{
    static const char *const daemons[] = { "eventd", "tokend", "vaultd", "deployd" };
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_SHUTDOWN_TIMEOUT_MS", "500");
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "web");
    for (size_t i = 0; i < COUNT_OF(daemons); i++) {
        service_deploy_sleeper(&bed, "acme", daemons[i]);
        pid_t hanging = testbed_daemon(&bed, daemons[i]);
        cr_assert_eq(process_signal(hanging, SIGSTOP), 0);
        cr_assert_eq(testbed_stop(&bed), 1, "%s had to be killed", daemons[i]);
        cr_assert(testbed_is_empty(&bed), "something outlives %s", daemons[i]);
        testbed_start(&bed);
        service_await(&bed, "acme", "web", "running", 20000);
        service_await(&bed, "acme", daemons[i], "running", 20000);
    }
    /* The last shutdown of this test is an orderly one. */
    testbed_set(&bed, "SOLO_SHUTDOWN_TIMEOUT_MS", "20000");
    testbed_stop(&bed);
}

/* --- restarts under load --- */

enum { CLIENTS = 4 };

/* Each client works until its file is gone, and says what failed. */
static const char client_script[] = "soloctl=$1 run=$2 n=$3 file=$4 token=\"\"; i=0\n"
                                    "ask() { \"$soloctl\" --run \"$run\" \"$@\" >/dev/null "
                                    "2>\"$file.$n.err\" || { echo \"failed: $*\"; "
                                    "cat \"$file.$n.err\"; }; }\n"
                                    "while [ -e \"$file\" ]; do\n"
                                    "  i=$((i + 1))\n"
                                    "  ask get services\n"
                                    "  ask deploy \"load$n/once$((i % 5))\" -- /bin/sleep 100000\n"
                                    "  echo value | ask secret set \"load$n/s$((i % 5))\"\n"
                                    "  ask token create -t \"load$n\" --permission read --ttl 1h\n"
                                    "  ask events -n 1\n"
                                    "  echo did $i\n"
                                    "done\n";

static bool is_said(const char *log, const char *words, struct buffer *said)
{
    buffer_clear(said);
    cr_assert_eq(file_read(log, said), STATUS_OK);
    buffer_append(said, "", 1);
    return strstr((const char *)said->data, words) != NULL;
}

Test(interrupted, a_restart_of_each_daemon_under_load_fails_no_request_and_stops_no_service)
{
    static const char *const daemons[] = { "eventd", "tokend", "vaultd", "deployd" };
    AUTO(testbed_close) struct testbed bed = { 0 };
    char gate[300], log[300], soloctl[4200], number[8];
    pid_t clients[CLIENTS], pids[10];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        service_deploy_sleeper(&bed, i % 2 == 0 ? "acme" : "beta", name);
        pids[i] = service_pid(&bed, i % 2 == 0 ? "acme" : "beta", name);
    }
    snprintf(gate, sizeof gate, "%s/gate", bed.dir);
    snprintf(log, sizeof log, "%s/clients", bed.dir);
    snprintf(soloctl, sizeof soloctl, "%s/soloctl", bed.bin);
    cr_assert_eq(file_write(gate, span_of_text(""), 0644), STATUS_OK);
    for (int i = 0; i < CLIENTS; i++) {
        snprintf(number, sizeof number, "%d", i);
        const char *const argv[] = { "/bin/sh", "-c",   client_script, "client", soloctl,
                                     bed.run,   number, gate,          NULL };
        clients[i] = command_start(
            &(struct command){ .argv = argv, .environment = testbed_environment(&bed) }, log);
    }
    for (size_t round = 0; round < 2 * COUNT_OF(daemons); round++) {
        AUTO(result_close) struct result restarted = { 0 };
        const char *daemon = daemons[round % COUNT_OF(daemons)];
        sleep_ms(200);
        if (round < COUNT_OF(daemons)) {
            testbed_soloctl(&bed, &restarted, "daemon", "restart", daemon, NULL);
            expect_exit(&restarted, 0);
        } else {
            pid_t old = testbed_daemon(&bed, daemon);
            cr_assert_eq(process_signal(old, SIGKILL), 0);
            testbed_await_new_daemon(&bed, daemon, old);
        }
    }
    AUTO(buffer_close) struct buffer said = { .limit = 1 << 20 };
    for (int i = 0; i < 300; i++) { /* on a slow machine they have hardly begun */
        sleep_ms(200);
        if (is_said(log, "did 2\n", &said))
            break;
    }
    cr_assert_eq(unlink(gate), 0);
    for (int i = 0; i < CLIENTS; i++)
        cr_assert_eq(command_wait(clients[i], 120000), 0);
    is_said(log, "", &said);
    const char *text = (const char *)said.data;
    expect_lacks(text, "failed");
    expect_contains(text, "did 2\n");
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        cr_assert_eq(service_pid(&bed, i % 2 == 0 ? "acme" : "beta", name), pids[i]);
    }
}
