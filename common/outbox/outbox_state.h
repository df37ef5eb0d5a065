#ifndef SOLO_COMMON_OUTBOX_OUTBOX_STATE_H
#define SOLO_COMMON_OUTBOX_OUTBOX_STATE_H

#include "common/outbox/outbox.h"

/* What an outbox has found, and what it is doing. */

/* From `compare` on: the log has events of this store that this copy of it has not put. */
bool outbox_is_older(const struct outbox *outbox);
/* From `compare` on: the log has events of another store of the same owner: of one that was lost,
 * when this one has just been made. */
bool outbox_has_siblings(const struct outbox *outbox);
/* The newest event of those when it is newer than all of this store: the other one took its place
 * at some time. Otherwise 0. */
uint64_t outbox_newer_sibling(const struct outbox *outbox);
/* From `compare` on: the store belongs to another log. Either may be the wrong one. */
bool outbox_is_foreign(const struct outbox *outbox);

enum outbox_state outbox_state(const struct outbox *outbox);
const char *outbox_state_name(enum outbox_state state);
/* Nothing more can be done now: all is acknowledged, or eventd is away or refuses, or the log is
 * FORKED. */
bool outbox_is_settled(const struct outbox *outbox);

#endif
