#ifndef SOLO_EVENTD_STOPPING_H
#define SOLO_EVENTD_STOPPING_H

#include "common/access/drain.h"
#include "common/daemon/settings.h"
#include "eventd/methods.h"

/* How eventd ends: watches end, the log gets its last event if an orderly shutdown was begun, the
 * last commit sets the clean flag. The rest is the drain that all daemons with a store have. */
struct stopping {
    struct drain drain;
    struct eventd *eventd;
    const struct settings *settings;
};

/* Hooks itself into the lifecycle and the store. */
void stopping_init(struct stopping *stopping, struct eventd *eventd, struct lifecycle *lifecycle,
                   struct rpc_server **server, const struct settings *settings);

/* `eventd --close-log`, for whoever stopped an eventd that was killed, or ended before it heard
 * that the log is to be closed: when the run is over (RUN has no run_id) and the log does not say
 * so, it ends the log. Otherwise it changes nothing. `killed` names who had to be killed. */
enum status stopping_close_log(const struct settings *settings, const char *killed);

#endif
