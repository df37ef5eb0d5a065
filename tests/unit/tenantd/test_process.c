/* What /proc says of processes that we know. */
#include "tenantd/process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "tenantd/spawn.h"
#include "tests/support/criterion.h"

static int proc_open(void)
{
    int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    return fd;
}

static pid_t start_sleeper(char *const *environment)
{
    static char *const arguments[] = { "sleeper", NULL };
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    const struct spawn_request request = {
        .program = PROGRAM_DIR "/sleeper",
        .arguments = arguments,
        .environment = environment,
        .working_dir = "/",
        .input = null_fd,
        .output = null_fd,
        .error = null_fd,
        .cgroup = -1,
    };
    struct spawn_failure failure;
    pid_t pid;
    cr_assert_eq(spawn(&request, &pid, NULL, &failure), STATUS_OK);
    close(null_fd);
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

Test(process, is_found_with_its_parent_and_session)
{
    AUTO(fd_close) int proc_fd = proc_open();
    char *const environment[] = { NULL };
    pid_t pid = start_sleeper(environment);
    struct process process;
    cr_assert(process_read(proc_fd, pid, &process));
    cr_assert_eq(process.parent, getpid());
    cr_assert_eq(process.session, pid);
    cr_assert_gt(process.start_ticks, 0);
    struct process *all;
    size_t count, found = 0;
    cr_assert_eq(processes_read(proc_fd, &all, &count), STATUS_OK);
    for (size_t i = 0; i < count; i++) {
        cr_assert(i == 0 || all[i - 1].pid < all[i].pid);
        found += all[i].pid == pid || all[i].pid == getpid();
    }
    cr_assert_eq(found, 2);
    free(all);
    end(pid);
    cr_assert_not(process_read(proc_fd, pid, &process));
}

Test(process, is_recognised_by_its_mark)
{
    AUTO(fd_close) int proc_fd = proc_open();
    static char long_one[70000] = "LONG=";
    memset(long_one + 5, 'S', sizeof long_one - 6);
    char *const environment[] = {
        "A=1", long_one, "XSOLO_INSTANCE=store/other/1/2", "SOLO_INSTANCE=store/acme/5/00ff",
        "Z=",  NULL
    };
    pid_t pid = start_sleeper(environment);
    char mark[PROCESS_MARK_BYTES] = "untouched";
    /* Our side of vfork goes on a moment before the new program has its environment. */
    for (int i = 0; i < 1000 && !process_mark(proc_fd, pid, "store/acme/", mark); i++)
        usleep(1000);
    strcpy(mark, "untouched");
    cr_assert_not(process_mark(proc_fd, pid, "store/other/", mark));
    cr_assert_str_eq(mark, "untouched");
    cr_assert(process_mark(proc_fd, pid, "store/acme/", mark));
    cr_assert_str_eq(mark, "store/acme/5/00ff");
    end(pid);
    cr_assert_not(process_mark(proc_fd, pid, "store/acme/", mark));
}

Test(process, is_killed_only_if_it_is_the_same_one)
{
    AUTO(fd_close) int proc_fd = proc_open();
    char *const environment[] = { NULL };
    pid_t pid = start_sleeper(environment);
    struct process process;
    int status;
    cr_assert(process_read(proc_fd, pid, &process));
    process.start_ticks++;
    process_kill(proc_fd, &process);
    usleep(50000);
    cr_assert_eq(waitpid(pid, &status, WNOHANG), 0, "another process was killed");
    process.start_ticks--;
    process_kill(proc_fd, &process);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status));
}

Test(process, a_pidfd_shows_its_number)
{
    AUTO(fd_close) int proc_fd = proc_open();
    AUTO(fd_close) int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    cr_assert_eq(process_outer_pid(proc_fd, pidfd), getpid());
    cr_assert_eq(process_outer_pid(proc_fd, proc_fd), 0);
}

Test(process, started_between_two_readings_when_proc_says)
{
    AUTO(fd_close) int proc_fd = proc_open();
    char *const environment[] = { NULL };
    for (int i = 0; i < 30; i++) {
        struct process process;
        uint64_t after_ns = clock_boottime_ns();
        pid_t pid = start_sleeper(environment);
        uint64_t before_ns = clock_boottime_ns();
        cr_assert(process_read(proc_fd, pid, &process));
        cr_assert_eq(process_start_ticks(proc_fd, pid, after_ns, before_ns), process.start_ticks);
        /* Readings that leave it open: /proc is asked. */
        cr_assert_eq(process_start_ticks(proc_fd, pid, after_ns - 1000000000u, before_ns),
                     process.start_ticks);
        end(pid);
        cr_assert_eq(process_start_ticks(proc_fd, pid, after_ns - 1000000000u, before_ns), 0);
    }
}

Test(process, the_kernel_says_its_number_in_another_namespace_or_nothing)
{
    AUTO(fd_close) int namespace_fd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    AUTO(fd_close) int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    char *const environment[] = { NULL };
    pid_t pid = start_sleeper(environment), own = process_number_in(namespace_fd, getpid());
    cr_assert(own == getpid() || own == 0);
    cr_assert_eq(process_number_in(namespace_fd, pid), own == 0 ? 0 : pid);
    end(pid);
    cr_assert_eq(process_number_in(namespace_fd, pid), 0);
    cr_assert_eq(process_number_in(null_fd, getpid()), 0);
    cr_assert_eq(process_number_in(-1, getpid()), 0);
}

/* More than one read of the kernel's list, and nobody is in it twice or left out. */
Test(process, own_children_are_known_until_they_are_reaped)
{
    enum { CHILDREN = 700 };
    AUTO(fd_close) int proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    static pid_t started[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        started[i] = fork();
        cr_assert_geq(started[i], 0);
        if (started[i] == 0)
            _exit(0);
    }
    for (int way = 0; way < 2; way++) {
        pid_t *pids;
        size_t count;
        cr_assert_eq(children_read(proc_fd, way == 1, &pids, &count), STATUS_OK);
        cr_assert_eq(count, CHILDREN);
        for (size_t i = 0; way == 0 && i < count; i++)
            cr_assert_eq(pids[i], started[i]);
        free(pids);
    }
    while (waitpid(-1, NULL, 0) > 0)
        ;
    for (int way = 0; way < 2; way++) {
        pid_t *pids;
        size_t count;
        cr_assert_eq(children_read(proc_fd, way == 1, &pids, &count), STATUS_OK);
        cr_assert_eq(count, 0);
        free(pids);
    }
}

Test(process, whoever_runs_a_program_is_not_within_its_exec)
{
    AUTO(fd_close) int proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char mark[PROCESS_MARK_BYTES];
    cr_assert_not(process_is_within_exec(proc_fd, getpid()));
    pid_t pid = fork();
    if (pid == 0) {
        char *arguments[] = { PROGRAM_DIR "/sleeper", NULL }, *nothing[] = { NULL };
        execve(arguments[0], arguments, nothing);
        _exit(127);
    }
    for (int i = 0; i < 5000 && process_look(proc_fd, pid, "", mark) != MARK_EMPTY; i++)
        usleep(1000);
    for (int i = 0; i < 5000 && process_is_within_exec(proc_fd, pid); i++)
        usleep(1000);
    cr_assert_eq(process_look(proc_fd, pid, "", mark), MARK_EMPTY);
    cr_assert_not(process_is_within_exec(proc_fd, pid));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
