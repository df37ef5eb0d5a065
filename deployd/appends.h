#ifndef SOLO_DEPLOYD_APPENDS_H
#define SOLO_DEPLOYD_APPENDS_H

#include "deployd/deployd.h"

/* Events on their way to eventd. Each carries a request_id (the caller's, or one drawn here) or a
 * source number, so that sending it again after a broken connection appends it once. */

enum { APPEND_TIMEOUT_MS = 20 * 1000 };

/* Sends event.append; `request_id` NULL draws one, unless the request names a source. The callback
 * gets a struct event_append_reply. resource_exhausted when too many calls are pending: then
 * nothing was sent and the callback does not run. `timeout_ms` 0 waits for as long as eventd is
 * away. */
enum status append_send(struct deployd *deployd, const struct event_append_request *request,
                        const struct uuid *request_id, uint64_t timeout_ms, rpc_on_reply on_reply,
                        void *context);

/* The same for several, all or none: `events` is a packed array of maps with the fields of
 * event.append, and the callback gets a struct event_append_batch_reply. */
enum status append_send_batch(struct deployd *deployd, struct span events,
                              const struct uuid *request_id, uint64_t timeout_ms,
                              rpc_on_reply on_reply, void *context);

/* What goes wrong with an append, in words for the caller: *problem is filled from what eventd
 * said; `what` was to be recorded ("the kill"). Returns the status to answer with. */
enum status append_problem(enum status status, const struct problem *said, const char *what,
                           struct problem *problem);

#endif
