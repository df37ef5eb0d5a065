/* A thousand tiny services of fifty tenants: how long until Solo is ready, how long until they are
 * all back after kill -9 of everything, beside a bare posix_spawn loop of the same program, and
 * what the daemons weigh.
 *
 *     bench_services [ROUNDS [SERVICES [TENANTS]]]       5 rounds, 1000, 50 by default */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/figures.h"
#include "bench/fill.h"
#include "bench/machine.h"
#include "tests/support/process.h"

static double run_seconds(const struct testbed *bed, int wanted_code)
{
    AUTO(result_close) struct result result = { 0 };
    double begin = machine_now();
    testbed_recoveryd(bed, &result, "-o", "json", NULL);
    double took = machine_now() - begin;
    if (result.exit_code != wanted_code)
        test_fail("recoveryd ended with %d: %s", result.exit_code, result_err(&result));
    return took;
}

static void measure_start(int rounds)
{
    struct testbed bed;
    struct figures ready = { 0 }, exec = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed); /* creates the store; the figure is for an existing, empty one */
    testbed_stop(&bed);
    const char *const argv[] = { "/bin/true", NULL };
    for (int i = 0; i < rounds; i++) {
        figures_add(&ready, 1000 * bench_start_seconds(&bed));
        testbed_stop(&bed);
        double begin = machine_now();
        AUTO(result_close) struct result result = { 0 };
        command_run(&(struct command){ .argv = argv, .environment = testbed_environment(&bed) },
                    &result);
        figures_add(&exec, 1000 * (machine_now() - begin));
    }
    printf("%-46s %12.3f ms       (exec of /bin/true: %.3f ms)   wanted <= 50   %s\n",
           "solod, exec to ready, nothing to recover", figures_median(&ready),
           figures_median(&exec), figures_median(&ready) <= 50 ? "ok" : "MISSED");
    testbed_discard(&bed);
}

/* Private memory in KiB, of one process. */
static double private_kib(pid_t pid)
{
    return (double)(process_number(pid, "smaps_rollup", "Private_Clean") +
                    process_number(pid, "smaps_rollup", "Private_Dirty"));
}

static void measure_memory(struct testbed *bed, size_t services, size_t tenants)
{
    static const char *const names[] = { "eventd", "tokend", "vaultd", "deployd" };
    char what[64];
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(what, sizeof what, "%s, private memory", names[i]);
        figure_print_plain(what, private_kib(testbed_daemon(bed, names[i])) / 1024, "MiB", 5, 1);
    }
    figure_print_plain("solod, private memory", private_kib(bed->solod) / 1024, "MiB", 5, 1);
    struct figures supervisors = { 0 };
    for (size_t i = 0; i < tenants && i < FIGURES_MAX; i++) {
        char tenant[32];
        snprintf(tenant, sizeof tenant, "t%zu", i);
        figures_add(&supervisors, private_kib(testbed_supervisor(bed, tenant)) / 1024);
    }
    figure_print_plain("tenantd, private memory (median)", figures_median(&supervisors), "MiB",
                       1 + (double)(services / tenants) * 4 / 1024, 1);
}

static void measure_recovery(int rounds, size_t services, size_t tenants)
{
    struct testbed bed;
    struct figures bare = { 0 }, whole = { 0 }, alone = { 0 }, bare_busy = { 0 }, busy = { 0 };
    char sleeper[4096];
    bench_open(&bed);
    testbed_start(&bed);
    double deploying = fill_services(&bed, services, tenants, 0);
    figure_print_plain("deploys, one connection", (double)services / deploying, "/s", 0, 0);
    measure_memory(&bed, services, tenants);
    const char *const argv[] = { testbed_program(&bed, "sleeper", sleeper), NULL };
    for (int i = 0; i < rounds; i++) {
        testbed_kill_everything(&bed);
        double began_busy = machine_busy_seconds();
        figures_add(&bare, machine_spawn_seconds(argv, services));
        figures_add(&bare_busy, machine_busy_seconds() - began_busy);
        testbed_set(&bed, "SOLO_RECOVERY_ENABLED", "true");
        began_busy = machine_busy_seconds();
        figures_add(&whole, bench_start_seconds(&bed));
        figures_add(&busy, machine_busy_seconds() - began_busy);
        if (fill_running(&bed) != services)
            test_fail("%zu of %zu services are back", fill_running(&bed), services);
        testbed_kill_everything(&bed);
        testbed_set(&bed, "SOLO_RECOVERY_ENABLED", "false");
        bench_start_seconds(&bed);
        figures_add(&alone, run_seconds(&bed, 0));
        if (fill_running(&bed) != services)
            test_fail("%zu of %zu services are back", fill_running(&bed), services);
    }
    char what[80];
    snprintf(what, sizeof what, "%zu services back, solod exec to ready", services);
    figure_print(what, figures_median(&whole), "s", "posix_spawn loop", figures_median(&bare), 1.3,
                 1);
    figure_print("  processors busy meanwhile, all of them together", figures_median(&busy), "s",
                 "posix_spawn loop, with its end", figures_median(&bare_busy), 0, 1);
    snprintf(what, sizeof what, "%zu services back, recoveryd alone", services);
    figure_print(what, figures_median(&alone), "s", "posix_spawn loop", figures_median(&bare), 1.3,
                 1);
    testbed_discard(&bed);
}

/* From solod's exec until all run. */
static double back_seconds(int rounds, size_t services, size_t tenants, size_t secrets)
{
    struct testbed bed;
    struct figures back = { 0 };
    bench_open(&bed);
    testbed_start(&bed);
    fill_services(&bed, services, tenants, secrets);
    for (int i = 0; i < rounds; i++) {
        testbed_kill_everything(&bed);
        double begin = machine_now();
        bench_start_seconds(&bed);
        while (fill_running(&bed) != services) {
            if (machine_now() - begin > 120)
                test_fail("%zu of %zu services are back", fill_running(&bed), services);
            sleep_ms(5);
        }
        figures_add(&back, machine_now() - begin);
    }
    if (secrets > 0)
        figure_print_plain("vaultd, private memory, secrets delivered",
                           private_kib(testbed_daemon(&bed, "vaultd")) / 1024, "MiB", 5, 1);
    testbed_discard(&bed);
    return figures_median(&back);
}

static void measure_delivery(int rounds, size_t services, size_t tenants)
{
    enum { SECRETS = 3 };
    char what[80];
    double without = back_seconds(rounds, services, tenants, 0);
    double with = back_seconds(rounds, services, tenants, SECRETS);
    snprintf(what, sizeof what, "%zu services back, solod exec to all run", services);
    figure_print_plain(what, without, "s", 0, 0);
    figure_print_plain("what 3 secrets for each of them add", with - without, "s",
                       0.3 * (double)services / 1000, 1);
}

int main(int argc, char **argv)
{
    struct bench_size size;
    if (!bench_size_read(argc, argv, &size))
        return 64;
    measure_start(size.rounds);
    measure_recovery(size.rounds, size.services, size.tenants);
    measure_delivery(size.rounds, size.services, size.tenants);
    return 0;
}
