#ifndef SOLO_RECOVERYD_MARK_CHECK_H
#define SOLO_RECOVERYD_MARK_CHECK_H

#include "recoveryd/actual.h"
#include "recoveryd/findings.h"

/* Processes that carry this store's mark (SOLO_INSTANCE) though no supervisor holds what they were
 * started for: `duplicate` beside a process of the same service that is held, `orphan` otherwise.
 * A finding's tenant is the mark's, its name the service that the process was started as. Sees the
 * processes whose environment we may read: as root all of them, else those of our uid. */
enum status mark_check(const uint8_t store_id[16], const struct actual *actual,
                       struct findings *findings);

#endif
