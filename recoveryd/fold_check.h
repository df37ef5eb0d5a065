#ifndef SOLO_RECOVERYD_FOLD_CHECK_H
#define SOLO_RECOVERYD_FOLD_CHECK_H

#include "common/daemon/settings.h"
#include "recoveryd/findings.h"

/* Reads the whole log, from event 1 on or from the state that stands for what was archived: each
 * record's hash and the chain between them, and folds it anew; then compares with the live rows of
 * the same snapshot. `folded` is the number of events, `next` the one after the last of them.
 * data_loss for a record or a link that is broken: `next` is the first such. Where there are two
 * processors, a child compares the hashes meanwhile. */
enum status fold_check(const struct settings *settings, struct findings *findings, uint64_t *folded,
                       uint64_t *next);

#endif
