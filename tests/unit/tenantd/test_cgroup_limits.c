/* The files of a cgroup v2 directory, as an ordinary folder has them. */
#include "tenantd/cgroup_limits.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
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
TestSuite(cgroup_limits, .init = begin, .fini = end);

static void put(const char *name, const char *text)
{
    AUTO(fd_close) int file = openat(fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
}

static const char *get(const char *name)
{
    static char text[256];
    AUTO(fd_close) int file = openat(fd, name, O_RDONLY | O_CLOEXEC);
    ssize_t got = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (got < 0)
        return NULL;
    text[got] = '\0';
    return text;
}

Test(cgroup_limits, bounds_are_written_where_their_controllers_are)
{
    put("memory.max", "");
    put("memory.oom.group", "");
    put("memory.swap.max", "");
    put("pids.max", "");
    put("cpu.max", "");
    cr_assert(cgroup_bound_memory(fd, 256 << 20));
    cr_assert_str_eq(get("memory.max"), "268435456");
    cr_assert_str_eq(get("memory.swap.max"), "0");
    cr_assert_str_eq(get("memory.oom.group"), "", "what bounds a tenant ends one service of it");
    cgroup_end_together(fd);
    cr_assert_str_eq(get("memory.oom.group"), "1");
    cr_assert(cgroup_bound_tasks(fd, 64));
    cr_assert_str_eq(get("pids.max"), "64");
    cr_assert(cgroup_bound_cpu(fd, 500));
    cr_assert_str_eq(get("cpu.max"), "50000 100000");
    cr_assert(cgroup_bound_cpu(fd, 2010));
    cr_assert_str_eq(get("cpu.max"), "201000 100000");
}

Test(cgroup_limits, without_controllers_nothing_is_bounded_and_nothing_is_made)
{
    cr_assert_not(cgroup_bound_memory(fd, 256 << 20));
    cr_assert_not(cgroup_bound_tasks(fd, 64));
    cr_assert_not(cgroup_bound_cpu(fd, 500));
    cr_assert_not(cgroup_hand_down(fd));
    cr_assert_null(get("memory.max"));
    cr_assert_null(get("pids.max"));
    cr_assert_null(get("cgroup.subtree_control"));
    const struct cgroup_use use = cgroup_use_read(fd);
    cr_assert_eq(use.memory_kills, 0);
    cr_assert_eq(use.forks_refused, 0);
}

Test(cgroup_limits, a_kernel_without_swap_bounds_memory_all_the_same)
{
    put("memory.max", "");
    cr_assert(cgroup_bound_memory(fd, 1 << 20));
    cr_assert_str_eq(get("memory.max"), "1048576");
}

Test(cgroup_limits, a_directory_hands_down_what_its_file_says)
{
    cr_assert(cgroup_hands_down(fd), "a file that cannot be read says nothing");
    put("cgroup.subtree_control", "\n");
    cr_assert_not(cgroup_hands_down(fd));
    put("cgroup.subtree_control", "cpu\n");
    cr_assert(cgroup_hands_down(fd));
}

Test(cgroup_limits, what_is_handed_down_already_is_not_asked_for_again)
{
    put("cgroup.controllers", "cpuset cpu io memory pids\n");
    put("cgroup.subtree_control", "memory pids cpu\n");
    cr_assert(cgroup_hand_down(fd));
    cr_assert_str_eq(get("cgroup.subtree_control"), "memory pids cpu\n");
}

/* cpuset is not cpu: words are compared whole. */
Test(cgroup_limits, a_controller_that_is_only_part_of_a_word_is_not_there)
{
    put("cgroup.controllers", "cpuset hugepids\n");
    put("cgroup.subtree_control", "");
    cr_assert_not(cgroup_hand_down(fd));
    cr_assert_str_eq(get("cgroup.subtree_control"), "");
    put("cgroup.controllers", "cpu\n");
    cr_assert_not(cgroup_hand_down(fd));
    cr_assert_str_eq(get("cgroup.subtree_control"), "+cpu");
}

Test(cgroup_limits, use_is_read_by_whole_keys)
{
    put("memory.peak", "268435456\n");
    put("memory.events", "low 7\nhigh 8\nmax 9\noom 2\noom_kill 3\noom_group_kill 1\n");
    put("pids.events", "max 12\n");
    put("cpu.stat", "usage_usec 5\nnr_throttled 4\nthrottled_usec 1234567\n");
    const struct cgroup_use use = cgroup_use_read(fd);
    cr_assert_eq(use.memory_peak_bytes, 256 << 20);
    cr_assert_eq(use.memory_bound_hits, 2);
    cr_assert_eq(use.memory_kills, 3);
    cr_assert_eq(use.forks_refused, 12);
    cr_assert_eq(use.throttled_us, 1234567);
}

Test(cgroup_limits, load_is_told_by_those_controllers_that_are_there)
{
    struct cgroup_load load = cgroup_load_read(fd);
    cr_assert_not(load.has_memory || load.has_tasks || load.has_cpu);
    put("memory.current", "5000\n");
    put("memory.stat", "anon 1\nworkingset_inactive_file 9\ninactive_file 1500\n");
    put("pids.current", "7\n");
    put("cpu.stat", "usage_usec 12\nuser_usec 3\n");
    load = cgroup_load_read(fd);
    cr_assert(load.has_memory && load.has_tasks && load.has_cpu);
    cr_assert_eq(load.memory_bytes, 3500, "the cache of files can be dropped");
    cr_assert_eq(load.tasks, 7);
    cr_assert_eq(load.cpu_ns, 12000);
}
