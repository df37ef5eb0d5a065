#ifndef SOLO_DEPLOYD_DRAIN_H
#define SOLO_DEPLOYD_DRAIN_H

#include "deployd/deployd.h"

/* system.drain: no new work, the shutdown is recorded, every supervisor ends its services and
 * itself; past the time limit what is left is killed. Services stay wanted: the next run brings
 * them back. */

/* Defers the call; a second one joins. */
enum status drain_begin(struct deployd *deployd, struct rpc_call *call,
                        const struct system_drain_request *request);

/* A supervisor has become ready while the drain is on: it is told to shut down. */
void drain_supervisor_ready(struct supervisor *supervisor);
/* One has died; the catalog still has what it held. Before it said that its services have ended,
 * they were killed with it. */
void drain_supervisor_died(struct supervisor *supervisor);
/* Nothing is left of one. */
void drain_supervisor_gone(struct deployd *deployd);
void drain_close(struct deployd *deployd);

#endif
