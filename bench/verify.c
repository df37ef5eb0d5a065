/* A verification of a thousand running services; then a log of a gibibyte: its full verification,
 * eventd's start on it after a clean end and after kill -9, and a backup of it beside a client that
 * appends. Beside them what the disk writes in sequence, what no backup can do without (the bytes
 * written, then hashed by two processors), and the same client without the backup.
 *
 *     bench_verify [MIB [SERVICES [ROUNDS]]]      1024, 1000, 5 by default */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/figures.h"
#include "bench/fill.h"
#include "bench/machine.h"
#include "bench/server.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "tests/support/process.h"

enum {
    FILL_EVENTS = 50000,
    LATENCIES_MAX = 1 << 20,
    QUIET_SECONDS = 2,
    HASHED_BYTES = 500,
    PERCENTILE = 99
};

/* Of this process's children. */
static double processor_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Seconds, and of the processor: what it costs, however loaded the machine is. */
struct verification {
    struct figures took, processor;
};

static void verify(const struct testbed *bed, const char *flag, struct verification *figures)
{
    AUTO(result_close) struct result result = { 0 };
    double begin = machine_now(), used = processor_seconds();
    testbed_recoveryd(bed, &result, "verify", "-o", "json", flag, NULL);
    figures_add(&figures->took, machine_now() - begin);
    figures_add(&figures->processor, processor_seconds() - used);
    if (result.exit_code != 0)
        test_fail("verify ended with %d: %s", result.exit_code, result_out(&result));
}

static double store_mib(const struct testbed *bed)
{
    json_t *stats = testbed_ask(bed, "eventd", "daemon.stats", NULL);
    uint64_t bytes = number_in(json_object_get(stats, "counters"), "store_bytes");
    json_decref(stats);
    return (double)bytes / (1 << 20);
}

/* --- the slowest of a hundred appends --- */

struct latencies {
    double *values;
    size_t count;
};

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double latencies_end(struct latencies *latencies)
{
    if (latencies->count == 0)
        test_fail("no append was answered");
    qsort(latencies->values, latencies->count, sizeof *latencies->values, compare);
    double value = latencies->values[latencies->count * PERCENTILE / 100];
    free(latencies->values);
    return value;
}

/* Appends one by one until the process has ended, or for so long. */
static double append_p99(const struct testbed *bed, pid_t until, double seconds)
{
    struct latencies latencies = { malloc(LATENCIES_MAX * sizeof(double)), 0 };
    struct caller caller;
    char path[4096];
    double end = machine_now() + seconds;
    if (latencies.values == NULL ||
        caller_open(&caller, testbed_socket(bed, "eventd", path)) != STATUS_OK)
        test_fail("cannot connect to %s", path);
    while ((until != 0 ? process_is_alive(until) : machine_now() < end) &&
           latencies.count < LATENCIES_MAX) {
        json_t *params = json_pack("{s:s, s:{s:s}}", "type", "app.bench", "payload", "text", "x");
        double begin = machine_now();
        if (caller_call(&caller, "event.append", params, 60000, NULL, NULL) != STATUS_OK)
            test_fail("an append was refused");
        latencies.values[latencies.count++] = machine_now() - begin;
        json_decref(params);
    }
    caller_close(&caller);
    return latencies_end(&latencies);
}

static double copied_mib(const char *folder)
{
    static const char *const names[] = { "events", "tokens", "vault" };
    double mib = 0;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char path[4096];
        struct stat file;
        snprintf(path, sizeof path, "%s/%s/data.mdb", folder, names[i]);
        if (stat(path, &file) != 0)
            test_fail("no %s in the backup", names[i]);
        mib += (double)file.st_size / (1 << 20);
    }
    return mib;
}

/* Mebibytes a second; *p99 of appends meanwhile. */
static double back_up(const struct testbed *bed, double *p99)
{
    char program[4200], folder[512];
    snprintf(program, sizeof program, "%s/soloctl", bed->bin);
    snprintf(folder, sizeof folder, "%s/backup", bed->dir);
    const char *const argv[] = { program, "--run", bed->run, "backup", folder, NULL };
    struct command command = { .argv = argv, .environment = testbed_environment(bed) };
    double begin = machine_now();
    pid_t pid = command_start(&command, "/dev/null");
    *p99 = append_p99(bed, pid, 0);
    if (command_wait(pid, 600000) != 0)
        test_fail("the backup has failed");
    double took = machine_now() - begin, mib = copied_mib(folder);
    directory_remove(folder);
    return mib / took;
}

/* MiB a second of one processor, in records of about the size of the log's. */
static double hash_rate_mib(void)
{
    static uint8_t record[HASHED_BYTES];
    size_t hashed = 0;
    random_fill(record, sizeof record); /* and the library chooses what is fastest here */
    double begin = machine_now();
    for (; hashed < (size_t)256 << 20; hashed += sizeof record)
        record[0] = hash_of(span_of(record, sizeof record)).bytes[0];
    return (double)hashed / (1 << 20) / (machine_now() - begin);
}

static void measure_backups(const struct testbed *bed, double mib, int rounds)
{
    struct figures rates = { 0 }, disks = { 0 }, least = { 0 }, quiet = { 0 }, beside = { 0 };
    for (int i = 0; i < rounds; i++) {
        double p99, disk = machine_sequential_mib(bed->dir, mib);
        figures_add(&disks, disk);
        figures_add(&least, 1 / (1 / disk + 1 / (2 * hash_rate_mib())));
        figures_add(&quiet, 1000 * append_p99(bed, 0, QUIET_SECONDS));
        figures_add(&rates, back_up(bed, &p99));
        figures_add(&beside, 1000 * p99);
    }
    figure_print("backup", figures_median(&rates), "MiB/s", "disk in sequence",
                 figures_median(&disks), 1.0 / 3, 0);
    figure_print("backup", figures_median(&rates), "MiB/s", "written, then hashed by two",
                 figures_median(&least), 0, 0);
    figure_print("p99 of appends beside the backup", figures_median(&beside), "ms", "without it",
                 figures_median(&quiet), 2, 1);
}

/* --- a start --- */

static double start_seconds(struct testbed *bed, bool is_clean)
{
    char program[4200], path[4096];
    double begin = machine_now();
    snprintf(program, sizeof program, "%s/eventd", bed->bin);
    const char *const argv[] = { program, "--data", bed->data, "--run", bed->run, NULL };
    struct command command = { .argv = argv, .environment = testbed_environment(bed) };
    testbed_socket(bed, "eventd", path);
    unlink(path);
    pid_t pid = command_start(&command, bed->log);
    if (!server_await(path, pid))
        test_fail("eventd does not start");
    json_t *health = testbed_ask(bed, "eventd", "daemon.health", NULL);
    double took = machine_now() - begin;
    if (strcmp(text_in(health, "state"), "ready") != 0)
        test_fail("eventd is %s", text_in(health, "state"));
    json_decref(health);
    append_p99(bed, 0, 0.2); /* so that there is something to come back from */
    process_signal(pid, is_clean ? SIGTERM : SIGKILL);
    command_wait(pid, 60000);
    return took;
}

static void measure_starts(struct testbed *bed, int rounds)
{
    struct figures clean = { 0 }, crash = { 0 };
    start_seconds(bed, true);
    for (int i = 0; i < rounds; i++) {
        figures_add(&clean, 1000 * start_seconds(bed, false));
        figures_add(&crash, 1000 * start_seconds(bed, true));
    }
    figure_print_plain("eventd from exec to ready, after a clean end", figures_median(&clean), "ms",
                       100, 1);
    figure_print_plain("eventd from exec to ready, after kill -9", figures_median(&crash), "ms",
                       100, 1);
}

int main(int argc, char **argv)
{
    double mib = argc > 1 ? atof(argv[1]) : 1024;
    size_t services = argc > 2 ? (size_t)atol(argv[2]) : 1000;
    int rounds = argc > 3 ? atoi(argv[3]) : 5;
    struct testbed bed;
    struct verification plain = { 0 }, full = { 0 };
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_SHUTDOWN_TIMEOUT_MS", "60000");
    testbed_start(&bed);
    fill_services(&bed, services, services < 50 ? services : 50, 0);
    log_settled_id(&bed);
    for (int i = 0; i < rounds; i++)
        verify(&bed, NULL, &plain);
    figure_print_plain("recoveryd verify, services running", 1000 * figures_median(&plain.took),
                       "ms", 100, 1);
    figure_print_plain("  its processor time", 1000 * figures_median(&plain.processor), "ms", 0, 0);
    while (store_mib(&bed) < mib)
        fill_events(&bed, FILL_EVENTS);
    double events = (double)log_last_id(&bed);
    for (int i = 0; i < rounds; i++)
        verify(&bed, "--full", &full);
    printf("the log: %.0f MiB, %.0f events\n", store_mib(&bed), events);
    figure_print_plain("recoveryd verify --full, for a million events",
                       figures_median(&full.took) * 1e6 / events, "s", 2, 1);
    figure_print_plain("  its processor time", figures_median(&full.processor) * 1e6 / events, "s",
                       0, 0);
    measure_backups(&bed, mib, rounds);
    testbed_stop(&bed);
    measure_starts(&bed, rounds);
    testbed_discard(&bed);
    return 0;
}
