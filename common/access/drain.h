#ifndef SOLO_COMMON_ACCESS_DRAIN_H
#define SOLO_COMMON_ACCESS_DRAIN_H

#include "common/daemon/lifecycle.h"
#include "common/rpc/server.h"

/* How a daemon with a store ends: health says so, intake stops, what was received is answered
 * (counted, not waited for), the server closes, the owner closes its store, the loop ends. A client
 * that does not read its answers is not waited for beyond the timeout. */
struct drain {
    struct lifecycle *lifecycle;
    struct rpc_server **server;
    /* The owner's part. `begun` (may be NULL) when the drain begins, after intake has stopped.
     * `is_done` (may be NULL) whether nothing else is left to do. `finish` after the server has
     * closed: its status is the process's, unless the drain began with a failure. */
    void (*begun)(void *context);
    bool (*is_done)(void *context);
    enum status (*finish)(void *context);
    void *context;

    struct ev_prepare each_turn;
    struct ev_timer deadline;
    enum status result; /* what the process will exit with */
    bool has_begun;
};

/* Hooks itself into the lifecycle. The caller has filled lifecycle to context. */
void drain_init(struct drain *drain, uint64_t timeout_ms);

/* Ends the process with this status, after the drain; once. For a store that has failed. */
void drain_begin(struct drain *drain, enum status result);

/* A store that is damaged, or cannot be read, is said to be so by a daemon that stays: restarting
 * would not mend it. Health and the parent are told. */
void daemon_damaged(enum status status, const char *dir);

#endif
