#ifndef SOLO_RECOVERYD_SALVAGE_STORE_H
#define SOLO_RECOVERYD_SALVAGE_STORE_H

#include "common/api/records/log_branch.h"
#include "recoveryd/record_scan.h"
#include "recoveryd/salvage_losses.h"

/* Makes an event store of the chain at `dir`, which must not exist: the events, what they want, and
 * who is to be reviewed; the rest follows from the events, and eventd makes it when it opens the
 * store. Fills `losses`; `known_last` as for salvage_losses_find, `branch` is a new one. Reports of
 * earlier salvages are looked for in `data_dir`. */
enum status salvage_store_make(const char *dir, const char *data_dir, struct record_scan *scan,
                               uint64_t known_last, const struct log_branch *branch,
                               struct salvage_losses *losses);

#endif
