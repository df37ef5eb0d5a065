#ifndef SOLO_SOLOD_METHODS_H
#define SOLO_SOLOD_METHODS_H

#include "common/rpc/server.h"
#include "solod/boot.h"

/* What solod can be asked (common/api/solod.def). The solod must outlive the service. */
struct rpc_service solod_service(struct solod *solod);

#endif
