/* A service that does all it can to survive, by cgroup. Looks at /proc can miss a process that is
 * another one at each look: by mark no such promise is made (tenantd/README.md). */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/criterion.h"
#include "tests/unit/tenantd/supervisor_bed.h"

static struct bed bed;

static void end(void)
{
    bed_close(&bed);
}
TestSuite(hostile, .fini = end);

/* Processes of a program by what the kernel says they execute: the rest can be disguised. */
static size_t living(const char *program)
{
    char path[PATH_MAX], link[64], target[PATH_MAX];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/programs/%s", bed.scratch.path, program);
    DIR *proc = opendir("/proc");
    cr_assert_not_null(proc);
    for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
        snprintf(link, sizeof link, "/proc/%.20s/exe", entry->d_name);
        ssize_t size = readlink(link, target, sizeof target - 1);
        target[size < 0 ? 0 : size] = '\0';
        count += size > 0 && strcmp(target, path) == 0;
    }
    closedir(proc);
    return count;
}

static void end_hydra(const char *const *options)
{
    struct row other, row;
    bed_open(&bed, options);
    if (strcmp(bed.stop_method, "cgroup") != 0) {
        bed_close(&bed);
        cr_skip("no writable cgroup v2 tree here");
    }
    cr_assert_eq(
        bed_start(&bed, "other", 4, 4, "deploy", "\"argv\": [\"PROGRAMS/sleeper\"]", &other),
        STATUS_OK);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy",
                           "\"argv\": [\"PROGRAMS/hydra\", \"8\", \"60\"], \"stop\": {\"timeout\": "
                           "\"100ms\"}",
                           NULL),
                 STATUS_OK);
    bed_await_log(&bed, "api", "8 heads");
    cr_assert_gt(living("hydra"), 1);
    cr_assert_eq(bed_stop(&bed, "api", 5, "kill", -1, NULL), STATUS_OK, "%s", bed.problem.message);
    for (int looks = 0; looks < 5; looks++)
        cr_assert_eq(living("hydra"), 0);
    cr_assert(is_alive(other.pid));
    cr_assert_not(bed_row(&bed, "api", &row));
    bed_close(&bed);
}

Test(hostile, who_never_stays_is_ended_by_cgroup)
{
    end_hydra(NULL);
}
Test(hostile, who_never_stays_is_ended_by_cgroup_without_namespaces)
{
    static const char *const without_namespaces[] = { "--without-namespaces", NULL };
    end_hydra(without_namespaces);
}
