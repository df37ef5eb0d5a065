#ifndef SOLO_VAULTD_COMPARISON_H
#define SOLO_VAULTD_COMPARISON_H

#include "vaultd/vault.h"

/* Whether the store that lies there is the one that the log knows. An older copy has what was
 * deleted since, and numbers of versions that were used since; a vault that was given up has
 * secrets that were given up; an empty one is none at all. `recoveryd restore` marks what it puts
 * back by another incarnation: that is taken. */

/* The log was reached: compares, and lets the outbox send. data_loss: the store is older than the
 * log, or of a vault in whose place another one came since, or it is new, and the log tells of
 * another; and it was not put back by `recoveryd restore`. Then the vault is damaged. */
enum status comparison_make(struct vault *vault);
/* The other one is lost, and somebody has said so: from now on this one counts. */
void comparison_begin_anew(struct vault *vault);

#endif
