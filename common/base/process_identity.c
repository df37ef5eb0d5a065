/* What /proc knows of one pid: whether it is still the process that was meant, and whose it is. */
#include "common/base/process_identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"

enum { ENVIRON_CHUNK_BYTES = 8192, ENVIRON_BYTES_MAX = 4 * 1024 * 1024 };

enum { FIELD_STATE = 3, FIELD_START_TICKS = 22 };

const char *process_stat_field(const char *stat, int number)
{
    const char *at = strrchr(stat, ')'); /* of the name: no field after it has one */
    for (int before = FIELD_STATE - 1; at != NULL && before < number; before++)
        at = strchr(at + 1, ' ');
    return at == NULL ? NULL : at + 1;
}

uint64_t process_ticks(uint64_t pid)
{
    char path[48], text[1024];
    snprintf(path, sizeof path, "/proc/%" PRIu64 "/stat", pid);
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (size <= 0)
        return 0;
    text[size] = '\0';
    const char *state = process_stat_field(text, FIELD_STATE);
    const char *ticks = process_stat_field(text, FIELD_START_TICKS);
    if (ticks == NULL || *state == 'Z' || *state == 'X')
        return 0;
    return strtoull(ticks, NULL, 10);
}

bool process_lives(uint64_t pid, uint64_t start_ticks)
{
    uint64_t ticks = process_ticks(pid);
    return ticks != 0 && (start_ticks == 0 || ticks == start_ticks);
}

/* Looks at one variable; the text ends with NUL. */
static bool is_wanted(const char *variable, const char *key, const char *prefix,
                      char mark[PROCESS_MARK_BYTES])
{
    size_t key_size = strlen(key);
    if (strncmp(variable, key, key_size) != 0 || variable[key_size] != '=')
        return false;
    const char *value = variable + key_size + 1;
    if (strncmp(value, prefix, strlen(prefix)) != 0 || strlen(value) >= PROCESS_MARK_BYTES)
        return false;
    strcpy(mark, value);
    return true;
}

static enum mark_look look(int proc_fd, pid_t pid, const char *key, const char *prefix,
                           char mark[PROCESS_MARK_BYTES])
{
    char name[32], chunk[ENVIRON_CHUNK_BYTES + 1];
    snprintf(name, sizeof name, "%d/environ", (int)pid);
    AUTO(fd_close) int fd = openat(proc_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return MARK_NONE;
    size_t held = 0, total = 0;
    bool is_inside_long_one = false; /* a variable that does not fit cannot be the one */
    for (;;) {
        ssize_t got = read(fd, chunk + held, ENVIRON_CHUNK_BYTES - held);
        if (got < 0 && errno == EINTR)
            continue;
        size_t size = held + (got > 0 ? (size_t)got : 0);
        chunk[size] = '\0';
        char *variable = chunk, *end;
        while ((end = memchr(variable, '\0', (size_t)(chunk + size - variable))) != NULL) {
            if (!is_inside_long_one && is_wanted(variable, key, prefix, mark))
                return MARK_FOUND;
            is_inside_long_one = false;
            variable = end + 1;
        }
        held = (size_t)(chunk + size - variable);
        total += got > 0 ? (size_t)got : 0;
        if (got == 0 && total == 0)
            return MARK_EMPTY;
        if (got <= 0 || total > ENVIRON_BYTES_MAX)
            return held > 0 && !is_inside_long_one && is_wanted(variable, key, prefix, mark)
                       ? MARK_FOUND
                       : MARK_NONE;
        memmove(chunk, variable, held);
        if (held == ENVIRON_CHUNK_BYTES) {
            held = 0;
            is_inside_long_one = true;
        }
    }
}

enum mark_look process_look(int proc_fd, pid_t pid, const char *prefix,
                            char mark[PROCESS_MARK_BYTES])
{
    return look(proc_fd, pid, "SOLO_INSTANCE", prefix, mark);
}

bool process_mark(int proc_fd, pid_t pid, const char *prefix, char mark[PROCESS_MARK_BYTES])
{
    return process_look(proc_fd, pid, prefix, mark) == MARK_FOUND;
}

bool process_variable(int proc_fd, pid_t pid, const char *key, char value[PROCESS_MARK_BYTES])
{
    return look(proc_fd, pid, key, "", value) == MARK_FOUND;
}
