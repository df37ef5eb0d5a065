/* Which way each limit is held, and what is said of an exit. A folder stands for the cgroup. */
#include "tenantd/limits.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "tests/support/criterion.h"
#include "tests/unit/tenantd/scratch.h"

static struct scratch scratch;
static int fd = -1;

static void begin(void)
{
    scratch_open(&scratch);
    fd = open(scratch.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
}

static void end(void)
{
    fd_close(&fd);
    scratch_close(&scratch);
}
TestSuite(limits, .init = begin, .fini = end);

static void make(const char *name)
{
    AUTO(fd_close) int file = openat(fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(file, 0);
}

static const struct spec_limits all = { 256 << 20, 64, 512, 500 };
static const struct spec_limits none = { 0 };
static const struct limits_site alone = { .counts_alone = true };

Test(limits, by_the_cgroup_where_it_has_controllers)
{
    struct spawn_limits rlimits;
    char text[LIMITS_TEXT_BYTES];
    make("memory.max");
    make("pids.max");
    make("cpu.max");
    struct limits_held held = limits_hold(&alone, &all, fd, &rlimits);
    cr_assert_eq(rlimits.memory_bytes, 0);
    cr_assert_eq(rlimits.tasks, 0);
    cr_assert_eq(rlimits.files, 512);
    cr_assert_str_eq(limits_text(text, &all, &held),
                     "memory 256 MiB (cgroup), tasks 64 (cgroup), files 512 (rlimit, each "
                     "process; nobody sees it reached), cpu 0.5 (cgroup)");
}

Test(limits, by_rlimits_without_controllers_and_never_silently)
{
    struct spawn_limits rlimits;
    char text[LIMITS_TEXT_BYTES];
    const int ways[] = { fd, -1 };
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        struct limits_held held = limits_hold(&alone, &all, ways[i], &rlimits);
        cr_assert_eq(rlimits.memory_bytes, 256 << 20);
        cr_assert_eq(rlimits.tasks, 64);
        cr_assert_str_eq(limits_text(text, &all, &held),
                         "memory 256 MiB (rlimit, each process), tasks 64 (rlimit, of the tenant "
                         "together), files 512 (rlimit, each process; nobody sees it reached), cpu "
                         "0.5 (not enforced: no cpu controller)");
    }
}

/* RLIMIT_NPROC would count everything that this user runs. */
Test(limits, tasks_are_not_held_where_others_would_be_counted)
{
    const struct limits_site shared = { .counts_alone = false, .processes_max = 10 };
    struct spawn_limits rlimits;
    char text[LIMITS_TEXT_BYTES];
    const struct spec_limits tasks = { .tasks = 64 };
    struct limits_held held = limits_hold(&shared, &tasks, -1, &rlimits);
    cr_assert_eq(rlimits.tasks, 0);
    cr_assert_str_eq(limits_text(text, &tasks, &held),
                     "tasks 64 (not enforced: no pids controller)");
}

Test(limits, a_service_without_limits_has_none)
{
    struct spawn_limits rlimits;
    char text[LIMITS_TEXT_BYTES];
    struct limits_held held = limits_hold(&alone, &none, fd, &rlimits);
    cr_assert_eq(rlimits.tasks, 0);
    cr_assert_eq(rlimits.files, 0);
    cr_assert_eq(rlimits.memory_bytes, 0);
    cr_assert_str_eq(limits_text(text, &none, &held), "");
}

/* A fork bomb of what is kept by nothing else leaves half of the machine's processes to others. */
Test(limits, what_bounds_no_tasks_has_half_of_the_machines)
{
    struct spawn_limits rlimits;
    struct limits_site site = { .tasks_default = limits_tasks_default() };
    cr_assert_gt(site.tasks_default, 0);
    limits_hold(&site, &none, -1, &rlimits);
    cr_assert_eq(rlimits.tasks, site.tasks_default);
    limits_hold(&site, &all, -1, &rlimits);
    cr_assert_eq(rlimits.tasks, site.tasks_default, "its own is not enforced here");
    site.counts_alone = true;
    limits_hold(&site, &all, -1, &rlimits);
    cr_assert_eq(rlimits.tasks, all.tasks);
    make("pids.max");
    limits_hold(&site, &all, fd, &rlimits);
    cr_assert_eq(rlimits.tasks, 0, "its cgroup counts it alone");
}

Test(limits, more_files_than_there_are_is_told)
{
    struct rlimit few = { 100, 100 };
    struct spawn_limits rlimits;
    char text[LIMITS_TEXT_BYTES];
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    struct limits_held held = limits_hold(&alone, &all, -1, &rlimits);
    cr_assert_eq(rlimits.files, 100);
    cr_assert_not_null(strstr(limits_text(text, &all, &held), "files 100 of 512"));
}

Test(limits, the_longest_text_fits)
{
    const struct spec_limits most = { (UINT64_C(64) << 40) - 1, 4194304, 1048576, 1023999 };
    const struct limits_held held = { LIMIT_BY_RLIMIT, LIMIT_NOT_HELD, LIMIT_BY_RLIMIT,
                                      LIMIT_NOT_HELD, 999999 };
    char text[LIMITS_TEXT_BYTES];
    limits_text(text, &most, &held);
    cr_assert_str_eq(strrchr(text, ':'), ": no cpu controller)");
}

/* ---- the tenant's own bounds ---- */

Test(limits, a_tenant_is_bounded_by_its_cgroup_where_that_can)
{
    struct limits_site site = { .counts_alone = true, .processes_max = 100 };
    struct spawn_limits rlimits;
    limits_bound_tenant(&site, fd);
    cr_assert_not(site.is_processes_max_held);
    limits_hold(&site, &none, fd, &rlimits);
    cr_assert_eq(rlimits.tasks, 100, "its services carry the bound themselves");
    limits_hold(&site, &all, fd, &rlimits);
    cr_assert_eq(rlimits.tasks, 64);
    make("pids.max");
    limits_bound_tenant(&site, fd);
    cr_assert(site.is_processes_max_held);
    limits_hold(&site, &none, -1, &rlimits);
    cr_assert_eq(rlimits.tasks, 0);
}

/* What the kernel ends for memory it ends whole: a service, for its own bound or its tenant's;
 * never all of a tenant for one of its services. */
Test(limits, a_service_ends_together_and_alone)
{
    struct limits_site site = { .counts_alone = true, .memory_bytes_max = 1 << 30 };
    struct spawn_limits rlimits;
    struct stat stat;
    make("memory.max");
    make("memory.oom.group");
    limits_bound_tenant(&site, fd);
    limits_hold(&alone, &none, fd, &rlimits);
    cr_assert_eq(fstatat(fd, "memory.oom.group", &stat, 0), 0);
    cr_assert_eq(stat.st_size, 0, "a tenant is not ended as a whole");
    limits_hold(&site, &none, fd, &rlimits);
    cr_assert_eq(fstatat(fd, "memory.oom.group", &stat, 0), 0);
    cr_assert_eq(stat.st_size, 1);
}

/* ---- exits ---- */

enum { KILLED = SIGKILL, CODE_1 = 1 << 8, SEGV = SIGSEGV };
static const struct limits_held not_asked;
static const struct limits_held by_cgroup = { LIMIT_BY_CGROUP, LIMIT_BY_CGROUP, LIMIT_BY_RLIMIT,
                                              LIMIT_BY_CGROUP, 512 };
static const struct limits_held by_rlimit = { LIMIT_BY_RLIMIT, LIMIT_BY_RLIMIT, LIMIT_BY_RLIMIT,
                                              LIMIT_NOT_HELD, 512 };
static const struct limits_held tasks_by_rlimit = { .tasks = LIMIT_BY_RLIMIT };

Test(limits, each_breach_is_told_as_what_it_is)
{
    static const struct {
        const struct limits_held *held;
        struct cgroup_use use;
        int exit_status;
        uint64_t resident_bytes_max;
        const char *limit;
        const char *text;
        bool is_killed;
    } cases[] = {
        { &by_cgroup,
          { 256 << 20, 1, 1, 0, 0 },
          KILLED,
          0,
          "memory",
          "killed for memory: 256 of 256 MiB",
          true },
        { &by_cgroup,
          { 0, 1, 1, 0, 0 },
          KILLED,
          0,
          "memory",
          "killed for memory: 256 of 256 MiB",
          true },
        { &by_cgroup,
          { 900 << 10, 1, 1, 0, 0 },
          CODE_1,
          0,
          "memory",
          "killed for memory: 900 KiB of 256 MiB",
          false },
        { &by_cgroup,
          { 9 << 20, 0, 1, 0, 0 },
          KILLED,
          0,
          "memory",
          "killed for memory: its tenant or the machine had none left",
          true },
        { &by_cgroup,
          { 9 << 20, 0, 0, 3, 0 },
          CODE_1,
          0,
          "tasks",
          "out of tasks: 64 allowed, 3 more refused",
          false },
        { &by_cgroup,
          { 9 << 20, 0, 0, 0, 2500000 },
          CODE_1,
          0,
          NULL,
          "waited 2500 ms for its cpu limit",
          false },
        /* Somebody's kill is no breach, and neither is an ordinary exit. */
        { &by_cgroup, { 9 << 20, 0, 0, 0, 0 }, KILLED, 0, NULL, "", false },
        { &by_cgroup, { 9 << 20, 5, 0, 0, 0 }, CODE_1, 0, NULL, "", false },
        { &by_rlimit,
          { 0, 0, 0, 0, 0 },
          SEGV,
          0,
          NULL,
          "whether its limit of 256 MiB was reached is not known",
          false },
        { &by_rlimit, { 0, 0, 0, 0, 0 }, KILLED, 0, NULL, "", false },
        { &by_rlimit, { 0, 0, 0, 0, 0 }, 0, 0, NULL, "", false },
        /* Under an rlimit: from seven eighths of it on, and only when it ended badly. */
        { &by_rlimit,
          { 0, 0, 0, 0, 0 },
          CODE_1,
          250 << 20,
          "memory",
          "it had used 250 of 256 MiB of memory",
          false },
        { &by_rlimit, { 0, 0, 0, 0, 0 }, 0, 250 << 20, NULL, "", false },
        { &by_rlimit,
          { 0, 0, 0, 0, 0 },
          CODE_1,
          300 << 20,
          "memory",
          "it had used 256 of 256 MiB of memory",
          false },
        { &by_rlimit,
          { 0, 0, 0, 0, 0 },
          CODE_1,
          200 << 20,
          NULL,
          "whether its limit of 256 MiB was reached is not known",
          false },
        { &tasks_by_rlimit,
          { 0, 0, 0, 0, 0 },
          CODE_1,
          0,
          NULL,
          "whether its limit of 64 tasks was reached is not known",
          false },
        { &tasks_by_rlimit, { 0, 0, 0, 0, 0 }, 0, 0, NULL, "", false },
        { &not_asked,
          { 0, 0, 0, 0, 0 },
          SIGXCPU,
          0,
          "cpu",
          "killed for processor time: its RLIMIT_CPU is used up (SIGXCPU)",
          true },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct limits_breach breach = limits_breach_of(
            &all, cases[i].held, &cases[i].use, cases[i].exit_status, cases[i].resident_bytes_max);
        cr_expect_str_eq(breach.text, cases[i].text, "case %zu: %s", i, breach.text);
        cr_expect_eq(breach.is_killed, cases[i].is_killed, "case %zu", i);
        cr_expect((breach.limit == NULL) == (cases[i].limit == NULL), "case %zu", i);
        if (breach.limit != NULL && cases[i].limit != NULL)
            cr_expect_str_eq(breach.limit, cases[i].limit, "case %zu", i);
    }
}
