#ifndef SOLO_DEPLOYD_OPERATION_ACT_H
#define SOLO_DEPLOYD_OPERATION_ACT_H

#include "deployd/operation.h"

/* The second half of an operation: the supervisor carries out what the log says. Before each request
 * the live row is read again, so that nothing older than the log is ever started. */

enum {
    SUPERVISOR_WAIT_MS_MAX = 10 * 1000,       /* for one that is ready */
    SUPERVISOR_ACT_MS_MAX = 3660 * 1000,      /* the longest grace that a spec can ask for, and more */
    SUPERVISOR_ATTEMPTS_MAX = 3,
};

/* Moves to `supervisor`, and on at once when it is ready. */
void operation_await_supervisor(struct operation *operation);
/* In `supervisor`: the supervisor is ready, or the operation has waited long enough. */
void operation_supervisor_step(struct operation *operation);
/* The supervisor's connection was given up while it was asked. */
void operation_interrupted(struct operation *operation);
/* It ends as `skipped`: another event has overtaken what it was for. */
void operation_superseded(struct operation *operation);

#endif
