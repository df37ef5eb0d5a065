#ifndef SOLO_COMMON_ACCESS_DAMAGED_STORE_H
#define SOLO_COMMON_ACCESS_DAMAGED_STORE_H

#include "common/rpc/server.h"

/* A daemon whose store is damaged, or cannot be read, stays: restarting would not mend it. It says
 * so, and refuses whatever would need the store. There is one store to a process. */

/* Health and the parent are told. `status` is data_loss or io; `dir` is the store's folder,
 * `daemon` a constant. */
void damaged_store_say(const char *daemon, enum status status, const char *dir);

/* What health says of one that goes on although rows of its store are damaged. `folder` is the
 * store's name. */
const char *damaged_store_in_places(const char *folder);

/* For rpc_service.may_serve: ok until damaged_store_say was called. */
enum status damaged_store_refuse(void *context, struct rpc_call *call);

#endif
