#ifndef SOLO_DEPLOYD_OPERATION_QUEUE_H
#define SOLO_DEPLOYD_OPERATION_QUEUE_H

#include "deployd/operation.h"

/* The queues of operations, one per service. What happens to a service (an operation that begins,
 * moves on or ends, a supervisor that is ready) marks its queue. The marked queues are stepped by
 * operations_step, once per turn of the loop: so nothing is begun inside the end of something else,
 * however many of them end at once. */

/* Puts it at the end of its service's queue, which is marked. Owns it from now on. */
void operation_begin(struct operation *operation);

/* Steps the queue that was marked first; false when none is marked. */
bool operations_step(struct deployd *deployd);

/* No answer of the tenant's supervisor will come: those that wait for one ask again, or give up. */
void operations_supervisor_lost(struct tenant *tenant);

/* It lives and does not answer: those who wait for what it was asked are told so. */
void operations_supervisor_silent(struct tenant *tenant);

/* For SIGTERM and system.drain: what is still queued is refused with the problem; what runs goes
 * on. */
void operations_refuse_queued(struct deployd *deployd, const struct problem *problem);

/* At the very end: forgets them all, answering nobody. */
void operations_close(struct deployd *deployd);

#endif
