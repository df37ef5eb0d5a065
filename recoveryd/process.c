/* What /proc knows of a pid. */
#include "recoveryd/process.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"

/* Fields are counted from 1; the second, the name, may hold blanks and brackets. */
enum { FIELD_STATE = 3, FIELD_START_TICKS = 22 };

bool process_lives(uint64_t pid, uint64_t start_ticks)
{
    char path[48], text[1024];
    snprintf(path, sizeof path, "/proc/%" PRIu64 "/stat", pid);
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (size <= 0)
        return false;
    text[size] = '\0';
    const char *at = strrchr(text, ')');
    if (at == NULL || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X')
        return false;
    for (int field = FIELD_STATE - 1; field < FIELD_START_TICKS; field++) {
        at = strchr(at + 1, ' ');
        if (at == NULL)
            return false;
    }
    return start_ticks == 0 || strtoull(at + 1, NULL, 10) == start_ticks;
}
