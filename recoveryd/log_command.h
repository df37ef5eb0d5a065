#ifndef SOLO_RECOVERYD_LOG_COMMAND_H
#define SOLO_RECOVERYD_LOG_COMMAND_H

#include "common/daemon/settings.h"
#include "recoveryd/options.h"

/* `recoveryd log`: events from the store to stdout. With --after the first -n after that number,
 * without it the newest -n. data_loss at the first record that is not whole; those before it have
 * been printed. */
enum status log_command(const struct settings *settings, const struct options *options);

#endif
