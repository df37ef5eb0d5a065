#ifndef SOLO_DEPLOYD_BOOT_H
#define SOLO_DEPLOYD_BOOT_H

#include "deployd/deployd.h"

/* deployd's own start, after its sockets and tables are open:
 *
 *   waiting for eventd ──► recording the run ──► adopting ──► reconciling ──► ready
 *           └─────────────────────┴─► damaged
 *
 * Calls wait in the listener's queue until it is ready. Damaged: the event store cannot be trusted;
 * nothing is changed and everything but status is answered with data_loss. */

void boot_begin(struct deployd *deployd);
void boot_end(struct deployd *deployd);

/* A supervisor that was found running has told what it holds, or has died. */
void boot_supervisor_told(struct deployd *deployd);
/* What was due has been carried out. */
void boot_reconciled(struct deployd *deployd);
/* For on_connection of the client of eventd. */
void boot_eventd_connected(struct deployd *deployd);

#endif
