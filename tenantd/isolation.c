/* One clone per attempt. The new process sets itself up and says over a pipe whether that worked;
 * after a failure it exits and the old one tries the next plainer way.
 *
 * As root, services find their things at fixed paths: a small tmpfs over /var/lib/solo holds bind
 * mounts of the tenant's folders, RUN is at /run/solo. So DATA may lie below somebody's private
 * home, and where DATA is /var/lib/solo itself its stores are out of sight. */
#include "tenantd/isolation.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/spec/program.h"
#include "tenantd/credentials.h"
#include "tenantd/process.h"

#define SEEN_DATA PROGRAM_SEEN_DATA
#define SEEN_RUN  PROGRAM_SEEN_RUN

/* What the new process says. */
enum { SAYS_READY = 'R', SAYS_IMPOSSIBLE = 'I' };

static enum status impossible(const char *step)
{
    int error = errno;
    log_info("isolation step failed, trying a plainer way", "step", step, "reason",
             strerror(error));
    return status_from_errno(error);
}

static enum status write_file(const char *path, const char *text)
{
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t size = strlen(text);
    if (fd < 0 || write(fd, text, size) != (ssize_t)size)
        return impossible(path);
    return STATUS_OK;
}

/* Everybody keeps the number that they have outside, so that modes and credentials mean the same.
 */
static enum status map_ids(uid_t uid, gid_t gid)
{
    char text[64];
    TRY(write_file("/proc/self/setgroups", "deny"));
    snprintf(text, sizeof text, "%u %u 1\n", uid, uid);
    TRY(write_file("/proc/self/uid_map", text));
    snprintf(text, sizeof text, "%u %u 1\n", gid, gid);
    return write_file("/proc/self/gid_map", text);
}

static int bind_of(const char *top, const char *below)
{
    char path[PATH_MAX];
    if (path_join(path, top, below) != STATUS_OK)
        return -1;
    return open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
}

static enum status attach(int tree, const char *path)
{
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return impossible(path);
    chmod(path, 0755);
    if (tree < 0 || move_mount(tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return impossible(path);
    return STATUS_OK;
}

static bool is_same_directory(const char *first, const char *second)
{
    struct stat a, b;
    return stat(first, &a) == 0 && stat(second, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* The trees are taken by path before anything covers them. */
static enum status mount_fixed_paths(struct site *site)
{
    char below[PATH_MAX];
    TRY(path_join(below, "tenants", site->tenant));
    AUTO(fd_close) int home = bind_of(site->data_dir, below);
    AUTO(fd_close) int code = bind_of(site->run_dir, below);
    AUTO(fd_close) int run = bind_of(site->run_dir, ".");
    umask(022);
    enum status made = directory_make(SEEN_DATA, 0755);
    if (made == STATUS_OK)
        made = directory_make(SEEN_RUN, 0755);
    if (made == STATUS_OK && !is_same_directory(site->run_dir, SEEN_RUN))
        made = attach(run, SEEN_RUN);
    umask(077);
    TRY(made);
    if (mount("solo", SEEN_DATA, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755,size=64k") <
        0)
        return impossible("mount " SEEN_DATA);
    if (mkdir(SEEN_DATA "/tenants", 0755) < 0 || chmod(SEEN_DATA "/tenants", 0755) < 0 ||
        mkdir(SEEN_DATA "/run-tenants", 0755) < 0 || chmod(SEEN_DATA "/run-tenants", 0755) < 0)
        return impossible("make directories in " SEEN_DATA);
    char home_seen[PATH_MAX], code_seen[PATH_MAX];
    TRY(path_join(home_seen, SEEN_DATA "/tenants", site->tenant));
    TRY(path_join(code_seen, SEEN_DATA "/run-tenants", site->tenant));
    TRY(attach(home, home_seen));
    TRY(attach(code, code_seen));
    /* What was built lies there, and /run is often mounted noexec. */
    if (mount(NULL, code_seen, NULL, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV, NULL) < 0)
        return impossible("let programs run in " SEEN_DATA "/run-tenants");
    if (mount(NULL, SEEN_DATA, NULL,
              MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        return impossible("make " SEEN_DATA " read-only");
    strcpy(site->home_seen, home_seen);
    strcpy(site->code_seen, code_seen);
    return STATUS_OK;
}

static enum status enter_namespaces(struct site *site, enum isolation isolation)
{
    if (isolation == ISOLATION_USER_NAMESPACES)
        TRY(map_ids(geteuid(), getegid()));
    /* What is unmounted outside goes here too; nothing of ours goes out. */
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return impossible("make mounts private");
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        return impossible("mount /proc");
    if (isolation == ISOLATION_NAMESPACES)
        TRY(mount_fixed_paths(site));
    site->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return site->proc_fd < 0 ? impossible("open /proc") : STATUS_OK;
}

/* In the new process. */
static enum status set_up(struct site *site, enum isolation isolation)
{
    setsid();
    if (isolation != ISOLATION_NONE) {
        TRY(enter_namespaces(site, isolation));
    } else {
        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
            return impossible("become subreaper");
        site->proc_fd = site->host_proc_fd;
    }
    char pid[32] = "";
    if (readlinkat(site->host_proc_fd, "self", pid, sizeof pid - 1) < 0)
        return impossible("read own host pid");
    site->own_host_pid = strtoull(pid, NULL, 10);
    log_set_pid(site->own_host_pid); /* 1 would be every supervisor */
    if ((uint64_t)process_number_in(site->host_pids_fd, getpid()) != site->own_host_pid)
        fd_close(&site->host_pids_fd);
    site->isolation = isolation;
    return credentials_open(site);
}

static long clone_process(enum isolation isolation)
{
    unsigned long flags = SIGCHLD;
    if (isolation != ISOLATION_NONE)
        flags |= CLONE_NEWPID | CLONE_NEWNS;
    if (isolation == ISOLATION_USER_NAMESPACES)
        flags |= CLONE_NEWUSER;
    /* Without the C library's fork: it cannot pass the flags. We have one thread and need nothing
     * of what its handlers do. */
    return syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
}

/* In the old process: true when the next plainer way should be tried. Exits otherwise. */
static bool wait_for(pid_t pid, int fd)
{
    char word = 0;
    ssize_t size;
    do {
        size = read(fd, &word, 1);
    } while (size < 0 && errno == EINTR);
    if (size == 1 && word == SAYS_READY)
        _exit(0);
    int how = 0;
    while (waitpid(pid, &how, 0) < 0 && errno == EINTR)
        ;
    if (size == 1 && word == SAYS_IMPOSSIBLE)
        return true;
    _exit(WIFEXITED(how) ? WEXITSTATUS(how) : status_exit_code(STATUS_INTERNAL));
}

/* STATUS_OK in the new process; unavailable in the old one when this way is not possible. */
static enum status try_way(struct site *site, enum isolation isolation, int *ready_fd)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return log_failure(status_from_errno(errno), "make pipe", "reason", strerror(errno));
    long pid = clone_process(isolation);
    if (pid < 0) {
        impossible("clone");
        close(fds[0]);
        close(fds[1]);
        return STATUS_UNAVAILABLE;
    }
    if (pid > 0) {
        close(fds[1]);
        wait_for((pid_t)pid, fds[0]);
        close(fds[0]);
        return STATUS_UNAVAILABLE;
    }
    close(fds[0]);
    if (set_up(site, isolation) != STATUS_OK) {
        const char word = SAYS_IMPOSSIBLE;
        _exit(write(fds[1], &word, 1) == 1 ? 0 : 1);
    }
    *ready_fd = fds[1];
    return STATUS_OK;
}

enum status isolation_enter(struct site *site, const struct options *options, int *ready_fd)
{
    enum isolation best = geteuid() == 0 ? ISOLATION_NAMESPACES : ISOLATION_USER_NAMESPACES;
    if (!options->without_namespaces && try_way(site, best, ready_fd) == STATUS_OK)
        return STATUS_OK;
    return try_way(site, ISOLATION_NONE, ready_fd);
}

void isolation_ready(int *ready_fd)
{
    const char word = SAYS_READY;
    if (*ready_fd >= 0 && write(*ready_fd, &word, 1) < 0 && errno != EPIPE)
        log_failure(status_from_errno(errno), "say ready", "reason", strerror(errno));
    fd_close(ready_fd);
}
