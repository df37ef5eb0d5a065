#ifndef SOLO_DEPLOYD_OPERATION_START_H
#define SOLO_DEPLOYD_OPERATION_START_H

#include "deployd/operation.h"

/* Starts of an operation whose supervisor is ready. All of them end the operation, or move it on.
 */

/* The operation's generation, or the same process anew. */
void operation_ask_start(struct operation *operation);
void operation_ask_restart(struct operation *operation);
/* What the log wants, whoever asks: with recovery's fence, and without disturbing what is held. */
void operation_start_wanted(struct operation *operation);

/* In `reporting`: its start is in the log, or eventd has not taken it in time. */
void operation_reporting_step(struct operation *operation);

#endif
