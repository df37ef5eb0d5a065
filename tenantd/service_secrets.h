#ifndef SOLO_TENANTD_SERVICE_SECRETS_H
#define SOLO_TENANTD_SERVICE_SECRETS_H

#include "common/api/api.h"
#include "tenantd/supervisor.h"

/* The secrets of a start. A service that needs some goes to waiting_for_secret with a request of
 * its own number in its row; deployd sees that, and answers with supervisor.deliver or .withhold.
 * So whoever begins a start, and whichever deployd is there, there is one way. */

/* Before a process is made: false when it needs none, or has them. */
bool service_secrets_ask(struct service *service);
/* The process was made, or could not be: the next one needs them anew. */
void service_secrets_used(struct service *service);
/* Its tree has ended, or it is being forgotten: the files go. */
void service_secrets_drop(struct service *service);

/* The handlers of the two methods. */
enum status handle_supervisor_deliver(struct supervisor *supervisor, struct rpc_call *call,
                                      const struct supervisor_deliver_request *request,
                                      struct supervisor_deliver_reply *reply);
enum status handle_supervisor_withhold(struct supervisor *supervisor, struct rpc_call *call,
                                       const struct supervisor_withhold_request *request,
                                       struct supervisor_withhold_reply *reply);

#endif
