/* Services at their limits, by way of the real tenantd. What a machine without controllers can show
 * is shown: the plain path is asked for where it matters. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "tests/support/criterion.h"
#include "tests/unit/tenantd/supervisor_calls.h"

static struct bed bed;

static void end(void)
{
    bed_close(&bed);
}
TestSuite(limited, .fini = end);

static const char *const without_cgroup[] = { "--without-cgroup", NULL };

static void start(const char *name, uint64_t generation, const char *members)
{
    cr_assert_eq(bed_start(&bed, name, generation, generation, "deploy", members, NULL), STATUS_OK,
                 "%s", bed.problem.message);
}

Test(limited, files_are_bounded_in_each_process)
{
    bed_open(&bed, NULL);
    start("api", 5,
          "\"argv\": [\"PROGRAMS/hog\", \"files\", \"100\"], \"limits\": {\"files\": 20}");
    bed_await_log(&bed, "api", "files 17, then Too many open files");
    start("web", 6, "\"argv\": [\"PROGRAMS/hog\", \"files\", \"100\"]");
    bed_await_log(&bed, "web", "files 100");
}

Test(limited, memory_is_refused_by_rlimit_where_there_is_no_controller)
{
    bed_open(&bed, without_cgroup);
    start("api", 5,
          "\"argv\": [\"PROGRAMS/hog\", \"memory\", \"64\"], \"limits\": {\"memory\": \"16MiB\"}");
    bed_await_log(&bed, "api", ", then Cannot allocate memory");
    start("web", 6,
          "\"argv\": [\"PROGRAMS/hog\", \"memory\", \"64\"], \"limits\": {\"memory\": "
          "\"128MiB\"}");
    bed_await_log(&bed, "web", "memory 64");
}

Test(limited, an_exit_under_an_rlimit_says_that_its_cause_is_not_known)
{
    struct row row;
    bed_open(&bed, without_cgroup);
    start("api", 5,
          "\"argv\": [\"PROGRAMS/exiter\", \"1\"], \"limits\": {\"memory\": \"1GiB\"}, "
          "\"restart\": {\"policy\": \"never\"}");
    bed_await(&bed, "api", "completed", &row);
    cr_assert_str_eq(row.last_exit, "exited with code 1; whether its limit of 1 GiB was reached "
                                    "is not known");
}

Test(limited, one_that_had_nearly_all_its_rlimit_ended_for_it)
{
    struct row row;
    double used;
    char why[16] = "";
    bed_open(&bed, without_cgroup);
    start("api", 5,
          "\"argv\": [\"PROGRAMS/hog\", \"memory\", \"600\", \"exit\"], \"limits\": {\"memory\": "
          "\"400MiB\"}, \"restart\": {\"policy\": \"never\"}");
    bed_await(&bed, "api", "completed", &row);
    cr_assert_eq(
        sscanf(row.last_exit, "exited with code 1; it had used %lf of 400 MiB of %15s", &used, why),
        2, "%s", row.last_exit);
    cr_assert_str_eq(why, "memory");
    cr_assert_geq(used, 350.0);
    cr_assert_leq(used, 400.0);
}

/* Needs that nobody else is counted: a uid or a user namespace of the tenant's own. */
Test(limited, tasks_are_bounded_and_others_are_not_harmed)
{
    bed_open(&bed, without_cgroup);
    bool is_counted_alone = geteuid() == 0 || strcmp(bed.isolation, "none") != 0;
    start("api", 5, "\"argv\": [\"PROGRAMS/hog\", \"tasks\", \"40\"], \"limits\": {\"tasks\": 10}");
    bed_await_log(&bed, "api",
                  is_counted_alone ? ", then Resource temporarily unavailable" : "tasks 40");
    start("web", 6, "\"argv\": [\"PROGRAMS/hog\", \"tasks\", \"20\"]");
    bed_await_log(&bed, "web", "tasks 20");
    cr_assert_eq(bed_stop(&bed, "api", 7, "kill", 0, NULL), STATUS_OK);
    cr_assert_eq(bed_stop(&bed, "web", 7, "kill", 0, NULL), STATUS_OK);
    cr_assert_eq(bed_marked(&bed), 0);
}

Test(limited, a_tenants_processes_are_bounded_together)
{
    static const char *const few[] = { "--without-cgroup", "--set", "tenant_processes_max=12",
                                       NULL };
    bed_open(&bed, few);
    if (geteuid() != 0 && strcmp(bed.isolation, "none") == 0) {
        bed_close(&bed);
        cr_skip("no uid and no namespace of the tenant's own");
    }
    start("api", 5, "\"argv\": [\"PROGRAMS/hog\", \"tasks\", \"40\"]");
    bed_await_log(&bed, "api", ", then Resource temporarily unavailable");
    /* What is started by the supervisor still starts: a fork bomb keeps nobody from it. */
    start("web", 6, "\"argv\": [\"PROGRAMS/sleeper\"]");
}

Test(limited, what_is_in_force_stands_in_the_row)
{
    struct row row;
    bed_open(&bed, without_cgroup);
    start("api", 5, "\"argv\": [\"PROGRAMS/sleeper\"], \"limits\": {\"cpu\": 0.5, \"files\": 30}");
    cr_assert(bed_row(&bed, "api", &row));
    cr_assert_str_eq(row.limits,
                     "files 30 (rlimit, each process; nobody sees it reached), cpu 0.5 (not "
                     "enforced: no cpu controller)");
    start("web", 6, "\"argv\": [\"PROGRAMS/sleeper\"]");
    cr_assert(bed_row(&bed, "web", &row));
    cr_assert_str_eq(row.limits, "");
}

/* The spec gives a share of the processors; who has a limit of its own is ended by it. */
Test(limited, the_signal_for_processor_time_is_a_breach)
{
    struct row row;
    bed_open(&bed, NULL);
    start("api", 5,
          "\"argv\": [\"sh\", \"-c\", \"kill -XCPU $$\"], \"restart\": {\"policy\": \"never\"}");
    bed_await(&bed, "api", "failed", &row);
    cr_assert_str_eq(row.last_exit,
                     "was killed for processor time: its RLIMIT_CPU is used up (SIGXCPU)");
}

Test(limited, what_a_limit_may_have_had_to_do_with_it_stands_behind_the_exit)
{
    struct row row;
    bed_open(&bed, without_cgroup);
    start("api", 5,
          "\"argv\": [\"sh\", \"-c\", \"exit 1\"], \"limits\": {\"memory\": \"64MiB\"}, "
          "\"restart\": {\"policy\": \"on-failure\", \"initial\": \"1h\", \"max\": \"1h\"}");
    bed_await(&bed, "api", "backoff", &row);
    cr_assert_eq(strncmp(row.reason, "exited with code 1 after ", 25), 0, "%s", row.reason);
    cr_assert_not_null(strstr(row.reason, "s; whether its limit of 64 MiB was reached is not "
                                          "known; restarts in 1h"),
                       "%s", row.reason);
}
