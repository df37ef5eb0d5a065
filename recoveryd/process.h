#ifndef SOLO_RECOVERYD_PROCESS_H
#define SOLO_RECOVERYD_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

/* Whether this process lives: a pid that was given to another process since has other start ticks
 * (field 22 of /proc/PID/stat). start_ticks 0: any process of that pid will do. A zombie does not
 * live. */
bool process_lives(uint64_t pid, uint64_t start_ticks);

#endif
