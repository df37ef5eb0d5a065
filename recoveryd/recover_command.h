#ifndef SOLO_RECOVERYD_RECOVER_COMMAND_H
#define SOLO_RECOVERYD_RECOVER_COMMAND_H

#include "common/daemon/settings.h"
#include "recoveryd/options.h"

/* `recoveryd` and `recoveryd --dry-run`. Returns the exit code of docs/recovery.md. */
int recover_command(const struct settings *settings, const struct options *options);

#endif
