/* Where there is a writable cgroup v2 tree; elsewhere these tests say so and pass. */
#include "tenantd/cgroup.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "tenantd/spawn.h"
#include "tests/support/criterion.h"

static void open_own(struct cgroup *cgroup)
{
    char store_id[33];
    snprintf(store_id, sizeof store_id, "%016d0000000000000000", (int)getpid());
    cgroup_open(cgroup, store_id, "acme");
    if (cgroup->fd < 0)
        cr_skip("no writable cgroup v2 tree here");
}

static pid_t start(const struct cgroup *cgroup, const char *service)
{
    char *const environment[] = { NULL };
    char *const arguments[] = { PROGRAM_DIR "/double_forker", "5", "clear-environment", NULL };
    AUTO(fd_close) int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    AUTO(fd_close) int directory = -1;
    cr_assert_eq(cgroup_service_open(cgroup, service, &directory), STATUS_OK);
    int out[2];
    cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
    const struct spawn_request request = {
        .program = PROGRAM_DIR "/double_forker",
        .arguments = arguments,
        .environment = environment,
        .working_dir = "/",
        .input = null_fd,
        .output = out[1],
        .error = null_fd,
        .cgroup = directory,
    };
    struct spawn_failure failure;
    pid_t pid;
    char text[64];
    cr_assert_eq(spawn(&request, &pid, NULL, &failure), STATUS_OK);
    close(out[1]);
    cr_assert_gt(read(out[0], text, sizeof text), 0);
    close(out[0]);
    return pid;
}

static bool is_removed(const struct cgroup *cgroup, const char *service)
{
    uint64_t deadline = clock_boottime_ns() + 60000000000u;
    while (!cgroup_service_remove(cgroup, service)) {
        if (clock_boottime_ns() > deadline)
            return false;
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        usleep(1000);
    }
    return true;
}

Test(cgroup, ends_everything_that_began_in_it_and_nothing_else)
{
    struct cgroup cgroup = CGROUP_NONE;
    open_own(&cgroup);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t first = start(&cgroup, "api"), second = start(&cgroup, "cgroup.procs");
    cr_assert_not(cgroup_service_remove(&cgroup, "api"));
    cgroup_service_kill(&cgroup, "api");
    cr_assert(is_removed(&cgroup, "api"));
    cr_assert_not(cgroup_service_remove(&cgroup, "cgroup.procs"));
    cgroup_service_kill(&cgroup, "cgroup.procs");
    cr_assert(is_removed(&cgroup, "cgroup.procs"));
    cr_assert_neq(first, second);
    cgroup_close(&cgroup);
    cr_assert_eq(cgroup.fd, -1);
}

Test(cgroup, what_cannot_be_read_is_not_taken_for_empty)
{
    struct cgroup cgroup = CGROUP_NONE;
    struct rlimit files;
    open_own(&cgroup);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    start(&cgroup, "api");
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 0, files.rlim_max }), 0);
    cr_expect_not(cgroup_service_remove(&cgroup, "api"), "no descriptor was left");
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    cgroup_service_kill(&cgroup, "api");
    cr_assert(is_removed(&cgroup, "api"));
    cgroup_close(&cgroup);
}

Test(cgroup, an_earlier_supervisors_leftovers_are_ended)
{
    struct cgroup cgroup = CGROUP_NONE;
    open_own(&cgroup);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    start(&cgroup, "api");
    start(&cgroup, "web");
    cr_assert_eq(cgroup_end_leftovers(&cgroup, false), STATUS_OK);
    cr_assert_eq(faccessat(cgroup.fd, "s-api", F_OK, 0), -1);
    cr_assert_eq(faccessat(cgroup.fd, "s-web", F_OK, 0), -1);
    cgroup_close(&cgroup);
}

/* Ends without cgroup.kill, as the end of a pid namespace does. */
static void kill_each(const struct cgroup *cgroup, const char *file)
{
    char text[4096];
    ssize_t size;
    do {
        AUTO(fd_close) int fd = openat(cgroup->fd, file, O_RDONLY | O_CLOEXEC);
        size = read(fd, text, sizeof text - 1);
        text[size < 0 ? 0 : size] = '\0';
        for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
            if (atoi(line) > 1)
                kill(atoi(line), SIGKILL);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        usleep(1000);
    } while (size > 0);
}

static ino_t inode_of(const struct cgroup *cgroup, const char *name)
{
    struct stat stat;
    cr_assert_eq(fstatat(cgroup->fd, name, &stat, 0), 0);
    return stat.st_ino;
}

Test(cgroup, directories_that_are_as_good_as_new_ones_are_used_again)
{
    struct cgroup cgroup = CGROUP_NONE;
    open_own(&cgroup);
    if (cgroup_hands_down(cgroup.fd))
        cr_skip("directories have controllers here, and are never used again");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    start(&cgroup, "api");
    start(&cgroup, "web");
    ino_t before = inode_of(&cgroup, "s-api");
    kill_each(&cgroup, "s-api/cgroup.procs");
    kill_each(&cgroup, "s-web/cgroup.procs");
    cr_assert_eq(cgroup_end_leftovers(&cgroup, true), STATUS_OK);
    cr_assert(cgroup.has_leftovers);
    cr_assert_eq(faccessat(cgroup.fd, "s-web", F_OK, 0), 0);
    start(&cgroup, "api");
    cr_assert_eq(inode_of(&cgroup, "s-api"), before);
    cgroup_remove_leftovers(&cgroup);
    cr_assert_eq(faccessat(cgroup.fd, "s-web", F_OK, 0), -1);
    cr_assert_not(cgroup_service_remove(&cgroup, "api"), "what runs in it was left alone");
    cgroup_service_kill(&cgroup, "api");
    cr_assert(is_removed(&cgroup, "api"));
    cgroup_close(&cgroup);
}

Test(cgroup, what_is_born_after_a_kill_lives)
{
    struct cgroup cgroup = CGROUP_NONE;
    open_own(&cgroup);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    start(&cgroup, "api");
    start(&cgroup, "web");
    cgroup_service_kill(&cgroup, "api");
    kill_each(&cgroup, "s-api/cgroup.procs");
    /* Killed before it could remove the directory, a supervisor leaves it so. */
    start(&cgroup, "api");
    cr_assert_eq(cgroup_end_leftovers(&cgroup, true), STATUS_OK);
    cr_assert_not(cgroup.has_leftovers, "all of them were killed");
    start(&cgroup, "api");
    start(&cgroup, "web");
    cr_assert_not(cgroup_service_remove(&cgroup, "api"));
    cr_assert_not(cgroup_service_remove(&cgroup, "web"));
    cgroup_service_kill(&cgroup, "api");
    cgroup_service_kill(&cgroup, "web");
    cr_assert(is_removed(&cgroup, "api"));
    cr_assert(is_removed(&cgroup, "web"));
    cgroup_close(&cgroup);
}

static void write_pid(const char *directory)
{
    char path[512];
    snprintf(path, sizeof path, "%s/cgroup.procs", directory);
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert(fd >= 0 && write(fd, "0", 1) == 1, "%s", path);
}

static bool is_in(const char *name)
{
    char text[4096] = "";
    AUTO(fd_close) int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    cr_assert_gt(read(fd, text, sizeof text - 1), 0);
    const char *own = strstr(text, "0::");
    return own != NULL && strstr(own, name) != NULL;
}

/* systemd starts a unit again only in a cgroup that hands nothing down. */
Test(cgroup, below_a_unit_of_systemd_it_is_the_delegated_one)
{
    struct cgroup cgroup = CGROUP_NONE;
    char link[64], own[4096] = "", above[300], unit[320], delegated[330], leaf[350];
    open_own(&cgroup);
    snprintf(link, sizeof link, "/proc/self/fd/%d", cgroup.fd);
    cr_assert_gt(readlink(link, own, sizeof own - 1), 0);
    cgroup_close(&cgroup);
    *strrchr(own, '/') = '\0'; /* solo-<store id> */
    *strrchr(own, '/') = '\0';
    snprintf(above, sizeof above, "%.200s/test-%d", own, (int)getpid());
    snprintf(unit, sizeof unit, "%s/deployd.service", above);
    snprintf(delegated, sizeof delegated, "%s/solo-tenants.service", above);
    snprintf(leaf, sizeof leaf, "%s/supervisors", delegated);
    cr_assert_eq(mkdir(above, 0755), 0);
    cr_assert_eq(mkdir(unit, 0755), 0);
    write_pid(unit);
    open_own(&cgroup);
    cr_expect(is_in("/deployd.service"), "there is no other place");
    cgroup_close(&cgroup);
    cr_assert_eq(mkdir(delegated, 0755), 0);
    open_own(&cgroup);
    cr_expect(is_in("/solo-tenants.service/supervisors"));
    memset(own, 0, sizeof own);
    snprintf(link, sizeof link, "/proc/self/fd/%d", cgroup.fd);
    cr_assert_gt(readlink(link, own, sizeof own - 1), 0);
    cr_expect_eq(strncmp(own, delegated, strlen(delegated)), 0, "%s", own);
    cgroup_close(&cgroup);
    /* Out of the way of what is removed. */
    *strrchr(above, '/') = '\0';
    write_pid(above);
    cr_expect_eq(rmdir(leaf), 0);
    cr_expect_eq(rmdir(delegated), 0);
    cr_expect_eq(rmdir(unit), 0);
    *strrchr(unit, '/') = '\0';
    cr_expect_eq(rmdir(unit), 0);
}

Test(cgroup, without_one_everything_is_left_to_marks)
{
    struct cgroup none = CGROUP_NONE;
    cr_assert_eq(cgroup_end_leftovers(&none, false), STATUS_OK);
    cgroup_close(&none);
}
