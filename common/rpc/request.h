#ifndef SOLO_COMMON_RPC_REQUEST_H
#define SOLO_COMMON_RPC_REQUEST_H

#include "common/rpc/connection.h"
#include "common/rpc/message.h"

/* From a complete frame to its handler: look the method up, take request_id and token out,
 * authorise, check the fields, open the turn's transaction where the method writes, run. `file`
 * came with the frame (-1: nothing did) and is set to -1 when it was taken over. */
void request_run(struct rpc_connection *connection, const struct message *message,
                 size_t frame_bytes, int *file);

/* The method of this name, or NULL. */
const struct rpc_route *request_route(const struct rpc_server *server, struct span name);

#endif
