#ifndef SOLO_EVENTD_APPENDING_H
#define SOLO_EVENTD_APPENDING_H

#include "common/api/api.h"
#include "common/rpc/server.h"
#include "eventd/event_store.h"

/* One request that appends: one event or several, all or none, in order and without others between.
 */
struct append_outcome {
    uint64_t first_id;
    uint64_t last_id; /* of the batch, also when that was there already */
    uint64_t count;
    bool is_repeat;
};

/* Everything is checked first and written last: a refusal (call->problem) has changed nothing. A
 * request that was committed before, by its request_id or by its sources' numbers, is answered with
 * what it became then. When only some events of a batch were there already, the others are
 * appended, and the outcome is about those. */
enum status appending_run(struct event_store *store, struct rpc_call *call,
                          const struct event_append_request *items, size_t count,
                          struct append_outcome *outcome);

#endif
