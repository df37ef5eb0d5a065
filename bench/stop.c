/* Stopping and starting as operations meet it, each figure beside what this machine can do: the end
 * of a Solo without services and with a thousand, its start after that, the whole way back of a
 * middling one, and how long a restart of eventd keeps its callers waiting.
 *
 *     bench_stop [ROUNDS [SERVICES [TENANTS]]]       5 rounds, 1000, 50 by default */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/figures.h"
#include "bench/fill.h"
#include "bench/machine.h"
#include "bench/protocols.h"
#include "common/base/uuid.h"

static double stop_seconds(struct testbed *bed)
{
    double begin = machine_now();
    int code = testbed_stop(bed);
    if (code != 0)
        test_fail("solod ended with %d", code);
    return machine_now() - begin;
}

/* What everything that has ended since has used of the processor, in milliseconds: what a start and
 * a stop cost, however loaded the machine is. */
static double processor_ms(void)
{
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    return 1000. * (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000.;
}

/* What a commit costs here at least, in milliseconds. */
static double sync_ms(const struct testbed *bed)
{
    double pairs = machine_synced_pairs(bed->dir, 0.5);
    return pairs == 0 ? 0 : 1000 / pairs;
}

static void print_beside(const char *what, double value_ms, double goal_ms, double spawn_ms,
                         double commit_ms)
{
    printf("%-46s %12.1f ms       (a process %.2f ms, a commit's two syncs %.2f ms)   wanted <= "
           "%g   %s\n",
           what, value_ms, spawn_ms, commit_ms, goal_ms, value_ms <= goal_ms ? "ok" : "MISSED");
    fflush(stdout);
}

/* One process of this machine, of a hundred. */
static double spawn_ms(const struct testbed *bed)
{
    char sleeper[4096];
    const char *const argv[] = { testbed_program(bed, "sleeper", sleeper), NULL };
    return 1000 * machine_spawn_seconds(argv, 100) / 100;
}

static void measure_empty(int rounds)
{
    struct testbed bed;
    struct figures stop = { 0 }, start = { 0 };
    testbed_open(&bed, 0);
    bench_start_seconds(&bed);
    stop_seconds(&bed);
    double before = processor_ms();
    for (int i = 0; i < rounds; i++) {
        figures_add(&start, 1000 * bench_start_seconds(&bed));
        figures_add(&stop, 1000 * stop_seconds(&bed));
    }
    double used = (processor_ms() - before) / rounds;
    double commit = sync_ms(&bed), spawn = spawn_ms(&bed);
    print_beside("SIGTERM to exit, nothing runs", figures_median(&stop), 50, spawn, commit);
    print_beside("exec to ready after it, nothing to start", figures_median(&start), 50, spawn,
                 commit);
    figure_print_plain("processor time of such a start and stop", used, "ms", 0, 0);
    testbed_discard(&bed);
}

static void measure_full(int rounds, size_t services, size_t tenants)
{
    struct testbed bed;
    struct figures stop = { 0 };
    char what[80];
    bench_open(&bed);
    bench_start_seconds(&bed);
    fill_services(&bed, services, tenants, 0);
    for (int i = 0; i < rounds; i++) {
        if (i > 0)
            bench_start_seconds(&bed);
        if (fill_running(&bed) != services)
            test_fail("%zu of %zu services run", fill_running(&bed), services);
        figures_add(&stop, 1000 * stop_seconds(&bed));
    }
    snprintf(what, sizeof what, "SIGTERM to exit, %zu services", services);
    print_beside(what, figures_median(&stop), 1.5 * (double)services, spawn_ms(&bed),
                 sync_ms(&bed));
    testbed_discard(&bed);
}

static void grant_tokens(const struct testbed *bed, size_t count)
{
    char path[4096];
    struct caller caller;
    AUTO(buffer_close) struct buffer frames = { .limit = 4 << 20 };
    if (caller_open(&caller, testbed_socket(bed, "tokend", path)) != STATUS_OK)
        test_fail("cannot connect to %s", path);
    for (size_t done = 0; done < count; done += 100) {
        buffer_clear(&frames);
        for (size_t i = 0; i < 100; i++)
            protocol_token_grant.pack(&frames, done + i);
        caller_send(&caller, buffer_span(&frames));
        for (size_t i = 0; i < 100; i++) {
            json_t *answer = caller_receive(&caller, 60000, NULL);
            if (answer == NULL || !json_is_null(json_array_get(answer, 2)))
                test_fail("a token is not granted");
            json_decref(answer);
        }
    }
    caller_close(&caller);
}

static void measure_timeline(int rounds)
{
    enum { SERVICES = 145, TENANTS = 10, TOKENS = 500, EVENTS = 1000 };
    struct testbed bed;
    struct figures clean = { 0 }, crash = { 0 };
    testbed_open(&bed, 0);
    bench_start_seconds(&bed);
    fill_services(&bed, SERVICES, TENANTS, 0);
    grant_tokens(&bed, TOKENS);
    uint64_t last = log_settled_id(&bed);
    if (last < EVENTS)
        fill_events(&bed, EVENTS - last);
    for (int i = 0; i < 2 * rounds; i++) {
        if (i < rounds)
            stop_seconds(&bed);
        else
            testbed_kill_everything(&bed);
        figures_add(i < rounds ? &clean : &crash, 1000 * bench_start_seconds(&bed));
        if (fill_running(&bed) != SERVICES)
            test_fail("%zu of %d services are back", fill_running(&bed), SERVICES);
    }
    double spawn = spawn_ms(&bed), commit = sync_ms(&bed);
    print_beside("1,000 events, 145 services, 500 tokens: back", figures_median(&clean), 220, spawn,
                 commit);
    print_beside("the same after kill -9 of everything", figures_median(&crash), 220, spawn,
                 commit);
    testbed_discard(&bed);
}

/* --- a restart under load --- */

enum { CLIENTS = 8 };

struct client {
    struct caller caller;
    struct uuid id; /* of the request on its way */
    double sent;    /* for the first time */
};

static void client_send(struct client *client)
{
    char text[UUID_TEXT_BYTES];
    AUTO(buffer_close) struct buffer frame = { .limit = 1 << 16 };
    json_t *params = json_pack("{s:s, s:{}, s:s}", "type", "app.bench", "payload", "request_id",
                               (uuid_text(text, &client->id), text));
    caller_pack(&frame, 1, "event.append", params);
    json_decref(params);
    caller_send(&client->caller, buffer_span(&frame)); /* a broken one shows when it is read */
}

static void client_begin(struct client *client)
{
    client->id = uuid_draw();
    client->sent = machine_now();
    client_send(client);
}

/* Takes an answer, or connects again and repeats what was on its way. True for an answer. */
static bool client_read(struct client *client, const char *path)
{
    json_t *answer = caller_receive(&client->caller, 10000, NULL);
    bool is_done = answer != NULL && json_is_null(json_array_get(answer, 2));
    if (!is_done) {
        caller_close(&client->caller);
        if (caller_open(&client->caller, path) != STATUS_OK)
            test_fail("the socket of eventd is gone");
        client_send(client);
    }
    json_decref(answer);
    return is_done;
}

/* The longest that one request took, in milliseconds, while `restarts` restarts went on. */
static double worst_ms(const struct testbed *bed, bool restarts)
{
    char path[4096], soloctl[4200], log[300];
    static struct client clients[CLIENTS];
    struct pollfd polls[CLIENTS];
    double worst = 0, begin = machine_now(), end = begin + 1;
    pid_t restart = 0;
    testbed_socket(bed, "eventd", path);
    snprintf(soloctl, sizeof soloctl, "%s/soloctl", bed->bin);
    snprintf(log, sizeof log, "%s/restart", bed->dir);
    for (size_t i = 0; i < CLIENTS; i++) {
        if (caller_open(&clients[i].caller, path) != STATUS_OK)
            test_fail("cannot connect to %s", path);
        client_begin(&clients[i]);
    }
    while (machine_now() < end) {
        if (restarts && restart == 0 && machine_now() > begin + 0.3) {
            const char *const argv[] = { soloctl,   "--run",  bed->run, "daemon",
                                         "restart", "eventd", NULL };
            restart = command_start(
                &(struct command){ .argv = argv, .environment = testbed_environment(bed) }, log);
        }
        for (size_t i = 0; i < CLIENTS; i++)
            polls[i] = (struct pollfd){ .fd = clients[i].caller.fd, .events = POLLIN };
        poll(polls, CLIENTS, 100);
        for (size_t i = 0; i < CLIENTS; i++) {
            if (polls[i].revents == 0 || !client_read(&clients[i], path))
                continue;
            double took = 1000 * (machine_now() - clients[i].sent);
            worst = took > worst ? took : worst;
            client_begin(&clients[i]);
        }
    }
    for (size_t i = 0; i < CLIENTS; i++)
        caller_close(&clients[i].caller);
    if (restart != 0 && command_wait(restart, 20000) != 0)
        test_fail("eventd was not restarted");
    return worst;
}

static void measure_restart(int rounds)
{
    struct testbed bed;
    struct figures plain = { 0 }, restarted = { 0 };
    testbed_open(&bed, 0);
    bench_start_seconds(&bed);
    fill_events(&bed, 10000);
    for (int i = 0; i < rounds; i++) {
        figures_add(&plain, worst_ms(&bed, false));
        figures_add(&restarted, worst_ms(&bed, true));
    }
    printf("%-46s %12.1f ms       (without one: %.1f ms)\n", "slowest append, eventd restarted",
           figures_median(&restarted), figures_median(&plain));
    print_beside("what the restart added", figures_median(&restarted) - figures_median(&plain), 100,
                 spawn_ms(&bed), sync_ms(&bed));
    testbed_discard(&bed);
}

int main(int argc, char **argv)
{
    struct bench_size size;
    if (!bench_size_read(argc, argv, &size))
        return 64;
    measure_empty(size.rounds);
    measure_timeline(size.rounds);
    measure_restart(size.rounds);
    measure_full(size.rounds, size.services, size.tenants);
    return 0;
}
