/* Fault points: nothing but a name and a count in the environment. */
#include "common/base/fault.h"

#ifdef SOLO_FAULTS
#include <signal.h>
#include <stdlib.h>
#include <string.h>
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
#endif
