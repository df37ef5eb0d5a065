#ifndef SOLO_DEPLOYD_OPERATION_BUILD_H
#define SOLO_DEPLOYD_OPERATION_BUILD_H

#include "deployd/operation.h"

/* Whether a canonical spec has a build. */
bool spec_has_build(struct span canonical);

/* Has the artefact of this spec made by the operation's supervisor, which is ready. The operation
 * goes on with its commit, or in `supervisor`, when it is there; otherwise it is refused, or has
 * failed to start. */
void operation_ask_build(struct operation *operation, struct span spec);

/* Ends one that was killed before its commit, and its repeats that wait. */
void operation_build_killed(struct operation *operation);

#endif
