#ifndef SOLO_RECOVERYD_VAULT_CHECK_H
#define SOLO_RECOVERYD_VAULT_CHECK_H

#include "common/daemon/settings.h"
#include "recoveryd/findings.h"

/* The vault by way of vaultd, which alone may read it: what it has noticed so far; with `is_full`
 * it opens every version of every secret. `secret_damaged` for each name that cannot be opened. A
 * vault that is sealed or not there finds nothing: `state` says so ("open", "sealed", "damaged",
 * "not running"). */
enum { VAULT_STATE_BYTES = 17 };
enum status vault_check(const struct settings *settings, bool is_full, struct findings *findings,
                        char state[VAULT_STATE_BYTES]);

#endif
