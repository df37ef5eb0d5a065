#ifndef SOLO_DEPLOYD_OPERATION_REFUSED_H
#define SOLO_DEPLOYD_OPERATION_REFUSED_H

#include "deployd/operation.h"

/* What follows when the log, or a supervisor, does not let an operation be carried out. */

/* Its supervisor said `aborted`: the log is read again and says whether it was overtaken, which
 * ends it well, or whether its supervisor knows of something that the log does not, which is a
 * refusal. */
void operation_refused(struct operation *operation, const struct problem *problem);
/* The log, read just now, wants something else. */
void operation_fenced(struct operation *operation);

#endif
