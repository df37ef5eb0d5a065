#ifndef SOLO_SOLOD_SUPERVISORS_H
#define SOLO_SOLOD_SUPERVISORS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/status.h"

/* The last resort of a shutdown whose time is over: kills every supervisor that still holds its
 * lock in RUN/internal/tenants, and with it the services it is the init of. One that cannot be
 * killed is logged. */
void supervisors_kill(const char *run_dir);

/* `solod --end-services`, for who stops Solo when there is no deployd to ask: each supervisor ends
 * its services in order, those that take longer than they may are killed, and the run is over. True
 * when nothing had to be killed. */
bool supervisors_end(const char *run_dir, uint64_t timeout_ms);

/* Whether any holds its lock; true also when that cannot be told. */
bool supervisors_are_there(const char *run_dir);

#endif
