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
    bool is_orderly; /* event.close_log came before */
};

/* Hooks itself into the lifecycle and the store. */
void stopping_init(struct stopping *stopping, struct eventd *eventd, struct lifecycle *lifecycle,
                   struct rpc_server **server, const struct settings *settings);

#endif
