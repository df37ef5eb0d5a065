#ifndef SOLO_COMMON_ACCESS_STORE_WALK_H
#define SOLO_COMMON_ACCESS_STORE_WALK_H

#include <ev.h>

#include "common/db/db.h"

/* The full walk in the background: soon after a start, and then every day, a child reads every row
 * of the daemon's store at the lowest priority. When something is damaged the store is noted to be
 * (has_met_damage), which health shows; what is whole goes on. */

/* `db` is opened, and stays so until store_walk_close. One store to a process. */
void store_walk_open(struct ev_loop *loop, struct db *db);
/* Ends a walk that is under way. Not opened is fine. */
void store_walk_close(void);

#endif
