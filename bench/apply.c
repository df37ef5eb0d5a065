/* What it takes to deploy: a thousand tiny services with one `soloctl apply`, beside a bare
 * posix_spawn loop of the same program; the same file once more, when nothing is to be done; and a
 * single deploy from request to answer, beside two commits and a spawn: the commits once as the
 * least that two of them can be (two synced overwrites each), once as what eventd takes for an
 * append; with the commits, the processor time and the wake-ups that it took.
 *
 *     bench_apply [SERVICES [TENANTS [DEPLOYS]]]       1000, 10 and 64 by default */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/figures.h"
#include "bench/machine.h"
#include "common/base/buffer.h"
#include "tests/support/process.h"
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

/* Milliseconds from the request to its answer, over a connection that is there. */
static double call(struct caller *caller, const char *method, json_t *params)
{
    struct problem problem = { 0 };
    double begin = machine_now();
    enum status status = caller_call(caller, method, params, 60000, NULL, &problem);
    double took = machine_now() - begin;
    if (status != STATUS_OK)
        test_fail("%s: %s %s", method, status_name(status), problem.message);
    json_decref(params);
    return 1000 * took;
}

static void caller_to(struct caller *caller, const struct testbed *bed, const char *daemon)
{
    char path[4096];
    if (caller_open(caller, testbed_socket(bed, daemon, path)) != STATUS_OK)
        test_fail("cannot connect to %s", daemon);
}

/* What a durable append costs a client that asks eventd itself. */
static double append_ms(const struct testbed *bed)
{
    struct figures figures = { 0 };
    struct caller caller;
    caller_to(&caller, bed, "eventd");
    while (figures.count < FIGURES_MAX)
        figures_add(&figures,
                    call(&caller, "event.append", json_pack("{s:s}", "type", "app.bench")));
    caller_close(&caller);
    return figures_median(&figures);
}

static const char *const deploying[] = { "deployd", "tenantd", "eventd" };
enum { DEPLOYING = COUNT_OF(deploying) };

/* What a process has used until now: of a processor, and how often it slept and was woken. */
struct spent {
    double seconds, sleeps;
};

static void spent_until_now(const pid_t pids[DEPLOYING], struct spent spent[DEPLOYING])
{
    for (size_t i = 0; i < DEPLOYING; i++)
        spent[i] =
            (struct spent){ machine_processor_seconds(pids[i]),
                            (double)process_number(pids[i], "status", "voluntary_ctxt_switches") };
}

static void measure_deploy(struct testbed *bed, const char *program, size_t deploys)
{
    struct figures figures = { 0 };
    struct caller caller;
    const char *const argv[] = { program, NULL };
    const pid_t pids[DEPLOYING] = { testbed_daemon(bed, "deployd"), testbed_supervisor(bed, "t0"),
                                    testbed_daemon(bed, "eventd") };
    struct spent before[DEPLOYING], after[DEPLOYING];
    char name[32], what[64];
    double commit = 1000 / machine_synced_pairs(bed->dir, 1), append = append_ms(bed);
    double spawn = 1000 * machine_spawn_seconds(argv, deploys) / (double)deploys;
    double commits_before = commits(bed);
    caller_to(&caller, bed, "deployd");
    spent_until_now(pids, before);
    for (size_t i = 0; i < deploys; i++) {
        snprintf(name, sizeof name, "d%zu", i);
        json_t *spec = service_spec(bed, "t0", name, "sleeper", NULL);
        double took = call(&caller, "service.deploy", json_pack("{s:o}", "spec", spec));
        if (figures.count < FIGURES_MAX)
            figures_add(&figures, took);
    }
    spent_until_now(pids, after);
    figure_print("deploy, request to answer, p50", figures_median(&figures), "ms",
                 "two synced pairs and a spawn", 2 * commit + spawn, 1, 1);
    figure_print("  the same", figures_median(&figures), "ms",
                 "two appends by a client of eventd and a spawn", 2 * append + spawn, 0, 1);
    figure_print_plain("  commits of the log", (commits(bed) - commits_before) / (double)deploys,
                       "", 2.1, 1);
    for (size_t i = 0; i < DEPLOYING; i++) {
        snprintf(what, sizeof what, "  processor time of %s", deploying[i]);
        figure_print_plain(what, 1e6 * (after[i].seconds - before[i].seconds) / (double)deploys,
                           "us", 0, 0);
        snprintf(what, sizeof what, "    woken");
        figure_print_plain(what, (after[i].sleeps - before[i].sleeps) / (double)deploys, "times", 0,
                           0);
    }
    caller_close(&caller);
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
