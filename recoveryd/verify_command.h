#ifndef SOLO_RECOVERYD_VERIFY_COMMAND_H
#define SOLO_RECOVERYD_VERIFY_COMMAND_H

#include "common/daemon/settings.h"
#include "recoveryd/options.h"

/* `recoveryd verify [--full]`: compares, prints what it found, changes nothing. Returns the exit
 * code. */
int verify_command(const struct settings *settings, const struct options *options);

#endif
