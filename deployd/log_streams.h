#ifndef SOLO_DEPLOYD_LOG_STREAMS_H
#define SOLO_DEPLOYD_LOG_STREAMS_H

#include "deployd/deployd.h"

/* service.logs: kept output to a caller, in slices between which other work goes on, as fast as the
 * caller reads; with `follow` until it hangs up. */

enum status log_stream_begin(struct deployd *deployd, struct rpc_call *call,
                             const struct service_logs_request *request,
                             struct service_logs_reply *reply);

/* Now and then: a stream whose token is void ends. */
void log_streams_check_tokens(void);

/* At the end: all of them are cut off. */
void log_streams_end(struct deployd *deployd, const struct problem *problem);

#endif
