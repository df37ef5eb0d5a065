/* /proc, read for tests. */
#include "tests/support/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"

enum { PROCESSES_MAX = 32768, PROC_FILE_BYTES_MAX = 4 * 1024 * 1024 };

bool process_read(pid_t pid, const char *file, struct buffer *content)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    buffer_clear(content);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t size;
    for (;;) {
        uint8_t *room = buffer_reserve(content, 4096);
        if (room == NULL)
            break;
        size = read(fd, room, 4095);
        if (size <= 0)
            break;
        content->size += (size_t)size;
    }
    close(fd);
    if (content->data != NULL)
        content->data[content->size] = '\0';
    return content->data != NULL;
}

/* The state letter and what follows the parenthesised name in stat; NULL when gone. */
static const char *stat_tail(pid_t pid, struct buffer *content)
{
    if (!process_read(pid, "stat", content) || content->size == 0)
        return NULL;
    const char *end = strrchr((const char *)content->data, ')');
    return end == NULL ? NULL : end + 2;
}

bool process_is_alive(pid_t pid)
{
    AUTO(buffer_close) struct buffer content = { .limit = PROC_FILE_BYTES_MAX };
    const char *tail = stat_tail(pid, &content);
    return tail != NULL && *tail != 'Z' && *tail != 'X';
}

uint64_t process_start_ticks(pid_t pid)
{
    AUTO(buffer_close) struct buffer content = { .limit = PROC_FILE_BYTES_MAX };
    const char *tail = stat_tail(pid, &content);
    if (tail == NULL || *tail == 'Z' || *tail == 'X')
        return 0;
    for (int field = 3; field < 22; field++) {
        tail = strchr(tail, ' ');
        if (tail == NULL)
            return 0;
        tail++;
    }
    return strtoull(tail, NULL, 10);
}

long process_number(pid_t pid, const char *file, const char *key)
{
    AUTO(buffer_close) struct buffer content = { .limit = PROC_FILE_BYTES_MAX };
    if (!process_read(pid, file, &content))
        return -1;
    size_t size = strlen(key);
    for (const char *line = (const char *)content.data; line != NULL;) {
        if (strncmp(line, key, size) == 0 && line[size] == ':')
            return strtol(line + size + 1, NULL, 10);
        line = strchr(line, '\n');
        if (line != NULL)
            line++;
    }
    return -1;
}

long process_descriptors(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return -1;
    long count = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

/* Within its exec a process has a program already (a kernel's thread and a zombie have none), but
 * its command line and environment still read as empty; whoever started it with vfork goes on
 * before that is over. */
static void process_await_exec(pid_t pid, struct buffer *content)
{
    char path[64], program[1];
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    for (int i = 0; i < 200; i++) {
        if (!process_read(pid, "cmdline", content) || content->size > 0 ||
            readlink(path, program, sizeof program) < 0)
            return;
        nanosleep(&(const struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
}

static bool process_mentions(pid_t pid, const char *text, struct buffer *content)
{
    size_t size = strlen(text);
    process_await_exec(pid, content);
    return (process_read(pid, "cmdline", content) &&
            memmem(content->data, content->size, text, size) != NULL) ||
           (process_read(pid, "environ", content) &&
            memmem(content->data, content->size, text, size) != NULL);
}

size_t process_find(const char *text, pid_t *pids, size_t count_max)
{
    AUTO(buffer_close) struct buffer content = { .limit = PROC_FILE_BYTES_MAX };
    size_t count = 0;
    DIR *dir = opendir("/proc");
    if (dir == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char *end;
        pid_t pid = (pid_t)strtol(entry->d_name, &end, 10);
        if (*end != '\0' || pid <= 0 || pid == getpid() || !process_mentions(pid, text, &content))
            continue;
        if (count < count_max)
            pids[count] = pid;
        count++;
    }
    closedir(dir);
    return count;
}

bool process_wait_gone(pid_t pid, int timeout_ms)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return errno == ESRCH;
    struct pollfd wait = { .fd = fd, .events = POLLIN };
    int ready;
    do
        ready = poll(&wait, 1, timeout_ms);
    while (ready < 0 && errno == EINTR);
    close(fd);
    return ready == 1;
}

/* "SigIgn" or "SigCgt" of /proc/PID/status: bit n - 1 stands for signal n. */
static bool status_has_signal(const struct buffer *status, const char *key, int signal_number)
{
    const char *line = status->data == NULL ? NULL : strstr((const char *)status->data, key);
    uint64_t signals = line == NULL ? 0 : strtoull(line + strlen(key), NULL, 16);
    return (signals >> (signal_number - 1) & 1) != 0;
}

bool process_wait_handles(pid_t pid, int signal_number, int timeout_ms)
{
    AUTO(buffer_close) struct buffer status = { .limit = PROC_FILE_BYTES_MAX };
    for (int waited_ms = 0; waited_ms < timeout_ms && process_read(pid, "status", &status);
         waited_ms++) {
        if (status_has_signal(&status, "\nSigIgn:", signal_number) ||
            status_has_signal(&status, "\nSigCgt:", signal_number))
            return true;
        nanosleep(&(const struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    return false;
}

int process_signal(pid_t pid, int signal_number)
{
    ensure(pid > 0);
    return kill(pid, signal_number);
}

size_t process_kill_all(const char *text, pid_t spared)
{
    static pid_t pids[PROCESSES_MAX];
    size_t sent = 0;
    int empty_rounds = 0;
    for (int round = 0; round < 200 && empty_rounds < 2; round++) {
        size_t count = process_find(text, pids, PROCESSES_MAX);
        size_t here = 0;
        for (size_t i = 0; i < count && i < PROCESSES_MAX; i++)
            if (pids[i] != spared && process_signal(pids[i], SIGKILL) == 0) {
                here++;
                sent++;
            }
        for (size_t i = 0; i < count && i < PROCESSES_MAX; i++)
            if (pids[i] != spared)
                process_wait_gone(pids[i], 2000);
        empty_rounds = here == 0 ? empty_rounds + 1 : 0;
    }
    return sent;
}
