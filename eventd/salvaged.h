#ifndef SOLO_EVENTD_SALVAGED_H
#define SOLO_EVENTD_SALVAGED_H

#include "common/db/db.h"

/* Within the transaction that opens a store which `recoveryd salvage` made, and nobody has opened
 * since: makes anew what follows from its events and is eventd's own (positions of sources), and
 * forgets requests, whose outcomes may be lost. *epoch is raised above that of the last event.
 * Nothing happens to any other store. */
enum status salvaged_settle(struct db_txn *txn, uint64_t last_id, uint64_t *epoch);

#endif
