#ifndef SOLO_RECOVERYD_SALVAGE_COMMAND_H
#define SOLO_RECOVERYD_SALVAGE_COMMAND_H

#include "common/daemon/settings.h"
#include "recoveryd/options.h"

/* `recoveryd salvage [BACKUP...]`: puts a log in the place of a damaged one that has every event
 * which the damaged file and the backups prove, and sets the damaged store aside. Solo must not
 * run. Returns the exit code. */
int salvage_command(const struct settings *settings, const struct options *options);

#endif
