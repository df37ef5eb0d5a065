#ifndef SOLO_SOLOD_SHUTDOWN_H
#define SOLO_SOLOD_SHUTDOWN_H

#include <ev.h>

#include "common/rpc/client.h"
#include "solod/daemons.h"
#include "solod/killed.h"
#include "solod/log_closer.h"
#include "solod/recovery.h"

/* The way down, begun once. */
enum shutdown_step {
    SHUTDOWN_NONE,
    SHUTDOWN_WAIT_DEPLOYD, /* until deployd can be asked: it may be starting, or have crashed */
    SHUTDOWN_DRAIN,        /* deployd stops every service */
    SHUTDOWN_STOP_DEPLOYD, /* and recoveryd */
    SHUTDOWN_STOP_STORES,  /* tokend and vaultd, side by side: their last events are in the log then
                            */
    SHUTDOWN_CLOSE_LOG,    /* eventd learns that it will write system_shutdown_complete */
    SHUTDOWN_STOP_EVENTD,
    SHUTDOWN_KILL,         /* the time is over: whatever is left */
    SHUTDOWN_CLOSE_BEHIND, /* eventd has ended without closing the log */
    SHUTDOWN_DONE,
    SHUTDOWN_STEPS
};

struct shutdown {
    enum shutdown_step step;
    struct daemons *daemons;
    struct recovery *recovery;
    struct rpc_client *client; /* of the daemon that is being asked */
    struct rpc_client *eventd; /* asked whether it hangs */
    struct log_closer closer;
    struct uuid drain_id; /* one drain, however often deployd has to be asked */
    struct ev_timer deadline;
    bool is_over;    /* the time is over, and the margin runs */
    bool was_killed; /* in this step: who is still there then is not waited for */
    bool is_closing; /* eventd knows that its end is the log's */
    uint64_t began_ns;
    struct killed killed;
    bool is_forced; /* something had to be killed, or could not finish its work */
    void (*done)(void *context, bool is_clean);
    void *context;
};

/* `done` runs once, from the loop. Called again it does nothing. */
void shutdown_begin(struct shutdown *shutdown, struct daemons *daemons, struct recovery *recovery,
                    void (*done)(void *context, bool is_clean), void *context);
/* Looks whether what it waits for has come true; after every change of a child. */
void shutdown_step(struct shutdown *shutdown);
void shutdown_close(struct shutdown *shutdown);

#endif
