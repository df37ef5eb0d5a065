#ifndef SOLO_TENANTD_METHODS_H
#define SOLO_TENANTD_METHODS_H

#include "common/access/access.h"
#include "tenantd/supervisor.h"

/* What can be asked of a supervisor: common/api/tenantd.def. Fills `service`, which keeps pointers
 * to both. */
void methods_setup(struct rpc_service *service, struct supervisor *supervisor,
                   struct access *access);

#endif
