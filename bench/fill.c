/* What fills: requests on one connection, several at once. */
#include "bench/fill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/figures.h"
#include "bench/machine.h"
#include "bench/protocols.h"
#include "common/wire/writer.h"
#include "tests/support/process.h"
#include "tests/support/secrets.h"

enum { BATCH_EVENTS = 1000, BATCHES_ON_THE_WAY = 2, DEPLOYS_ON_THE_WAY = 64 };

bool bench_size_read(int argc, char **argv, struct bench_size *size)
{
    size->rounds = argc > 1 ? atoi(argv[1]) : 5;
    size->services = argc > 2 ? (size_t)atol(argv[2]) : 1000;
    size->tenants = argc > 3 ? (size_t)atol(argv[3]) : 50;
    return size->rounds >= 1 && size->rounds <= FIGURES_MAX && size->services >= 1 &&
           size->tenants >= 1 && size->tenants <= size->services;
}

void bench_open(struct testbed *bed)
{
    testbed_open(bed, 0);
    testbed_set(bed, "SOLO_SHUTDOWN_TIMEOUT_MS", "60000");
    testbed_set(bed, "SOLO_RECOVERY_TIMEOUT_MS", "120000");
}

double bench_start_seconds(struct testbed *bed)
{
    double begin = machine_now();
    testbed_launch(bed, NULL);
    if (!testbed_wait_ready(bed, 120000))
        test_fail("Solo does not get ready");
    return machine_now() - begin;
}

static void take_answer(struct caller *caller, const char *what)
{
    json_t *answer = caller_receive(caller, 120000, NULL);
    if (answer == NULL)
        test_fail("no answer to %s", what);
    if (!json_is_null(json_array_get(answer, 2))) {
        char *text = json_dumps(answer, 0);
        test_fail("%s: %s", what, text == NULL ? "" : text);
    }
    json_decref(answer);
}

static void connect_to(const struct testbed *bed, const char *daemon, struct caller *caller)
{
    char path[4096];
    if (caller_open(caller, testbed_socket(bed, daemon, path)) != STATUS_OK)
        test_fail("cannot connect to %s", path);
}

static void pack_batch(struct buffer *frame, uint64_t msgid, size_t count)
{
    static char data[BENCH_PAYLOAD_BYTES - 8 + 1];
    memset(data, 'x', sizeof data - 1);
    write_array(frame, 4);
    write_u64(frame, 0);
    write_u64(frame, msgid);
    write_str(frame, "event.append_batch");
    write_array(frame, 1);
    write_map(frame, 1);
    write_str(frame, "events");
    write_array(frame, count);
    for (size_t i = 0; i < count; i++) {
        char subject[32];
        snprintf(subject, sizeof subject, "bench/%zu", i);
        write_map(frame, 4);
        write_str(frame, "type");
        write_str(frame, "app.bench");
        write_str(frame, "tenant");
        write_str(frame, "bench");
        write_str(frame, "subject");
        write_str(frame, subject);
        write_str(frame, "payload");
        write_map(frame, 1);
        write_str(frame, "data");
        write_str(frame, data);
    }
}

double fill_events(const struct testbed *bed, size_t count)
{
    struct caller caller;
    connect_to(bed, "eventd", &caller);
    double begin = machine_now();
    size_t batches = (count + BATCH_EVENTS - 1) / BATCH_EVENTS, sent = 0;
    for (size_t answered = 0; answered < batches; answered++) {
        for (; sent < batches && sent - answered < BATCHES_ON_THE_WAY; sent++) {
            size_t left = count - sent * BATCH_EVENTS;
            AUTO(buffer_close) struct buffer frame = { .limit = 4 << 20 };
            pack_batch(&frame, sent, left < BATCH_EVENTS ? left : BATCH_EVENTS);
            if (!caller_send(&caller, buffer_span(&frame)))
                test_fail("eventd has closed the connection");
        }
        take_answer(&caller, "event.append_batch");
    }
    caller_close(&caller);
    return machine_now() - begin;
}

/* `count` of them, of each tenant. */
static void fill_secrets(const struct testbed *bed, size_t count, size_t tenants)
{
    for (size_t i = 0; i < count * tenants; i++) {
        char tenant[32], name[32];
        snprintf(tenant, sizeof tenant, "t%zu", i / count);
        snprintf(name, sizeof name, "secret%zu", i % count);
        enum status status = secret_put(bed, tenant, name, "a value that nobody reads");
        if (status != STATUS_OK)
            test_fail("secret.put: %s", status_name(status));
    }
}

static json_t *names_of_secrets(size_t count)
{
    json_t *names = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(names, json_sprintf("secret%zu", i));
    return names;
}

double fill_services(const struct testbed *bed, size_t count, size_t tenants, size_t secrets)
{
    fill_secrets(bed, secrets, tenants);
    struct caller caller;
    connect_to(bed, "deployd", &caller);
    double begin = machine_now();
    size_t sent = 0;
    for (size_t answered = 0; answered < count; answered++) {
        for (; sent < count && sent - answered < DEPLOYS_ON_THE_WAY; sent++) {
            char tenant[32], name[32];
            snprintf(tenant, sizeof tenant, "t%zu", sent % tenants);
            snprintf(name, sizeof name, "s%zu", sent / tenants);
            AUTO(buffer_close) struct buffer frame = { .limit = 4 << 20 };
            json_t *spec = service_spec(bed, tenant, name, "sleeper", NULL);
            if (secrets > 0)
                json_object_set_new(spec, "secrets", names_of_secrets(secrets));
            json_t *params = json_pack("{s:o}", "spec", spec);
            caller_pack(&frame, sent, "service.deploy", params);
            json_decref(params);
            if (!caller_send(&caller, buffer_span(&frame)))
                test_fail("deployd has closed the connection");
        }
        take_answer(&caller, "service.deploy");
    }
    caller_close(&caller);
    return machine_now() - begin;
}

size_t fill_running(const struct testbed *bed)
{
    char path[4096];
    pid_t pids[1];
    return process_find(testbed_program(bed, "sleeper", path), pids, 1);
}
