#ifndef SOLO_DEPLOYD_OPERATION_COMMIT_H
#define SOLO_DEPLOYD_OPERATION_COMMIT_H

#include "deployd/operation.h"

/* The first half of an operation: everything that may refuse it without having changed anything,
 * then its event. */

/* The whole flow: does what the operation's state asks for, and is called again by whatever it
 * waited for. May end (and free) the operation. */
void operation_step(struct operation *operation);

#endif
