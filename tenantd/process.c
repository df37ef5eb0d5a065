/* Reads /proc by directory descriptor, so that the same code sees our own namespace or the host's.
 */
#include "tenantd/process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/nsfs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"

static ssize_t read_small(int proc_fd, const char *name, char *text, size_t size)
{
    AUTO(fd_close) int fd = openat(proc_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t got = read(fd, text, size - 1);
    if (got >= 0)
        text[got] = '\0';
    return got;
}

/* Fields of /proc/PID/stat. */
enum { STAT_STATE = 3, STAT_USER_TICKS = 14, STAT_THREADS = 20, STAT_START_TICKS = 22 };
enum { STAT_BYTES = 1024 };

static bool stat_read(int proc_fd, pid_t pid, char text[STAT_BYTES])
{
    char name[32];
    snprintf(name, sizeof name, "%d/stat", (int)pid);
    return read_small(proc_fd, name, text, STAT_BYTES) > 0;
}

static uint64_t threads_in(const char *stat)
{
    const char *field = process_stat_field(stat, STAT_THREADS);
    long threads = field == NULL ? 0 : strtol(field, NULL, 10);
    return threads > 0 ? (uint64_t)threads : 0;
}

bool process_read(int proc_fd, pid_t pid, struct process *process)
{
    char text[STAT_BYTES];
    int parent, session;
    *process = (struct process){ .pid = pid };
    const char *state = stat_read(proc_fd, pid, text) ? process_stat_field(text, STAT_STATE) : NULL;
    const char *ticks = state == NULL ? NULL : process_stat_field(text, STAT_START_TICKS);
    if (ticks == NULL || sscanf(state, "%c %d %*d %d", &process->state, &parent, &session) != 3)
        return false;
    process->start_ticks = strtoull(ticks, NULL, 10);
    process->parent = parent;
    process->session = session;
    return true;
}

uint64_t process_start_ticks(int proc_fd, pid_t pid, uint64_t after_ns, uint64_t before_ns)
{
    /* Whether this kernel's /proc counts as it should is seen at the first start. */
    static enum { UNTRIED, AGREES, DIFFERS } clock;
    uint64_t ns_per_tick = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    uint64_t ticks = after_ns / ns_per_tick;
    bool is_certain = ticks == before_ns / ns_per_tick;
    if (clock == AGREES && is_certain)
        return ticks;
    struct process process;
    if (!process_read(proc_fd, pid, &process))
        return 0;
    if (clock == UNTRIED && is_certain)
        clock = process.start_ticks == ticks ? AGREES : DIFFERS;
    return process.start_ticks;
}

static int by_pid(const void *a, const void *b)
{
    pid_t first = ((const struct process *)a)->pid, second = ((const struct process *)b)->pid;
    return (first > second) - (first < second);
}

enum status processes_read(int proc_fd, struct process **processes, size_t *count)
{
    int fd = openat(proc_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        int error = errno;
        fd_close(&fd);
        return log_failure(status_from_errno(error), "read /proc", "reason", strerror(error));
    }
    struct process *list = NULL;
    size_t size = 0, capacity = 0;
    enum status status = STATUS_OK;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        if (size == capacity) {
            capacity = capacity == 0 ? 128 : capacity * 2;
            struct process *bigger = realloc(list, capacity * sizeof *list);
            if (bigger == NULL) {
                status = log_failure(STATUS_RESOURCE_EXHAUSTED, "read /proc", "reason", "memory");
                break;
            }
            list = bigger;
        }
        if (process_read(proc_fd, (pid_t)atoi(entry->d_name), &list[size]))
            size++;
    }
    closedir(directory);
    if (status != STATUS_OK) {
        free(list);
        return status;
    }
    if (size > 1)
        qsort(list, size, sizeof *list, by_pid);
    *processes = list;
    *count = size;
    return STATUS_OK;
}

static bool add_pid(pid_t **pids, size_t *count, size_t *capacity, pid_t pid)
{
    if (*count == *capacity) {
        size_t wanted = *capacity == 0 ? 128 : *capacity * 2;
        pid_t *bigger = realloc(*pids, wanted * sizeof *bigger);
        if (bigger == NULL)
            return false;
        *pids = bigger;
        *capacity = wanted;
    }
    (*pids)[(*count)++] = pid;
    return true;
}

/* As text, with spaces between; a number may be cut by the end of a chunk. */
static bool parse_children(int fd, pid_t **pids, size_t *count)
{
    char chunk[4096];
    size_t capacity = 0;
    pid_t pid = 0;
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got == 0 && (pid == 0 || add_pid(pids, count, &capacity, pid));
        for (ssize_t i = 0; i < got; i++) {
            if (isdigit((unsigned char)chunk[i])) {
                pid = pid * 10 + (chunk[i] - '0');
                continue;
            }
            if (pid != 0 && !add_pid(pids, count, &capacity, pid))
                return false;
            pid = 0;
        }
    }
}

static enum status find_children(int proc_fd, pid_t **pids, size_t *count)
{
    struct process *all;
    size_t size, found = 0;
    TRY(processes_read(proc_fd, &all, &size));
    *pids = calloc(size + 1, sizeof **pids);
    for (size_t i = 0; *pids != NULL && i < size; i++)
        if (all[i].parent == getpid())
            (*pids)[found++] = all[i].pid;
    free(all);
    *count = found;
    return *pids == NULL ? log_failure(STATUS_RESOURCE_EXHAUSTED, "find children") : STATUS_OK;
}

enum status children_read(int proc_fd, bool is_without_list, pid_t **pids, size_t *count)
{
    char name[64];
    snprintf(name, sizeof name, "%d/task/%d/children", (int)getpid(), (int)getpid());
    AUTO(fd_close) int fd = is_without_list ? -1 : openat(proc_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return find_children(proc_fd, pids, count);
    pid_t *found = NULL;
    size_t size = 0;
    if (!parse_children(fd, &found, &size)) {
        int error = errno;
        free(found);
        return log_failure(status_from_errno(error), "read own children", "reason",
                           strerror(error));
    }
    *pids = found;
    *count = size;
    return STATUS_OK;
}

bool process_is_within_exec(int proc_fd, pid_t pid)
{
    char name[32];
    unsigned long type;
    snprintf(name, sizeof name, "%d/auxv", (int)pid);
    AUTO(fd_close) int fd = openat(proc_fd, name, O_RDONLY | O_CLOEXEC);
    /* The kernel writes the auxiliary vector and the environment's place together. */
    return fd >= 0 && read(fd, &type, sizeof type) == (ssize_t)sizeof type && type == 0;
}

void process_kill(int proc_fd, const struct process *process)
{
    AUTO(fd_close) int pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
    struct process now;
    if (pidfd < 0 || !process_read(proc_fd, process->pid, &now) ||
        now.start_ticks != process->start_ticks)
        return;
    if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
        log_failure(status_from_errno(errno), "kill", "pid", NUMBER(process->pid), "reason",
                    strerror(errno));
}

/* linux/nsfs.h of Debian 12 does not have it yet. */
#ifndef NS_GET_TGID_IN_PIDNS
#define NS_GET_TGID_IN_PIDNS _IOR(NSIO, 0x9, int)
#endif

pid_t process_number_in(int namespace_fd, pid_t pid)
{
    int number = namespace_fd < 0 ? -1 : ioctl(namespace_fd, NS_GET_TGID_IN_PIDNS, pid);
    return number > 0 ? number : 0;
}

pid_t process_outer_pid(int proc_fd, int pidfd)
{
    char name[48], text[1024];
    snprintf(name, sizeof name, "self/fdinfo/%d", pidfd);
    if (read_small(proc_fd, name, text, sizeof text) <= 0)
        return 0;
    const char *line = strstr(text, "Pid:");
    int pid = line == NULL ? 0 : atoi(line + strlen("Pid:"));
    return pid > 0 ? pid : 0;
}

bool process_use_read(int proc_fd, pid_t pid, struct process_use *use)
{
    char name[32], text[1024], stat[STAT_BYTES];
    uint64_t user = 0, system = 0, resident = 0, data = 0;
    const char *times =
        stat_read(proc_fd, pid, stat) ? process_stat_field(stat, STAT_USER_TICKS) : NULL;
    if (times == NULL || sscanf(times, "%" SCNu64 " %" SCNu64, &user, &system) != 2)
        return false;
    snprintf(name, sizeof name, "%d/statm", (int)pid);
    if (read_small(proc_fd, name, text, sizeof text) <= 0 ||
        sscanf(text, "%*u %" SCNu64 " %*u %*u %*u %" SCNu64, &resident, &data) != 2)
        return false;
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    *use = (struct process_use){
        .resident_bytes = resident * page_bytes,
        .data_bytes = data * page_bytes,
        .threads = threads_in(stat),
        .cpu_ns = (user + system) * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK)),
    };
    return true;
}

/* Children belong to the thread that made them. */
static void add_children(int proc_fd, pid_t pid, pid_t *pids, size_t *count, size_t room)
{
    char name[64];
    snprintf(name, sizeof name, "%d/task", (int)pid);
    int tasks = openat(proc_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = tasks < 0 ? NULL : fdopendir(tasks);
    if (directory == NULL) {
        fd_close(&tasks);
        return;
    }
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        pid_t *found = NULL;
        size_t size = 0;
        snprintf(name, sizeof name, "%.20s/children", entry->d_name);
        AUTO(fd_close)
        int fd = isdigit((unsigned char)entry->d_name[0])
                     ? openat(tasks, name, O_RDONLY | O_CLOEXEC)
                     : -1;
        if (fd >= 0 && parse_children(fd, &found, &size))
            for (size_t i = 0; i < size && *count < room; i++)
                pids[(*count)++] = found[i];
        free(found);
    }
    closedir(directory);
}

size_t process_descendants(int proc_fd, pid_t pid, pid_t *pids, size_t room)
{
    size_t count = 0;
    if (room > 0)
        pids[count++] = pid;
    for (size_t i = 0; i < count; i++)
        add_children(proc_fd, pids[i], pids, &count, room);
    return count;
}

uint64_t process_tasks_of(int proc_fd, uid_t uid)
{
    int fd = openat(proc_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        fd_close(&fd);
        return 0;
    }
    uint64_t tasks = 0;
    char text[STAT_BYTES];
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        struct stat stat;
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            fstatat(proc_fd, entry->d_name, &stat, 0) == 0 && stat.st_uid == uid)
            tasks += stat_read(proc_fd, (pid_t)atoi(entry->d_name), text) ? threads_in(text) : 0;
    }
    closedir(directory);
    return tasks;
}
