/* What it takes to deploy: a thousand tiny services with one `soloctl apply`, beside a bare
 * posix_spawn loop of the same program; the same file once more, when nothing is to be done; and a
 * single deploy from request to answer, beside two commits and a spawn, with the commits and the
 * processor time that it took.
 *
 *     bench_apply [SERVICES [TENANTS [DEPLOYS]]]       1000, 10 and 64 by default */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/figures.h"
#include "bench/machine.h"
#include "common/base/buffer.h"
#include "tests/support/services.h"

static const double SECONDS_MORE = 0.3;

static void specs_write(const char *program, size_t services, size_t tenants, struct buffer *text)
{
    char line[8192];
    for (size_t i = 0; i < services; i++) {
        int size = snprintf(line, sizeof line,
                            "{\"tenant\": \"t%zu\", \"name\": \"s%zu\", \"argv\": [\"%s\"]}\n",
                            i % tenants, i, program);
        buffer_append(text, line, (size_t)size);
    }
    buffer_append(text, "", 1);
}

static double apply_seconds(const struct testbed *bed, const struct buffer *specs)
{
    AUTO(result_close) struct result result = { 0 };
    double begin = machine_now();
    testbed_soloctl_input(bed, &result, (const char *)specs->data, "-o", "json", "apply", "-f", "-",
                          NULL);
    double took = machine_now() - begin;
    if (result.exit_code != 0)
        test_fail("apply ended with %d: %s", result.exit_code, result_err(&result));
    return took;
}

static void measure_apply(struct testbed *bed, const char *program, size_t services, size_t tenants)
{
    AUTO(buffer_close) struct buffer specs = { .limit = 64u << 20 };
    const char *const argv[] = { program, NULL };
    char what[80], tenant[32];
    specs_write(program, services, tenants, &specs);
    for (size_t i = 0; i < tenants; i++) {
        snprintf(tenant, sizeof tenant, "t%zu", i);
        service_deploy_sleeper(bed, tenant, "first"); /* its supervisor runs */
    }
    double bare = machine_spawn_seconds(argv, services), took = apply_seconds(bed, &specs);
    double again = apply_seconds(bed, &specs);
    snprintf(what, sizeof what, "apply of %zu specs", services);
    figure_print(what, took, "s", "1.5 x posix_spawn loop + 0.3 s", 1.5 * bare + SECONDS_MORE, 1,
                 1);
    snprintf(what, sizeof what, "  once more, unchanged");
    figure_print(what, again, "s", "the first time", took, 0, 1);
}

static double commits(const struct testbed *bed)
{
    json_t *stats = testbed_ask(bed, "eventd", "daemon.stats", NULL);
    double count = (double)number_in(json_object_get(stats, "counters"), "commits");
    json_decref(stats);
    return count;
}

static void measure_deploy(struct testbed *bed, const char *program, size_t deploys)
{
    static const char *const names[] = { "deployd", "tenantd", "eventd" };
    struct figures figures = { 0 };
    const char *const argv[] = { program, NULL };
    const pid_t pids[] = { testbed_daemon(bed, "deployd"), testbed_supervisor(bed, "t0"),
                           testbed_daemon(bed, "eventd") };
    double before[COUNT_OF(pids)];
    char name[32], what[64];
    double commit = 1 / machine_synced_pairs(bed->dir, 1);
    double spawn = machine_spawn_seconds(argv, deploys) / (double)deploys;
    double commits_before = commits(bed);
    for (size_t i = 0; i < COUNT_OF(pids); i++)
        before[i] = machine_processor_seconds(pids[i]);
    for (size_t i = 0; i < deploys; i++) {
        snprintf(name, sizeof name, "d%zu", i);
        double begin = machine_now();
        service_deploy_sleeper(bed, "t0", name);
        if (figures.count < FIGURES_MAX)
            figures_add(&figures, 1000 * (machine_now() - begin));
    }
    figure_print("deploy, request to answer, p50", figures_median(&figures), "ms",
                 "two commits and a spawn", 1000 * (2 * commit + spawn), 1, 1);
    figure_print_plain("  commits of the log", (commits(bed) - commits_before) / (double)deploys,
                       "", 2.1, 1);
    for (size_t i = 0; i < COUNT_OF(pids); i++) {
        double used = machine_processor_seconds(pids[i]) - before[i];
        snprintf(what, sizeof what, "  processor time of %s", names[i]);
        figure_print_plain(what, 1e6 * used / (double)deploys, "us", 0, 0);
    }
}

int main(int argc, char **argv)
{
    size_t services = argc > 1 ? (size_t)atol(argv[1]) : 1000;
    size_t tenants = argc > 2 ? (size_t)atol(argv[2]) : 10;
    size_t deploys = argc > 3 ? (size_t)atol(argv[3]) : FIGURES_MAX;
    struct testbed bed;
    char program[4096];
    if (services < 1 || tenants < 1 || tenants > services || deploys < 1)
        return 64;
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_SHUTDOWN_TIMEOUT_MS", "60000");
    testbed_start(&bed);
    testbed_program(&bed, "sleeper", program);
    measure_apply(&bed, program, services, tenants);
    measure_deploy(&bed, program, deploys);
    testbed_discard(&bed);
    return 0;
}
