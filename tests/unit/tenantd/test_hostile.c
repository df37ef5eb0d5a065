/* A service that does all it can to survive, against every way to end a tree. Its processes fork,
 * leave and end without pause: whoever looks at /proc sees others each time, or none. */
#include <dirent.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/criterion.h"
#include "tests/unit/tenantd/supervisor_calls.h"

enum { NEIGHBOUR_CHILDREN = 3, LOOKS = 20, PIDS_MAX = 64, ORDINARY_UID = 65534 };

static struct bed bed;

static void end(void)
{
    bed_close(&bed);
}
TestSuite(hostile, .fini = end, .timeout = 180);

/* Processes of a program by what the kernel says they execute: the rest can be disguised. */
static size_t living(const char *program, pid_t pids[PIDS_MAX])
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
        if (size <= 0 || strcmp(target, path) != 0)
            continue;
        if (count < PIDS_MAX)
            pids[count] = (pid_t)atoi(entry->d_name);
        count++;
    }
    closedir(proc);
    return count;
}

static void see_neighbours(pid_t pids[PIDS_MAX])
{
    cr_assert_eq(living("double_forker", pids), NEIGHBOUR_CHILDREN + 1);
}

/* One look can miss them all. */
static void see_hydra(void)
{
    pid_t pids[PIDS_MAX];
    for (int looks = 0; looks < 1000; looks++)
        if (living("hydra", pids) > 1)
            return;
    cr_assert_fail("it has no heads");
}

/* Again and again, with a neighbour that has orphans, too. */
static void end_hydra(const char *const *options, const char *way)
{
    struct row row;
    pid_t before[PIDS_MAX], after[PIDS_MAX], heads[PIDS_MAX];
    bed_open(&bed, options);
    if (strcmp(bed.stop_method, way) != 0) {
        bed_close(&bed);
        cr_skip("no writable cgroup v2 tree here");
    }
    cr_assert_eq(bed_start(&bed, "other", 4, 4, "deploy",
                           "\"argv\": [\"PROGRAMS/double_forker\", \"3\"]", NULL),
                 STATUS_OK);
    bed_await_log(&bed, "other", "forked 3");
    see_neighbours(before);
    for (uint64_t generation = 5; generation < 8; generation++) {
        cr_assert_eq(bed_start(&bed, "api", generation * 2, generation * 2, "deploy",
                               "\"argv\": [\"PROGRAMS/hydra\", \"8\", \"30\"], "
                               "\"stop\": {\"timeout\": \"100ms\"}",
                               NULL),
                     STATUS_OK);
        bed_await_log(&bed, "api", "8 heads");
        see_hydra();
        cr_assert_eq(bed_stop(&bed, "api", generation * 2 + 1, "kill", -1, NULL), STATUS_OK, "%s",
                     bed.problem.message);
        for (int looks = 0; looks < LOOKS; looks++)
            cr_assert_eq(living("hydra", heads), 0);
        cr_assert_not(bed_row(&bed, "api", &row));
    }
    see_neighbours(after);
    cr_assert_eq(memcmp(before, after, (NEIGHBOUR_CHILDREN + 1) * sizeof *before), 0);
    cr_assert_eq(bed_stop(&bed, "other", 99, "kill", -1, NULL), STATUS_OK);
    cr_assert_eq(living("double_forker", after), 0);
    bed_close(&bed);
}

Test(hostile, who_never_stays_is_ended_by_cgroup)
{
    end_hydra(NULL, "cgroup");
}
Test(hostile, who_never_stays_is_ended_by_cgroup_without_namespaces)
{
    static const char *const options[] = { "--without-namespaces", NULL };
    end_hydra(options, "cgroup");
}

static const char *const by_mark[] = { "--without-cgroup", NULL };
static const char *const by_mark_alone[] = { "--without-cgroup", "--without-namespaces", NULL };

Test(hostile, who_never_stays_is_ended_by_mark)
{
    end_hydra(by_mark, "mark");
}
Test(hostile, who_never_stays_is_ended_by_mark_without_namespaces)
{
    end_hydra(by_mark_alone, "mark");
}

static void become_ordinary(void)
{
    const char *top = getenv("TMPDIR");
    if (geteuid() != 0)
        cr_skip("it is what the other tests do here");
    cr_assert_eq(setgroups(0, NULL), 0);
    cr_assert_eq(setresgid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID), 0);
    cr_assert_eq(setresuid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID), 0);
    if (access(TENANTD, X_OK) != 0 || access(top == NULL ? "/tmp" : top, W_OK) != 0)
        cr_skip("an ordinary user cannot reach this build");
}
Test(hostile, who_never_stays_is_ended_by_mark_for_an_ordinary_user)
{
    become_ordinary();
    end_hydra(by_mark, "mark");
}
Test(hostile, who_never_stays_is_ended_by_mark_for_an_ordinary_user_without_namespaces)
{
    become_ordinary();
    end_hydra(by_mark_alone, "mark");
}
