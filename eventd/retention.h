#ifndef SOLO_EVENTD_RETENTION_H
#define SOLO_EVENTD_RETENTION_H

#include <ev.h>

#include "common/api/api.h"
#include "common/api/records/log_checkpoint.h"
#include "common/api/records/log_cut.h"
#include "common/daemon/settings.h"
#include "common/rpc/server.h"
#include "eventd/pruning.h"
#include "eventd/retention_policy.h"

/* Old events leave the log: archived and verified by a child (archiving.h), then the log is cut
 * behind them in one turn, then they are removed (pruning.h). By the settings retention_ms and
 * retention_events, or because an operator asks. Nothing is removed that no verified archive has,
 * and a process that ends anywhere in between goes on at its next start.
 *
 *   idle -> archiving -> archived -> keeping (the state, in parts) -> pruning -> idle, or archiving
 * the next
 */
enum retention_state {
    RETENTION_IDLE,
    RETENTION_CHOOSING,
    RETENTION_ARCHIVING,
    RETENTION_ARCHIVED,
    RETENTION_KEEPING,
    RETENTION_PRUNING,
};

struct retention {
    struct ev_loop *loop; /* NULL: closed */
    struct event_store *store;
    const struct settings *settings;
    struct ev_timer timer; /* the next look, or the next step */
    struct ev_io on_exit;  /* of the child */
    enum retention_state state;
    struct retention_policy policy; /* of this pass */
    char folder[4096];
    uint64_t target;      /* the last event that this pass lets go; 0: not chosen yet */
    uint64_t first, last; /* of the archive that is being made */
    pid_t pid;
    int pidfd;
    struct log_checkpoint checkpoint;
    struct buffer checkpoint_text, log_state;
    unsigned part; /* of the state: the next one to be put */
    struct pruning pruning;
    struct rpc_call *call; /* the operator's who asked; NULL: nobody waits */
    uint64_t pass_first, pass_events;
};

/* Goes on with what was cut off, and looks from time to time whether something is due. */
void retention_open(struct retention *retention, struct ev_loop *loop, struct event_store *store,
                    const struct settings *settings);
/* Ends what is under way; the next start goes on. A zeroed one is fine. */
void retention_close(struct retention *retention);

/* For event.archive: answered when all that the policy lets go is archived and removed. */
enum status retention_ask(struct retention *retention, struct rpc_call *call,
                          const struct event_archive_request *request);

#endif
