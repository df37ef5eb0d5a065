#ifndef SOLO_COMMON_ACCESS_DRAIN_H
#define SOLO_COMMON_ACCESS_DRAIN_H

#include "common/daemon/lifecycle.h"
#include "common/daemon/settings.h"
#include "common/db/db.h"
#include "common/rpc/server.h"

/* How a daemon with a store ends: health says so, intake stops, what was received is answered
 * (counted, not waited for), the server closes, the owner closes its store, the loop ends. A client
 * that does not read its answers is not waited for beyond shutdown_timeout_ms.
 *
 * It begins by itself when a commit's outcome is unknown, whoever made the commit: then nothing but
 * the answers is waited for, `finish` is not called, and the process ends with the code of `io`. */
struct drain {
    struct lifecycle *lifecycle;
    struct rpc_server **server;
    struct db *store; /* opened; or zeroed, when it is damaged */
    /* The owner's part. `begun` (may be NULL) when the drain begins, after intake has stopped.
     * `is_done` (may be NULL) whether nothing else is left to do. `finish` after the server has
     * closed: its status is the process's, unless the drain began with a failure. */
    void (*begun)(void *context);
    bool (*is_done)(void *context);
    enum status (*finish)(void *context);
    void *context;

    const struct settings *settings;
    struct ev_prepare each_turn, store_failed;
    struct ev_timer deadline;
    bool has_begun;
};

/* Hooks itself into the lifecycle and the store. The caller has filled lifecycle to context. */
void drain_init(struct drain *drain, const struct settings *settings);

#endif
