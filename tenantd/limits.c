/* Which way each limit is held, and what can be said of an exit: a cgroup counts what it refused,
 * an rlimit tells nobody. */
#include "tenantd/limits.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/size.h"

void limits_bound_tenant(struct limits_site *site, int cgroup)
{
    if (site->memory_bytes_max != 0 &&
        (cgroup < 0 || !cgroup_bound_memory(cgroup, site->memory_bytes_max)))
        log_info("the tenant's memory is bounded at admission only", "reason",
                 "no memory controller of cgroup v2");
    site->is_processes_max_held =
        site->processes_max != 0 && cgroup >= 0 && cgroup_bound_tasks(cgroup, site->processes_max);
}

static uint64_t read_number(const char *path)
{
    AUTO(buffer_close) struct buffer text = { .limit = 64 };
    if (file_read(path, &text) != STATUS_OK || buffer_append(&text, "", 1) != STATUS_OK)
        return 0;
    return strtoull((const char *)text.data, NULL, 10);
}

uint64_t limits_tasks_default(void)
{
    struct rlimit ours;
    uint64_t most = read_number("/proc/sys/kernel/threads-max");
    uint64_t pids = read_number("/proc/sys/kernel/pid_max");
    if (pids != 0 && (most == 0 || pids < most))
        most = pids;
    if (getrlimit(RLIMIT_NPROC, &ours) == 0 && ours.rlim_cur != RLIM_INFINITY &&
        (most == 0 || ours.rlim_cur < most))
        most = ours.rlim_cur;
    return most / 2;
}

static void hold_tasks(const struct limits_site *site, uint64_t tasks, int cgroup,
                       struct limits_held *held, struct spawn_limits *rlimits)
{
    bool is_bounded = tasks != 0 && cgroup >= 0 && cgroup_bound_tasks(cgroup, tasks);
    uint64_t count = is_bounded ? 0 : tasks;
    if (tasks != 0)
        held->tasks = is_bounded           ? LIMIT_BY_CGROUP
                      : site->counts_alone ? LIMIT_BY_RLIMIT
                                           : LIMIT_NOT_HELD;
    if (site->processes_max != 0 && !site->is_processes_max_held &&
        (count == 0 || count > site->processes_max))
        count = site->processes_max;
    if (site->counts_alone)
        rlimits->tasks = count;
    if (rlimits->tasks == 0 && !is_bounded)
        rlimits->tasks = site->tasks_default;
}

static void hold_files(uint64_t files, struct limits_held *held, struct spawn_limits *rlimits)
{
    struct rlimit ours;
    if (files == 0)
        return;
    held->files = LIMIT_BY_RLIMIT;
    held->files_given = files;
    if (getrlimit(RLIMIT_NOFILE, &ours) == 0 && ours.rlim_max < files)
        held->files_given = ours.rlim_max;
    rlimits->files = held->files_given;
}

struct limits_held limits_hold(const struct limits_site *site, const struct spec_limits *limits,
                               int cgroup, struct spawn_limits *rlimits)
{
    struct limits_held held = { 0 };
    *rlimits = (struct spawn_limits){ 0 };
    hold_tasks(site, limits->tasks, cgroup, &held, rlimits);
    hold_files(limits->files, &held, rlimits);
    if (cgroup >= 0 && (limits->memory_bytes != 0 || site->memory_bytes_max != 0))
        cgroup_end_together(cgroup);
    if (limits->memory_bytes != 0) {
        bool is_bounded = cgroup >= 0 && cgroup_bound_memory(cgroup, limits->memory_bytes);
        held.memory = is_bounded ? LIMIT_BY_CGROUP : LIMIT_BY_RLIMIT;
        rlimits->memory_bytes = is_bounded ? 0 : limits->memory_bytes;
    }
    if (limits->cpu_milli != 0)
        held.cpu = cgroup >= 0 && cgroup_bound_cpu(cgroup, limits->cpu_milli) ? LIMIT_BY_CGROUP
                                                                              : LIMIT_NOT_HELD;
    return held;
}

/* ---- in words ---- */

__attribute__((format(printf, 2, 3))) static void add(char text[LIMITS_TEXT_BYTES],
                                                      const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;
    if (used > 0)
        used += (size_t)snprintf(text + used, LIMITS_TEXT_BYTES - used, ", ");
    va_start(arguments, format);
    vsnprintf(text + used, LIMITS_TEXT_BYTES - used, format, arguments);
    va_end(arguments);
}

char *limits_text(char text[LIMITS_TEXT_BYTES], const struct spec_limits *limits,
                  const struct limits_held *held)
{
    char size[SIZE_TEXT_BYTES];
    text[0] = '\0';
    if (held->memory != LIMIT_NOT_ASKED)
        add(text, "memory %s (%s)", size_text(size, limits->memory_bytes),
            held->memory == LIMIT_BY_CGROUP ? "cgroup" : "rlimit, each process");
    if (held->tasks != LIMIT_NOT_ASKED)
        add(text, "tasks %" PRIu64 " (%s)", limits->tasks,
            held->tasks == LIMIT_BY_CGROUP   ? "cgroup"
            : held->tasks == LIMIT_BY_RLIMIT ? "rlimit, of the tenant together"
                                             : "not enforced: no pids controller");
    if (held->files != LIMIT_NOT_ASKED && held->files_given < limits->files)
        add(text, "files %" PRIu64 " of %" PRIu64 " (rlimit, unseen; there are no more)",
            held->files_given, limits->files);
    else if (held->files != LIMIT_NOT_ASKED)
        add(text, "files %" PRIu64 " (rlimit, each process; nobody sees it reached)",
            limits->files);
    if (held->cpu != LIMIT_NOT_ASKED)
        add(text, "cpu %g (%s)", (double)limits->cpu_milli / 1000.0,
            held->cpu == LIMIT_BY_CGROUP ? "cgroup" : "not enforced: no cpu controller");
    return text;
}

static bool may_have_lacked(int exit_status)
{
    int number = WIFSIGNALED(exit_status) ? WTERMSIG(exit_status) : 0;
    return number == SIGSEGV || number == SIGBUS || number == SIGABRT ||
           (number == 0 && WEXITSTATUS(exit_status) != 0);
}

/* Nobody counts what an rlimit refused. But who has filled its memory to the last eighth and ends
 * badly has most likely been refused more. (What it maps of files is no part of the limit and may
 * come to more.) */
static bool is_nearly_all(uint64_t bytes, uint64_t limit)
{
    return bytes >= limit - limit / 8;
}

struct limits_breach limits_breach_of(const struct spec_limits *limits,
                                      const struct limits_held *held, const struct cgroup_use *use,
                                      int exit_status, uint64_t resident_bytes_max)
{
    struct limits_breach breach = { 0 };
    char used[SIZE_PART_TEXT_BYTES], size[SIZE_TEXT_BYTES];
    bool is_killed = WIFSIGNALED(exit_status) && WTERMSIG(exit_status) == SIGKILL;
    if (WIFSIGNALED(exit_status) && WTERMSIG(exit_status) == SIGXCPU) {
        breach.limit = "cpu"; /* no limit of a spec, which gives a share: the signal says it */
        breach.is_killed = true;
        snprintf(breach.text, BREACH_TEXT_BYTES,
                 "killed for processor time: its RLIMIT_CPU is used up (SIGXCPU)");
    } else if (use->memory_kills > 0 && held->memory == LIMIT_BY_CGROUP &&
               use->memory_bound_hits > 0) {
        /* A kernel that tells no peak: it was at its bound when it was refused more. */
        uint64_t peak = use->memory_peak_bytes != 0 ? use->memory_peak_bytes : limits->memory_bytes;
        breach.limit = "memory";
        breach.is_killed = is_killed;
        snprintf(breach.text, BREACH_TEXT_BYTES, "killed for memory: %s",
                 size_part_text(used, peak, limits->memory_bytes));
    } else if (use->memory_kills > 0) {
        breach.limit = "memory";
        breach.is_killed = is_killed;
        snprintf(breach.text, BREACH_TEXT_BYTES,
                 "killed for memory: its tenant or the machine had none left");
    } else if (use->forks_refused > 0 && held->tasks == LIMIT_BY_CGROUP) {
        breach.limit = "tasks";
        snprintf(breach.text, BREACH_TEXT_BYTES,
                 "out of tasks: %" PRIu64 " allowed, %" PRIu64 " more refused", limits->tasks,
                 use->forks_refused);
    } else if (held->memory == LIMIT_BY_RLIMIT && may_have_lacked(exit_status) &&
               is_nearly_all(resident_bytes_max, limits->memory_bytes)) {
        uint64_t bytes =
            resident_bytes_max < limits->memory_bytes ? resident_bytes_max : limits->memory_bytes;
        breach.limit = "memory";
        snprintf(breach.text, BREACH_TEXT_BYTES, "it had used %s of memory",
                 size_part_text(used, bytes, limits->memory_bytes));
    } else if (held->memory == LIMIT_BY_RLIMIT && may_have_lacked(exit_status)) {
        snprintf(breach.text, BREACH_TEXT_BYTES, "whether its limit of %s was reached is not known",
                 size_text(size, limits->memory_bytes));
    } else if (held->tasks == LIMIT_BY_RLIMIT && may_have_lacked(exit_status)) {
        snprintf(breach.text, BREACH_TEXT_BYTES,
                 "whether its limit of %" PRIu64 " tasks was reached is not known", limits->tasks);
    } else if (use->throttled_us >= 1000 && held->cpu == LIMIT_BY_CGROUP) {
        snprintf(breach.text, BREACH_TEXT_BYTES, "waited %" PRIu64 " ms for its cpu limit",
                 use->throttled_us / 1000);
    }
    return breach;
}
