#ifndef SOLO_DEPLOYD_OPERATION_ACT_H
#define SOLO_DEPLOYD_OPERATION_ACT_H

#include "deployd/operation.h"

/* The second half of an operation: the supervisor carries out what the log says. Before each
 * request the live row is read again, so that nothing older than the log is ever started. */

/* In `supervisor`: the supervisor is ready, or the operation has waited or tried long enough. */
void operation_supervisor_step(struct operation *operation);

/* The supervisor was asked and does not answer any more. Who waits is told what is known; the
 * operation goes on when it answers again, or when another one is there. */
void operation_supervisor_silent(struct operation *operation);

#endif
