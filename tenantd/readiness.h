#ifndef SOLO_TENANTD_READINESS_H
#define SOLO_TENANTD_READINESS_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/status.h"
#include "common/spec/spec.h"
#include "tenantd/helper.h"

/* Whether a service that was started is ready: watched once per start, by its spec's `ready`. What
 * becomes of one that is not ready in time is service_readiness.c's affair.
 *
 *   notify  waits to be told by readiness_tell
 *   tcp     connects to the port on 127.0.0.1, then ::1; again after a growing pause
 *   exec    runs a probe; again after a growing pause
 */
struct readiness_settings {
    enum ready_by by;
    uint64_t timeout_ms;
    uint16_t port;
};

enum {
    READINESS_PAUSE_FIRST_MS = 20,
    READINESS_PAUSE_MAX_MS = 1000,
    READINESS_CONNECT_MS = 1000, /* of one attempt */
    READINESS_PROBE_MS = 10000,  /* of one probe; then it is killed */
    READINESS_LACK_BYTES = 128,
};

struct readiness {
    const struct readiness_settings *settings; /* not owned */
    struct ev_loop *loop;
    bool is_ready;
    char lack[READINESS_LACK_BYTES]; /* what it is waiting for, for people */

    /* Something of the above has changed. */
    void (*changed)(void *context);
    /* Starts a probe in helper, which is then in the list; on failure `lack` gets the reason. */
    enum status (*probe)(void *context, struct helper *helper, char lack[READINESS_LACK_BYTES]);
    /* Kills the probe's process group; its exit follows. */
    void (*probe_kill)(void *context, struct helper *helper);
    void *context;

    struct ev_timer timer; /* the pause between two attempts, or the end of one */
    uint64_t pause_ms;     /* the next one */
    struct ev_io on_connected;
    int socket; /* -1 between attempts */
    bool is_second_address;
    struct helper helper;
    bool was_killed; /* the probe, for its time */
};

/* Settings, loop, callbacks and context are filled in. The first attempt comes with the next turn.
 */
void readiness_begin(struct readiness *readiness);
/* It said so, or told how far it is (NULL for nothing). For `notify`; others say what they like. */
void readiness_tell(struct readiness *readiness, bool is_ready, const char *status);
/* Ends what is under way, but for a probe that runs: that is the caller's affair. */
void readiness_end(struct readiness *readiness);

#endif
