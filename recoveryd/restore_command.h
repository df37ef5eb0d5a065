#ifndef SOLO_RECOVERYD_RESTORE_COMMAND_H
#define SOLO_RECOVERYD_RESTORE_COMMAND_H

#include "common/daemon/settings.h"
#include "recoveryd/options.h"

/* `recoveryd restore DIR`: puts a backup into a data directory that holds no store and that no
 * Solo uses. Each store is copied beside its place, probed, given a new incarnation, and moved
 * there; cut off in between, the directory starts no Solo, and the same command begins anew.
 * Returns the exit code. */
int restore_command(const struct settings *settings, const struct options *options);

#endif
