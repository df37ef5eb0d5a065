#ifndef SOLO_RECOVERYD_STORE_CHECK_H
#define SOLO_RECOVERYD_STORE_CHECK_H

#include "common/daemon/settings.h"
#include "recoveryd/findings.h"

/* The projection of the log: `live_damaged` when `live` or `tenants` does not match its digest.
 * data_loss: the log cannot be read at all. */
enum status projection_check(const struct settings *settings, struct findings *findings);

/* Every row of every table of the log and of the store of tokens with its seal, and the tables with
 * a digest against it: `rows_damaged` for each table in which something is wrong. Events are not
 * looked at: the fold does that. */
enum status store_check(const struct settings *settings, struct findings *findings);

#endif
