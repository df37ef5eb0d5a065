#ifndef SOLO_DEPLOYD_DELIVERIES_H
#define SOLO_DEPLOYD_DELIVERIES_H

#include "deployd/deployd.h"

/* Secrets on their way from vaultd to supervisors, unread: the row of a service says that it waits
 * for some (secret_request), the log says for which, vaultd puts them into a descriptor, and that
 * is passed on. Refusals become the reason of the service's state; they are tried again whenever
 * vaultd says that something has changed.
 *
 *   none ──► queued ──► asked ──► handed ──► none
 *              ▲          │          └────► withheld
 *              └──────────┴─────────────────────┘
 */
enum status deliveries_open(struct deployd *deployd);
void deliveries_close(struct deployd *deployd);

/* A service's row has changed: begins nothing yet. */
void deliveries_look(struct deployd *deployd, struct service *service);
/* The connection to the tenant's supervisor was given up: what was asked of it is not answered. */
void deliveries_cut(struct deployd *deployd, struct tenant *tenant);
/* Whether vaultd could give what a spec names: answered later, with its refusal if not. `spec` is
 * empty for that of `generation` in the log, which is 0 for one that is not there yet. not_found:
 * it names no secrets. */
enum status deliveries_ask(struct deployd *deployd, const struct service *service,
                           uint64_t generation, struct span spec, rpc_on_reply on_reply,
                           void *context);
/* Once per turn. */
void deliveries_step(struct deployd *deployd);

#endif
