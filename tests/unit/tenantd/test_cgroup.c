/* Where there is a writable cgroup v2 tree; elsewhere these tests say so and pass. */
#include "tenantd/cgroup.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
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
    uint64_t deadline = clock_boottime_ns() + 5000000000u;
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

Test(cgroup, an_earlier_supervisors_leftovers_are_ended)
{
    struct cgroup cgroup = CGROUP_NONE;
    open_own(&cgroup);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    start(&cgroup, "api");
    start(&cgroup, "web");
    cr_assert_eq(cgroup_end_leftovers(&cgroup), STATUS_OK);
    cr_assert_eq(faccessat(cgroup.fd, "s-api", F_OK, 0), -1);
    cr_assert_eq(faccessat(cgroup.fd, "s-web", F_OK, 0), -1);
    cgroup_close(&cgroup);
}

Test(cgroup, without_one_everything_is_left_to_marks)
{
    struct cgroup none = CGROUP_NONE;
    cr_assert_eq(cgroup_end_leftovers(&none), STATUS_OK);
    cgroup_close(&none);
}
