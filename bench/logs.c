/* What services print, through one supervisor into their logs: bytes per second of several that
 * print as fast as they can, beside a bare loop that reads the same lines from a pipe and writes
 * them to a file; the supervisor's memory before and after; and what a deploy of their neighbour
 * takes meanwhile.
 *
 *     bench_logs [MIB_PER_SERVICE [SERVICES [LINE_BYTES]]]       1024, 4 and 100 by default */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/figures.h"
#include "bench/machine.h"
#include "common/base/file.h"
#include "tests/support/process.h"
#include "tests/support/services.h"

enum { READ_BYTES = 128 * 1024, NEIGHBOURS = 20, FILE_BYTES_MAX = 10 * 1024 * 1024 };

/* Reads what `printer` prints and writes it to a file that begins anew as logs do: megabytes per
 * second. */
static double bare_rate(const struct testbed *bed, const char *printer, const char *bytes,
                        const char *line)
{
    char path[4096];
    static char buffer[READ_BYTES];
    int ends[2];
    snprintf(path, sizeof path, "%s/bare", bed->dir);
    if (pipe2(ends, O_CLOEXEC) < 0)
        test_fail("no pipe");
    AUTO(fd_close) int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const char *const argv[] = { printer, bytes, line, NULL };
    double begin = machine_now();
    pid_t pid = machine_spawn_writer(argv, ends[1]);
    close(ends[1]);
    size_t total = 0, in_file = 0;
    for (ssize_t size; (size = read(ends[0], buffer, sizeof buffer)) > 0; total += (size_t)size) {
        if (write(file, buffer, (size_t)size) != size)
            test_fail("cannot write %s", path);
        if ((in_file += (size_t)size) > FILE_BYTES_MAX) {
            if (ftruncate(file, 0) < 0 || lseek(file, 0, SEEK_SET) < 0)
                test_fail("cannot begin %s anew", path);
            in_file = 0;
        }
    }
    double took = machine_now() - begin;
    waitpid(pid, NULL, 0);
    close(ends[0]);
    return (double)total / took / 1e6;
}

static json_t *printer_spec(const struct testbed *bed, size_t number, const char *bytes,
                            const char *line)
{
    char name[32];
    snprintf(name, sizeof name, "loud%zu", number);
    json_t *spec = service_spec(bed, "acme", name, "flooder", bytes, line, NULL);
    json_object_set_new(spec, "restart", json_pack("{s:s}", "policy", "never"));
    return spec;
}

static void await_gone(const struct testbed *bed, size_t services)
{
    char name[32];
    AUTO(result_close) struct result result = { 0 };
    for (size_t i = 0; i < services; i++) {
        snprintf(name, sizeof name, "acme/loud%zu", i);
        testbed_soloctl(bed, &result, "wait", name, "--for", "gone", "--timeout", "10m", NULL);
        if (result.exit_code != 0)
            test_fail("%s does not end: %s", name, result_err(&result));
    }
}

static double private_mib(pid_t pid)
{
    return (double)(process_number(pid, "smaps_rollup", "Private_Clean") +
                    process_number(pid, "smaps_rollup", "Private_Dirty")) /
           1024;
}

/* What a process has used of the processors: user and system. */
static double cpu_seconds(pid_t pid)
{
    unsigned long user, system;
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = read(fd, text, sizeof text - 1);
    text[size < 0 ? 0 : size] = '\0';
    const char *rest = strrchr(text, ')');
    if (rest == NULL || sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                               &user, &system) != 2)
        test_fail("cannot read %s", path);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* A service that starts and prints a line while the others print without end: milliseconds. */
static double neighbour_ms(const struct testbed *bed, size_t number)
{
    char name[32];
    snprintf(name, sizeof name, "quiet%zu", number);
    double begin = machine_now();
    service_deploy_sleeper(bed, "acme", name);
    return 1000 * (machine_now() - begin);
}

int main(int argc, char **argv)
{
    size_t mebibytes = argc > 1 ? (size_t)atol(argv[1]) : 1024;
    size_t services = argc > 2 ? (size_t)atol(argv[2]) : 4;
    const char *line = argc > 3 ? argv[3] : "100";
    char bytes[32], printer[4096];
    struct testbed bed;
    struct figures calm = { 0 }, busy = { 0 };
    if (mebibytes < 1 || services < 1 || services > 64 || atoi(line) < 2)
        return 64;
    snprintf(bytes, sizeof bytes, "%zu", mebibytes << 20);
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_LOG_RATE_BYTES", "0");
    testbed_start(&bed);
    testbed_program(&bed, "flooder", printer);
    service_deploy_sleeper(&bed, "acme", "first");
    for (size_t i = 0; i < NEIGHBOURS / 2; i++)
        figures_add(&calm, neighbour_ms(&bed, i));
    pid_t supervisor = testbed_supervisor(&bed, "acme");
    double before = private_mib(supervisor), limit = bare_rate(&bed, printer, bytes, line);
    double begin = machine_now(), used_before = cpu_seconds(supervisor);
    for (size_t i = 0; i < services; i++)
        service_deploy(&bed, printer_spec(&bed, i, bytes, line));
    for (size_t i = NEIGHBOURS / 2; i < NEIGHBOURS; i++)
        figures_add(&busy, neighbour_ms(&bed, i));
    await_gone(&bed, services);
    double used = cpu_seconds(supervisor) - used_before, took = machine_now() - begin;
    double rate = (double)(services * (mebibytes << 20)) / took / 1e6;
    char what[80];
    snprintf(what, sizeof what, "%zu services printing lines of %s B", services, line);
    figure_print(what, rate, "MB/s", "pipe to file", limit, 0, 0);
    figure_print_plain("  the same, wanted", rate, "MB/s", 200, 0);
    figure_print_plain("  per second of tenantd's processor time",
                       (double)(services * (mebibytes << 20)) / used / 1e6, "MB/s", 200, 0);
    /* The others take their part of the machine: what it writes is bounded by its own. */
    figure_print_plain("  tenantd's share of one processor", 100 * used / took, "%", 0, 0);
    figure_print_plain("  lines", rate * 1e6 / atof(line), "/s", 0, 0);
    figure_print_plain("  tenantd's private memory grew by", private_mib(supervisor) - before,
                       "MiB", 2, 1);
    figure_print("  deploy of a neighbour meanwhile", figures_median(&busy), "ms", "when calm",
                 figures_median(&calm), 0, 1);
    testbed_discard(&bed);
    return 0;
}
