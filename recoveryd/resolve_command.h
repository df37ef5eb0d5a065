#ifndef SOLO_RECOVERYD_RESOLVE_COMMAND_H
#define SOLO_RECOVERYD_RESOLVE_COMMAND_H

#include "common/daemon/settings.h"
#include "recoveryd/options.h"

/* `recoveryd resolve --keep log`: has eventd keep a FORKED log as it is. Returns the exit code. */
int resolve_command(const struct settings *settings, const struct options *options);

#endif
