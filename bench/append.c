/* Durable appends: eventd against the machine's own rate of synced overwrites, against LMDB by
 * itself and against Redis XADD with appendfsync always, taken in turn so that a noisy minute hits
 * all alike. Prints rates, ratios, the servers' processor time and bytes on disk per event.
 *
 *     bench_append [SECONDS [ROUNDS]]        2 seconds a measurement, 3 rounds by default */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench/figures.h"
#include "bench/machine.h"
#include "bench/protocols.h"
#include "bench/server.h"
#include "tests/support/services.h"

/* What an event of this bench takes in its table. */
enum { ROW_BYTES = 480 };

static const struct {
    unsigned connections, outstanding;
    double goal_of_syncs, goal_of_redis;
} cases[] = {
    { 1, 1, 0.85, 0 },
    { 64, 1, 0, 0.7 },
    { 256, 1, 0, 0.9 },
    { 64, 16, 0, 0 },
};

static pid_t start_eventd(const struct testbed *bed, const char *path)
{
    char program[4200];
    snprintf(program, sizeof program, "%s/eventd", bed->bin);
    const char *const argv[] = { program, "--data", bed->data, "--run", bed->run, NULL };
    struct command command = { .argv = argv, .environment = testbed_environment(bed) };
    mkdir(bed->run, 0755); /* what solod would have done */
    pid_t pid = command_start(&command, bed->log);
    if (!server_await(path, pid))
        test_fail("eventd does not start");
    return pid;
}

static double disk_bytes(const struct testbed *bed)
{
    char path[4096];
    struct stat info;
    snprintf(path, sizeof path, "%s/events/data.mdb", bed->data);
    return stat(path, &info) == 0 ? (double)info.st_blocks * 512 : 0;
}

struct measured {
    struct figures rate, processor_us; /* of the server, for each answer */
};

static uint64_t measure(const struct load *load, pid_t server, struct measured *measured)
{
    uint64_t answers;
    double before = machine_processor_seconds(server);
    figures_add(&measured->rate, load_run(load, &answers));
    double spent = machine_processor_seconds(server) - before;
    figures_add(&measured->processor_us, 1e6 * spent / (double)answers);
    return answers;
}

/* One client has a commit and a round trip of its own for each append. */
static void print_alone(const char *what, double rate, double per_pair, double per_commit,
                        double per_trip)
{
    figure_print(what, rate, "/s", "two syncs", 1 / per_pair, cases[0].goal_of_syncs, 0);
    figure_print(what, rate, "/s", "LMDB alone", 1 / per_commit, 0, 0);
    figure_print(what, rate, "/s", "LMDB and a round trip", 1 / (per_commit + per_trip), 0, 0);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 2;
    int rounds = argc > 2 ? atoi(argv[2]) : 3;
    struct testbed bed;
    testbed_open(&bed, 0);
    char eventd_path[4096], redis_path[4096];
    testbed_socket(&bed, "eventd", eventd_path);
    snprintf(redis_path, sizeof redis_path, "%s/redis.sock", bed.dir);
    pid_t eventd = start_eventd(&bed, eventd_path);
    pid_t redis = server_start_redis(bed.dir, testbed_environment(&bed), redis_path);

    struct figures syncs = { 0 }, trips = { 0 }, commits = { 0 };
    struct measured solo[COUNT_OF(cases)] = { 0 }, other[COUNT_OF(cases)] = { 0 };
    uint64_t events = 0;
    double bytes_before = disk_bytes(&bed);
    for (int round = 0; round < rounds; round++) {
        figures_add(&syncs, machine_synced_pairs(bed.dir, seconds));
        figures_add(&trips, machine_round_trips(seconds / 4));
        figures_add(&commits, machine_lmdb_commits(bed.dir, ROW_BYTES, seconds));
        for (size_t i = 0; i < COUNT_OF(cases); i++) {
            struct load load = { &protocol_event_append, eventd_path, cases[i].connections,
                                 cases[i].outstanding, seconds };
            events += measure(&load, eventd, &solo[i]);
            load.protocol = &protocol_redis_xadd;
            load.path = redis_path;
            if (redis != 0)
                measure(&load, redis, &other[i]);
        }
    }
    double per_pair = 1 / figures_median(&syncs), per_trip = 1 / figures_median(&trips),
           per_commit = 1 / figures_median(&commits);
    figure_print_plain("two synced overwrites", 1 / per_pair, "/s", 0, 0);
    figure_print_plain("round trips over a Unix socket", 1 / per_trip, "/s", 0, 0);
    figure_print_plain("both, one after the other", 1 / (per_pair + per_trip), "/s", 0, 0);
    figure_print("LMDB alone, one table, one row a commit", 1 / per_commit, "/s", "two syncs",
                 1 / per_pair, 0, 0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char what[64];
        snprintf(what, sizeof what, "append, %u clients x %u outstanding", cases[i].connections,
                 cases[i].outstanding);
        double rate = figures_median(&solo[i].rate), us = figures_median(&solo[i].processor_us);
        if (cases[i].connections == 1)
            print_alone(what, rate, per_pair, per_commit, per_trip);
        if (redis != 0)
            figure_print(what, rate, "/s", "Redis", figures_median(&other[i].rate),
                         cases[i].goal_of_redis, 0);
        else if (cases[i].connections > 1)
            figure_print_plain(what, rate, "/s", 0, 0);
        if (redis != 0)
            figure_print("  processor time of eventd for each", us, "us", "Redis",
                         figures_median(&other[i].processor_us), 0, 1);
        else
            figure_print_plain("  processor time of eventd for each", us, "us", 0, 0);
    }
    if (redis == 0)
        printf("redis-server is not installed: no comparison with it\n");
    figure_print_plain("bytes on disk per event of 256 B",
                       (disk_bytes(&bed) - bytes_before) / (double)events, "B", 0, 0);
    testbed_discard(&bed);
    return 0;
}
