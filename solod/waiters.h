#ifndef SOLO_SOLOD_WAITERS_H
#define SOLO_SOLOD_WAITERS_H

#include <ev.h>

#include "common/rpc/server.h"

/* Calls that are answered when something has come true: system.wait, daemon.restart. Bounded. */
enum { WAITERS_MAX = 256 };

struct waiter {
    struct rpc_call *call; /* NULL: free */
    struct waiters *owner;
    struct ev_timer deadline;
    /* Asked after every change. Answers and returns true, or returns false to wait on. */
    bool (*try)(void *context, struct waiter *waiter);
    /* Says what it waited for in vain. */
    void (*explain)(void *context, const struct waiter *waiter, struct problem *problem);
    size_t index; /* of the daemon, for daemon.restart */
    uint64_t old_restarts;
};

struct waiters {
    struct waiter items[WAITERS_MAX];
    struct ev_loop *loop;
    void *context; /* for try and explain */
};

void waiters_open(struct waiters *waiters, struct ev_loop *loop, void *context);
/* Answers whatever waits with shutting_down_fill. */
void waiters_close(struct waiters *waiters);

/* Defers the call until `try` answers it or the time is over (deadline_exceeded). `waiter` comes
 * filled but for what it owns. resource_exhausted when too many wait. */
enum status waiters_add(struct waiters *waiters, struct rpc_call *call, const struct waiter *waiter,
                        uint64_t timeout_ms);
void waiters_step(struct waiters *waiters);

/* `unavailable`, and when to ask whoever starts next: what is said while Solo stops. */
enum status shutting_down_fill(struct problem *problem);

#endif
