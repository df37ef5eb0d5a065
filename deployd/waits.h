#ifndef SOLO_DEPLOYD_WAITS_H
#define SOLO_DEPLOYD_WAITS_H

#include "deployd/deployd.h"

/* Callers of service.wait: each is answered when its service has reached the condition, cannot
 * reach it any more, or its time is over. */

enum wait_condition { WAIT_RUNNING, WAIT_READY, WAIT_GONE };
enum { WAIT_MS_DEFAULT = 60 * 1000 };

/* Whether the condition holds (ok), may still come (unavailable), or cannot (another status, with
 * the reason in the problem): what it was waited for failed, and the generation before is wanted
 * again. `generation` is the newest that was wanted since the wait began, 0 for none. Pure. */
enum status wait_judge(const struct service *service, enum wait_condition condition,
                       uint64_t generation, struct problem *problem);

/* Answers at once where it can; defers the call otherwise. `service` may be NULL. */
enum status wait_begin(struct deployd *deployd, struct rpc_call *call, struct service *service,
                       enum wait_condition condition, uint64_t timeout_ms,
                       struct service_wait_reply *reply);

/* The catalog's on_change: looks at the waits of a service. */
void waits_look(void *context, struct service *service);

/* Now and then: a wait whose token is void ends. */
void waits_check_tokens(struct deployd *deployd);

/* At the end: all of them are refused. */
void waits_end(struct deployd *deployd, const struct problem *problem);

#endif
