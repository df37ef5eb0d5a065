#ifndef SOLO_COMMON_ACCESS_DAMAGED_STORE_H
#define SOLO_COMMON_ACCESS_DAMAGED_STORE_H

#include "common/db/db.h"
#include "common/rpc/server.h"

/* A daemon whose store is damaged, cannot be read or is of another version stays: restarting would
 * not mend it. It says so, and refuses whatever would need the store. There is one store to a
 * process. */

/* Whether what failed at opening is that: data_loss, io, or failed_precondition of a store that is
 * whole and not for this program. */
bool damaged_store_is_lasting(enum status status);

/* Health and the parent are told. `status` is one of those, `dir` the folder of the store. */
void damaged_store_say(const struct db_schema *schema, enum status status, const char *dir);

/* What health says of one that goes on although rows of its store are damaged. `folder` is the
 * store's name. */
const char *damaged_store_in_places(const char *folder);

/* For rpc_service.may_serve: ok until damaged_store_say was called. */
enum status damaged_store_refuse(void *context, struct rpc_call *call);

#endif
