#ifndef SOLO_EVENTD_STOPPING_H
#define SOLO_EVENTD_STOPPING_H

#include "common/daemon/lifecycle.h"
#include "common/daemon/settings.h"
#include "common/rpc/server.h"
#include "eventd/methods.h"

/* How eventd ends: intake stops, watches end, what was received is answered (counted, not waited
 * for), the log gets its last event if an orderly shutdown was begun, the last commit sets the
 * clean flag. A client that does not read its answers is not waited for beyond shutdown_timeout_ms.
 */
struct stopping {
    struct eventd *eventd;
    struct lifecycle *lifecycle;
    struct rpc_server **server;
    const struct settings *settings;
    struct ev_prepare each_turn;
    struct ev_timer deadline;
    enum status result; /* what the process will exit with */
    bool has_begun;
    bool is_orderly; /* event.close_log came before */
};

/* Hooks itself into the lifecycle and into eventd's on_failure. */
void stopping_init(struct stopping *stopping, struct eventd *eventd, struct lifecycle *lifecycle,
                   struct rpc_server **server, const struct settings *settings);

#endif
