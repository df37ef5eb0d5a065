/* Fault points: nothing but a name and a count in the environment. */
#include "common/base/fault.h"

#ifdef SOLO_FAULTS
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

void fault_point_reached(const char *name)
{
    static long arrivals;
    const char *wanted = getenv("SOLO_FAULT");
    size_t size = strlen(name);
    if (wanted == NULL || strncmp(wanted, name, size) != 0 ||
        (wanted[size] != '\0' && wanted[size] != ':'))
        return;
    long due = wanted[size] == ':' ? atol(wanted + size + 1) : 1;
    if (++arrivals != due)
        return;
    raise(SIGKILL);
    /* The init of a pid namespace does not get a SIGKILL from within. */
    _exit(128 + SIGKILL);
}

size_t fault_number_of(const char *name, const char *of, size_t otherwise)
{
    char wanted[128];
    const char *bound = getenv("SOLO_FAULT_BOUND");
    int size = snprintf(wanted, sizeof wanted, "%s:%s:", name, of);
    const char *found = bound == NULL ? NULL : strstr(bound, wanted);
    return found == NULL ? otherwise : strtoull(found + size, NULL, 10);
}

/* Takes the place of the C library's, for LMDB too. */
int fdatasync(int fd)
{
    static bool has_failed;
    const char *path = getenv("SOLO_FAULT_SYNC");
    if (path == NULL)
        return (int)syscall(SYS_fdatasync, fd);
    if (has_failed)
        abort();
    char own[4096];
    snprintf(own, sizeof own, "%s.%s", path, program_invocation_short_name);
    if (access(own, F_OK) != 0)
        return (int)syscall(SYS_fdatasync, fd);
    unlink(own); /* a folder stays */
    has_failed = true;
    errno = EIO;
    return -1;
}
#endif
