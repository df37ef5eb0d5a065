/* Nothing of the parent's is inherited but the environment: descriptors are close-on-exec. */
#include "common/db/store_child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"

extern char **environ;

static enum status failure(const char *what, const char *dir, int error)
{
    return log_failure(status_from_errno(error), what, "dir", dir, "reason", strerror(error));
}

enum status store_child_start(const char *const *arguments, const char *dir, pid_t *pid)
{
    posix_spawnattr_t attributes;
    sigset_t none, defaults;
    sigemptyset(&none);
    sigfillset(&defaults);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    int error = posix_spawn(pid, "/proc/self/exe", NULL, &attributes,
                            (char *const *)(uintptr_t)arguments, environ);
    posix_spawnattr_destroy(&attributes);
    return error == 0 ? STATUS_OK : failure("start a child that reads a store", dir, error);
}

enum status store_child_wait(pid_t pid, const char *dir, int *result)
{
    while (waitpid(pid, result, 0) < 0) {
        int error = errno;
        if (error != EINTR)
            return failure("wait for a child that reads a store", dir, error);
    }
    return STATUS_OK;
}

enum status store_child_wait_at_most(pid_t pid, int pidfd, const char *dir, unsigned seconds,
                                     int *result)
{
    struct pollfd ended = { .fd = pidfd, .events = POLLIN };
    uint64_t until = clock_boottime_ns() + seconds * NS_PER_S, now;
    int count = 0;
    do {
        now = clock_boottime_ns();
        count = poll(&ended, 1, now < until ? (int)((until - now) / NS_PER_MS) : 0);
    } while (count < 0 && errno == EINTR);
    if (count <= 0)
        kill(pid, SIGKILL);
    return store_child_wait(pid, dir, result);
}

enum status store_child_watch(pid_t pid, const char *dir, int *pidfd)
{
    *pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (*pidfd >= 0)
        return STATUS_OK;
    enum status status = failure("watch a child that reads a store", dir, errno);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return status;
}

void store_child_limit(unsigned seconds)
{
    /* At the hard limit the kernel sends SIGKILL, which says nothing about the store. */
    enum { GRACE_SECONDS = 5 };
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 1, 1 }); /* none at all: see lifecycle.c */
    setrlimit(RLIMIT_CPU, &(struct rlimit){ seconds, seconds + GRACE_SECONDS });
}

void store_child_step_back(void)
{
    enum { WHO_PROCESS = 1, CLASS_IDLE = 3, CLASS_SHIFT = 13 };
    setpriority(PRIO_PROCESS, 0, 19);
    syscall(SYS_ioprio_set, WHO_PROCESS, 0, CLASS_IDLE << CLASS_SHIFT);
}
