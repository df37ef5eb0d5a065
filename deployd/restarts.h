#ifndef SOLO_DEPLOYD_RESTARTS_H
#define SOLO_DEPLOYD_RESTARTS_H

#include "deployd/operation.h"

/* The restarts that were answered lately, by request_id: a restart has no event of its own in which
 * a repeat could be found. In memory only: repeated after deployd itself died, it restarts once
 * more, which changes nothing that is wanted. */
enum { RESTARTS_KEPT = 256 };

/* *is_done: this request was carried out. `aborted` when its id came with another body. */
enum status restarts_find(struct operation *operation, bool *is_done);
void restarts_note(const struct operation *operation);

#endif
