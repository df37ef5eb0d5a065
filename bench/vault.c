/* The vault: a read beside an empty round trip and one commit, 64 clients beside one, and what
 * unsealing, verifying and rotating a large store takes.
 *
 *     bench_vault [SECONDS [ROUNDS [SECRETS]]]   2 seconds, 3 rounds, 100,000 secrets by default
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/figures.h"
#include "bench/machine.h"
#include "bench/protocols.h"
#include "common/wire/writer.h"
#include "tests/support/secret_fill.h"
#include "tests/support/secrets.h"
#include "tests/support/services.h"

enum { TENANTS = 100, SAMPLES = 2000, ROW_BYTES = 256 };

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of one call after the other on one connection, in microseconds. */
static double median_us(const struct testbed *bed, const char *method, json_t *params)
{
    static double took[SAMPLES];
    char path[4096];
    struct caller caller;
    testbed_socket(bed, "vaultd", path);
    if (caller_open(&caller, path) != STATUS_OK)
        test_fail("cannot connect to %s", path);
    for (int i = 0; i < SAMPLES; i++) {
        struct problem problem = { 0 };
        json_t *reply = NULL;
        double asked = machine_now();
        if (caller_call(&caller, method, params, 30000, &reply, &problem) != STATUS_OK)
            test_fail("%s: %s", method, problem.message);
        took[i] = (machine_now() - asked) * 1e6;
        json_decref(reply);
    }
    caller_close(&caller);
    json_decref(params);
    qsort(took, SAMPLES, sizeof took[0], compare);
    return took[SAMPLES / 2];
}

static void read_pack(struct buffer *out, uint64_t number)
{
    write_array(out, 4);
    write_u64(out, 0);
    write_u64(out, number & 0xffffffff);
    write_str(out, "secret.read");
    write_array(out, 1);
    write_map(out, 2);
    write_str(out, "tenant");
    write_str(out, "t0");
    write_str(out, "name");
    write_str(out, "s0");
}

/* Alternately, because a disk is another one every minute. A commit of this store is one of LMDB:
 * two syncs, and the few pages that the first of them waits for. */
static void measure_reads(const struct testbed *bed, double seconds, int rounds)
{
    char path[4096];
    struct figures empty = { 0 }, read = { 0 }, pair = { 0 }, commit = { 0 };
    struct figures one = { 0 }, many = { 0 };
    uint64_t answers;
    testbed_socket(bed, "vaultd", path);
    const struct load_protocol protocol = { "secret.read", read_pack, protocol_event_append.take };
    for (int round = 0; round < rounds; round++) {
        struct load load = { &protocol, path, 1, 1, seconds };
        figures_add(&pair, 1e6 / machine_synced_pairs(bed->dir, seconds / 2));
        figures_add(&commit, 1e6 / machine_lmdb_commits(bed->dir, ROW_BYTES, seconds / 2));
        figures_add(&empty, median_us(bed, "daemon.health", json_object()));
        figures_add(&read, median_us(bed, "secret.read",
                                     json_pack("{s:s, s:s}", "tenant", "t0", "name", "s0")));
        figures_add(&one, load_run(&load, &answers));
        load.connections = 64;
        figures_add(&many, load_run(&load, &answers));
    }
    figure_print_plain("an empty round trip, p50", figures_median(&empty), "us", 0, 0);
    figure_print_plain("two synced writes", figures_median(&pair), "us", 0, 0);
    figure_print_plain("one commit, by LMDB alone", figures_median(&commit), "us", 0, 0);
    figure_print_plain("secret.read of 64 B, p50", figures_median(&read), "us",
                       figures_median(&empty) + figures_median(&commit), 1);
    figure_print("secret.read, 64 clients", figures_median(&many), "/s", "one client",
                 figures_median(&one), 8, 0);
}

static double timed_ms(const struct testbed *bed, const char *method)
{
    double begin = machine_now();
    json_decref(testbed_ask(bed, "vaultd", method, NULL));
    return (machine_now() - begin) * 1e3;
}

/* Reads one after the other while a rotation goes on; the slowest, beside that without one. */
static double slowest_read_ms(const struct testbed *bed, double seconds)
{
    double slowest = 0, end = machine_now() + seconds;
    char path[4096];
    struct caller caller;
    json_t *params = json_pack("{s:s, s:s}", "tenant", "t1", "name", "s0");
    testbed_socket(bed, "vaultd", path);
    if (caller_open(&caller, path) != STATUS_OK)
        test_fail("cannot connect to %s", path);
    while (machine_now() < end) {
        struct problem problem = { 0 };
        json_t *reply = NULL;
        double asked = machine_now();
        if (caller_call(&caller, "secret.read", params, 30000, &reply, &problem) != STATUS_OK)
            test_fail("secret.read: %s", problem.message);
        double took = (machine_now() - asked) * 1e3;
        slowest = took > slowest ? took : slowest;
        json_decref(reply);
    }
    json_decref(params);
    caller_close(&caller);
    return slowest;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 2;
    int rounds = argc > 2 ? atoi(argv[2]) : 3;
    uint64_t secrets = argc > 3 ? strtoull(argv[3], NULL, 10) : 100000;
    struct testbed bed;
    testbed_open(&bed, 0);
    testbed_start(&bed);
    double begin = machine_now();
    secret_fill(&bed, TENANTS, secrets);
    double rate = (double)secrets / (machine_now() - begin);
    figure_print_plain("puts of 64 B, 200 on the way", rate, "/s", 0, 0);
    vault_await_told(&bed);
    measure_reads(&bed, seconds, rounds);
    timed_ms(&bed, "vault.seal");
    figure_print_plain("unseal with a key file, SECRETS stored", timed_ms(&bed, "vault.unseal"),
                       "ms", 50, 1);
    figure_print_plain("verification of all of them", timed_ms(&bed, "vault.verify"), "ms", 1000,
                       1);
    double quiet = slowest_read_ms(&bed, seconds);
    timed_ms(&bed, "vault.rotate");
    double busy = slowest_read_ms(&bed, seconds);
    figure_print_plain("slowest read without a rotation", quiet, "ms", 0, 0);
    figure_print_plain("what a rotation added to the slowest", busy - quiet, "ms", 10, 1);
    testbed_discard(&bed);
    return 0;
}
