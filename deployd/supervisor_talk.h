#ifndef SOLO_DEPLOYD_SUPERVISOR_TALK_H
#define SOLO_DEPLOYD_SUPERVISOR_TALK_H

#include "common/base/span.h"
#include "deployd/supervisor.h"

/* Moves to `greeting`: connects, says hello, has it list what it holds, and watches; `ready` then,
 * or `lost`. */
void supervisor_greet(struct supervisor *supervisor);
/* The watch anew, on the same connection: all rows and all unacknowledged reports come again. */
void supervisor_watch_again(struct supervisor *supervisor);

/* Once, before the first greeting: while it is ready it is asked now and then whether it answers.
 */
void supervisor_probe_init(struct supervisor *supervisor);

/* Takes a service_row over that it sent. */
void supervisor_take_row(struct supervisor *supervisor, struct span row);

#endif
