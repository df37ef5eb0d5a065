#ifndef SOLO_DEPLOYD_OPERATION_ACT_H
#define SOLO_DEPLOYD_OPERATION_ACT_H

#include "deployd/operation.h"

/* The second half of an operation: the supervisor carries out what the log says. Before each
 * request the live row is read again, so that nothing older than the log is ever started. */

enum {
    SUPERVISOR_WAIT_MS_MAX = 10 * 1000,  /* for one that is ready */
    SUPERVISOR_ACT_MS_MAX = 3660 * 1000, /* the longest grace that a spec can ask for, and more */
    SUPERVISOR_ATTEMPTS_MAX = 3,
};

/* Moves to `supervisor`, and on at once when it is ready. */
void operation_await_supervisor(struct operation *operation);
/* In `supervisor`: the supervisor is ready, or the operation has waited long enough. */
void operation_supervisor_step(struct operation *operation);
/* Another event has overtaken what it was for: it ends, with what the log says became of it. */
void operation_superseded(struct operation *operation);

/* Whether the log still wants what reconciling or recovery asked for. The row must be fresh. */
bool operation_is_due(struct operation *operation);

/* Shared with operation_start.c. */
/* The connection broke: nothing is known of the request. */
bool operation_is_broken(enum status status);
/* The reason code of a failed start. */
const char *operation_code_of(enum status status);
/* What recovery.act answers, and what is recorded. */
void operation_said(struct operation *operation, const char *result, const char *code,
                    const char *reason);
/* Unless a supervisor holds it: its row becomes `failed` with this reason. It stays wanted. */
void operation_row_failed(struct operation *operation, const char *reason);
/* After each request to the supervisor: counts it, and goes on when it could not be sent. */
void operation_asked(struct operation *operation, enum status status);
/* The connection broke, or was given up, while the supervisor was asked: the next attempt, or the
 * end of all attempts. */
void operation_again(struct operation *operation);

#endif
