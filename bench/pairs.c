/* Deploy and kill, over and over: the rate, and whether descriptors, private memory and disk stay
 * flat. The log grows by what happened, and by nothing else: that is told per pair.
 *
 *     bench_pairs [PAIRS]       10000 by default */
#include <stdio.h>
#include <stdlib.h>

#include "bench/figures.h"
#include "bench/fill.h"
#include "bench/machine.h"
#include "bench/weight.h"

enum { SAMPLES = 5 };

/* Seconds. */
static double call(struct caller *caller, const char *method, json_t *params)
{
    struct problem problem = { 0 };
    double begin = machine_now();
    enum status status = caller_call(caller, method, params, 60000, NULL, &problem);
    if (status != STATUS_OK)
        test_fail("%s: %s %s", method, status_name(status), problem.message);
    json_decref(params);
    return machine_now() - begin;
}

int main(int argc, char **argv)
{
    long pairs = argc > 1 ? atol(argv[1]) : 10000;
    if (pairs < SAMPLES)
        return 64;
    struct testbed bed;
    struct caller caller;
    char path[4096];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "resident");
    if (caller_open(&caller, testbed_socket(&bed, "deployd", path)) != STATUS_OK)
        test_fail("cannot connect");
    const struct {
        const char *name;
        pid_t pid;
    } daemons[] = { { "solod", bed.solod },
                    { "eventd", testbed_daemon(&bed, "eventd") },
                    { "deployd", testbed_daemon(&bed, "deployd") },
                    { "tenantd", testbed_supervisor(&bed, "acme") } };
    struct weight weights[COUNT_OF(daemons)][SAMPLES + 1];
    double deploying = 0, killing = 0, disk[SAMPLES + 1], log[SAMPLES + 1];
    for (long i = 0, sample = 0; i <= pairs; i++) {
        if (i >= sample * pairs / SAMPLES && sample <= SAMPLES) {
            for (size_t d = 0; d < COUNT_OF(daemons); d++)
                weights[d][sample] = weight_of(daemons[d].pid);
            weight_of_disk(&bed, &disk[sample], &log[sample]);
            sample++;
        }
        if (i == pairs)
            break;
        deploying +=
            call(&caller, "service.deploy",
                 json_pack("{s:o}", "spec", service_spec(&bed, "acme", "pair", "sleeper", NULL)));
        killing += call(&caller, "service.kill",
                        json_pack("{s:s, s:s}", "tenant", "acme", "name", "pair"));
    }
    const char *const sleeper[] = { testbed_program(&bed, "sleeper", path), NULL };
    double bare = machine_spawn_seconds(sleeper, 1000) / 1000;
    figure_print("a deploy", deploying / (double)pairs * 1000, "ms", "posix_spawn, ms", bare * 1000,
                 0, 1);
    figure_print("a kill", killing / (double)pairs * 1000, "ms", "posix_spawn, ms", bare * 1000, 0,
                 1);
    for (size_t d = 0; d < COUNT_OF(daemons); d++) {
        printf("%-10s private KiB", daemons[d].name);
        for (int s = 0; s <= SAMPLES; s++)
            printf(" %8.0f", weights[d][s].kib);
        printf("   descriptors");
        for (int s = 0; s <= SAMPLES; s++)
            printf(" %ld", weights[d][s].descriptors);
        /* the first fifth fills pools and caches; after it nothing may grow */
        bool is_flat = weights[d][SAMPLES].kib <= 1.1 * weights[d][1].kib + 64 &&
                       weights[d][SAMPLES].descriptors <= weights[d][1].descriptors + 1;
        printf("   %s\n", is_flat ? "flat" : "GROWS");
    }
    printf("disk KiB, the log apart   ");
    for (int s = 0; s <= SAMPLES; s++)
        printf(" %8.0f", disk[s]);
    printf("   %s\n", disk[SAMPLES] <= 1.1 * disk[1] + 1024 ? "flat" : "GROWS");
    figure_print_plain("the log, bytes on disk for a pair",
                       1024 * (log[SAMPLES] - log[1]) / ((double)pairs * (SAMPLES - 1) / SAMPLES),
                       "B", 0, 0);
    caller_close(&caller);
    testbed_discard(&bed);
    return 0;
}
