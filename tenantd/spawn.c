/* From supervisor to program without a shell or a helper in between. The child shares our memory
 * until it execs: child_run makes system calls directly (the C library's wrappers for ids would
 * signal threads, sanitizers would wrap the others) and leaves its error in the shared request. */
#include "tenantd/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "tenantd/clone_vfork.h"

enum {
    SIGNALS = 64,
    CAPABILITIES = 64,
    FILES_SOFT_MAX = 1024, /* what programs that use select(2) can live with */
    SERVICE_UMASK = 022,
};

/* Low numbers, taken at the first start: what the child needs of our descriptors is then at the
 * beginning of the table. */
static int low[2] = { -1, -1 };

struct child {
    const struct spawn_request *request;
    pid_t parent;
    struct clone_done done;
    unsigned descriptors_end; /* of those that it needs */
    volatile int error;
    const char *volatile step;
};

#define UNCHECKED __attribute__((no_sanitize("address", "undefined")))

UNCHECKED static void child_fail(struct child *child, const char *step)
{
    child->error = errno;
    child->step = step;
    syscall(SYS_exit_group, 127);
}

#define MUST(step, call)                                                                           \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            child_fail(child, step);                                                               \
    } while (0)

/* Ours to ignore, or inherited; an exec would pass it on. Looked up once: what a supervisor ignores
 * does not change. */
static bool is_ignored[SIGNALS + 1];

static void find_ignored(void)
{
    static bool is_found;
    struct sigaction action;
    for (int number = 1; !is_found && number <= SIGNALS; number++)
        is_ignored[number] = sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
    is_found = true;
}

/* The mask stays full until our handlers, which would run on the shared memory, are gone. */
UNCHECKED static void reset_signals(const struct child *child)
{
    static const uint64_t default_action[4]; /* the kernel's struct sigaction, SIG_DFL */
    for (int number = 1; number <= SIGNALS; number++)
        if (number != SIGKILL && number != SIGSTOP &&
            (is_ignored[number] || !child->done.has_no_handlers))
            syscall(SYS_rt_sigaction, number, default_action, NULL, sizeof(uint64_t));
}

UNCHECKED static void enter_cgroup(struct child *child)
{
    int cgroup = child->request->cgroup;
    if (cgroup < 0 || child->done.is_in_cgroup)
        return;
    long fd = syscall(SYS_openat, cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC, 0);
    MUST("cgroup", fd);
    MUST("cgroup", syscall(SYS_write, fd, "0", (size_t)1));
}

/* First of all: whatever it does to descriptors before, it does to ours. Of a long table only the
 * beginning is copied, which holds what it needs. */
UNCHECKED static void own_descriptors(struct child *child)
{
    if (child->done.is_in_cgroup || child->request->cgroup < 0)
        if (syscall(SYS_close_range, child->descriptors_end, ~0u, CLOSE_RANGE_UNSHARE) == 0)
            return;
    MUST("descriptors", syscall(SYS_unshare, CLONE_FILES));
}

UNCHECKED static void place_descriptors(struct child *child)
{
    MUST("input", syscall(SYS_dup3, child->request->input, 0, 0));
    MUST("output", syscall(SYS_dup3, low[0], 1, 0));
    MUST("output", syscall(SYS_dup3, low[1], 2, 0));
    /* All of ours are close-on-exec; this is for what we may have inherited. */
    syscall(SYS_close_range, 3u, ~0u, 0u);
}

UNCHECKED static void set_limit(struct child *child, int resource, uint64_t most)
{
    const struct rlimit limit = { most, most };
    if (most != 0)
        MUST("limits", syscall(SYS_prlimit64, 0, resource, &limit, NULL));
}

UNCHECKED static void set_limits(struct child *child)
{
    /* One byte is no core for a program that takes them either; who has 0 cannot raise it. */
    const struct rlimit one_byte = { 1, 1 }, no_core = { 0, 0 };
    struct rlimit files = { 0, 0 };
    if (syscall(SYS_prlimit64, 0, RLIMIT_CORE, &one_byte, NULL) < 0)
        MUST("limits", syscall(SYS_prlimit64, 0, RLIMIT_CORE, &no_core, NULL));
    MUST("limits", syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &files));
    const struct spawn_limits *limits = &child->request->limits;
    files.rlim_cur = files.rlim_max < FILES_SOFT_MAX ? files.rlim_max : FILES_SOFT_MAX;
    if (limits->files != 0)
        files.rlim_cur = files.rlim_max = limits->files;
    MUST("limits", syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &files, NULL));
    set_limit(child, RLIMIT_DATA, limits->memory_bytes);
    set_limit(child, RLIMIT_FSIZE, limits->file_bytes);
    if (limits->niceness != 0)
        syscall(SYS_setpriority, PRIO_PROCESS, 0, limits->niceness);
    syscall(SYS_umask, SERVICE_UMASK);
}

UNCHECKED static void drop_rights(struct child *child)
{
    const struct spawn_request *request = child->request;
    syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (request->has_ids) {
        MUST("groups", syscall(SYS_setgroups, 0, NULL));
        MUST("gid", syscall(SYS_setresgid, request->gid, request->gid, request->gid));
        MUST("uid", syscall(SYS_setresuid, request->uid, request->uid, request->uid));
    }
    /* Behind the uid: a change to one that has its fill already would make the exec fail. */
    set_limit(child, RLIMIT_NPROC, request->limits.tasks);
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0, 0, 0 }, { 0, 0, 0 } };
    MUST("capabilities", syscall(SYS_capset, &header, none));
    MUST("privileges", syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    /* After the ids: changing them clears it. */
    MUST("parent", syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
    if (syscall(SYS_getppid) != child->parent)
        syscall(SYS_exit_group, 127);
}

UNCHECKED static int child_run(void *argument)
{
    struct child *child = argument;
    const struct spawn_request *request = child->request;
    own_descriptors(child);
    reset_signals(child);
    enter_cgroup(child);
    MUST("session", syscall(SYS_setsid));
    place_descriptors(child);
    set_limits(child);
    drop_rights(child);
    MUST("chdir", syscall(SYS_chdir, request->working_dir));
    const uint64_t nothing = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &nothing, NULL, sizeof nothing);
    MUST("exec", syscall(SYS_execve, request->program, request->arguments, request->environment));
    return 127;
}

/* Once, in ourselves: children inherit it, and a change of credentials for each of 41 capabilities
 * is dear. What we have we keep, because the set bounds only what an exec could gain, and we exec
 * nothing. Fails with EPERM for who has no CAP_SETPCAP, and who has not has no capabilities to pass
 * on. */
static void give_up_bounding_set(void)
{
    static bool is_given_up;
    for (int capability = 0; !is_given_up && capability < CAPABILITIES; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
            break;
    is_given_up = true;
}

/* The child's output and error for as long as it is being made; `input` stands in for them the rest
 * of the time, so that an end of a pipe does not stay open in us. */
static enum status low_take(const struct spawn_request *request)
{
    const int ends[] = { request->output, request->error };
    for (size_t i = 0; i < COUNT_OF(low); i++) {
        if (low[i] < 0)
            low[i] = fcntl(request->input, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (low[i] < 0 || dup3(ends[i], low[i], O_CLOEXEC) < 0)
            return log_failure(status_from_errno(errno), "duplicate a descriptor", "reason",
                               strerror(errno));
    }
    return STATUS_OK;
}

static void low_release(const struct spawn_request *request)
{
    for (size_t i = 0; i < COUNT_OF(low); i++)
        if (low[i] >= 0)
            dup3(request->input, low[i], O_CLOEXEC);
}

static unsigned end_of(const struct spawn_request *request)
{
    int last = request->input;
    for (size_t i = 0; i < COUNT_OF(low); i++)
        last = low[i] > last ? low[i] : last;
    return (unsigned)last + 1;
}

enum status spawn(const struct spawn_request *request, pid_t *pid, int *pidfd,
                  struct spawn_failure *failure)
{
    give_up_bounding_set();
    find_ignored();
    enum status status = low_take(request);
    if (status != STATUS_OK) {
        low_release(request);
        return status;
    }
    struct child child = { .request = request,
                           .parent = getpid(),
                           .descriptors_end = end_of(request) };
    int opened_pidfd = -1;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t made = clone_vfork(child_run, &child, request->cgroup, &child.done,
                             pidfd == NULL ? NULL : &opened_pidfd);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    low_release(request);
    if (made < 0)
        return log_failure(error == EAGAIN ? STATUS_RESOURCE_EXHAUSTED : status_from_errno(error),
                           "make process", "program", request->program, "reason", strerror(error));
    if (child.error == 0) {
        *pid = made;
        if (pidfd != NULL)
            *pidfd = opened_pidfd;
        return STATUS_OK;
    }
    if (opened_pidfd >= 0)
        close(opened_pidfd);
    while (waitpid(made, NULL, 0) < 0 && errno == EINTR)
        ;
    *failure = (struct spawn_failure){ child.step, child.error };
    return STATUS_FAILED_PRECONDITION;
}
