/* The files of a cgroup v2 directory: small texts, written and read in one call each. */
#include "tenantd/cgroup_limits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"

enum { FILE_BYTES = 4096, CPU_PERIOD_US = 100 * 1000 };

/* Never made: what is not there is a controller that is not there. */
static bool write_text(int directory, const char *file, const char *text)
{
    AUTO(fd_close) int fd = openat(directory, file, O_WRONLY | O_CLOEXEC);
    bool is_written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (!is_written)
        log_debug("cgroup file not written", "file", file, "text", text, "reason", strerror(errno));
    return is_written;
}

static bool write_number(int directory, const char *file, uint64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, number);
    return write_text(directory, file, text);
}

static bool read_text(int directory, const char *file, char text[FILE_BYTES])
{
    AUTO(fd_close) int fd = openat(directory, file, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, FILE_BYTES - 1);
    text[got < 0 ? 0 : got] = '\0';
    return got >= 0;
}

/* Whether a list of words parted by blanks has this one. */
static bool has_word(const char *list, const char *word)
{
    size_t size = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += size)
        if ((at == list || at[-1] == ' ') && strchr(" \n", at[size]) != NULL)
            return true;
    return false;
}

bool cgroup_hand_down(int fd)
{
    static const char *const controllers[] = { "memory", "pids", "cpu" };
    char there[FILE_BYTES], down[FILE_BYTES], order[16];
    read_text(fd, "cgroup.controllers", there);
    read_text(fd, "cgroup.subtree_control", down);
    /* One by one: a write that names several does all or nothing. */
    for (size_t i = 0; i < COUNT_OF(controllers); i++) {
        snprintf(order, sizeof order, "+%s", controllers[i]);
        if (has_word(there, controllers[i]) && !has_word(down, controllers[i]))
            write_text(fd, "cgroup.subtree_control", order);
    }
    read_text(fd, "cgroup.subtree_control", down);
    return has_word(down, "memory") && has_word(down, "pids");
}

bool cgroup_hands_down(int fd)
{
    char down[FILE_BYTES];
    return !read_text(fd, "cgroup.subtree_control", down) || down[strspn(down, " \n")] != '\0';
}

bool cgroup_bound_memory(int fd, uint64_t bytes)
{
    if (!write_number(fd, "memory.max", bytes))
        return false;
    write_text(fd, "memory.swap.max", "0"); /* a kernel without swap has no such file */
    return true;
}

void cgroup_end_together(int fd)
{
    write_text(fd, "memory.oom.group", "1");
}

bool cgroup_bound_tasks(int fd, uint64_t tasks)
{
    return write_number(fd, "pids.max", tasks);
}

bool cgroup_bound_cpu(int fd, uint64_t cpu_milli)
{
    char text[48];
    snprintf(text, sizeof text, "%" PRIu64 " %d", cpu_milli * (CPU_PERIOD_US / 1000),
             CPU_PERIOD_US);
    return write_text(fd, "cpu.max", text);
}

/* The number behind `key` at the beginning of a line. */
static uint64_t number_of(const char *text, const char *key)
{
    size_t size = strlen(key);
    for (const char *line = text; line != NULL && *line != '\0';) {
        if (strncmp(line, key, size) == 0 && line[size] == ' ')
            return strtoull(line + size + 1, NULL, 10);
        line = strchr(line, '\n');
        line += line != NULL;
    }
    return 0;
}

struct cgroup_use cgroup_use_read(int fd)
{
    struct cgroup_use use = { 0 };
    char text[FILE_BYTES];
    if (read_text(fd, "memory.peak", text))
        use.memory_peak_bytes = strtoull(text, NULL, 10);
    if (read_text(fd, "memory.events", text)) {
        use.memory_bound_hits = number_of(text, "oom");
        use.memory_kills = number_of(text, "oom_kill");
    }
    if (read_text(fd, "pids.events", text))
        use.forks_refused = number_of(text, "max");
    if (read_text(fd, "cpu.stat", text))
        use.throttled_us = number_of(text, "throttled_usec");
    return use;
}

struct cgroup_load cgroup_load_read(int fd)
{
    struct cgroup_load load = { 0 };
    char text[FILE_BYTES];
    if (read_text(fd, "memory.current", text)) {
        load.has_memory = true;
        load.memory_bytes = strtoull(text, NULL, 10);
        uint64_t cached = read_text(fd, "memory.stat", text) ? number_of(text, "inactive_file") : 0;
        load.memory_bytes -= cached < load.memory_bytes ? cached : load.memory_bytes;
    }
    if (read_text(fd, "pids.current", text)) {
        load.has_tasks = true;
        load.tasks = strtoull(text, NULL, 10);
    }
    if (read_text(fd, "cpu.stat", text)) {
        load.has_cpu = true;
        load.cpu_ns = number_of(text, "usage_usec") * 1000;
    }
    return load;
}
