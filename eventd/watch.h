#ifndef SOLO_EVENTD_WATCH_H
#define SOLO_EVENTD_WATCH_H

#include <ev.h>

#include "common/access/access.h"
#include "common/rpc/shares.h"
#include "eventd/event_store.h"
#include "eventd/query.h"

/* Live tails: each watch is a deferred event.watch call and the last number it was sent. After a
 * commit, and whenever it has fallen behind, it gets what it lacks in bounded slices. A client that
 * does not read is waited for, then cut off; it resumes from the last number it saw. */

struct watch;
struct watch_list {
    struct event_store *store;
    const struct access *access; /* looks at the tokens of watches again; may be NULL */
    struct ev_loop *loop;
    struct ev_timer slice; /* runs in each turn while somebody is behind */
    struct ev_timer slow;  /* looks for clients that do not read, and for tokens that are void */
    struct watch *watches;
    struct shares places;
    struct buffer items, params;
};

void watch_list_open(struct watch_list *list, struct ev_loop *loop, struct event_store *store,
                     const struct access *access);
/* Ends every watch: `unavailable`, the daemon stops. */
void watch_list_close(struct watch_list *list);

/* Takes the call over (rpc_call_defer). `shown` is what the caller is told to resume after while
 * nothing was sent: `after`, or its tenant's last event before that. */
enum status watch_begin(struct watch_list *list, struct rpc_call *call,
                        const struct event_filter *filter, uint64_t after, uint64_t shown);
/* After a commit. */
void watch_list_wake(struct watch_list *list);

#endif
