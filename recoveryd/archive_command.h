#ifndef SOLO_RECOVERYD_ARCHIVE_COMMAND_H
#define SOLO_RECOVERYD_ARCHIVE_COMMAND_H

#include "common/daemon/settings.h"
#include "recoveryd/options.h"

/* `recoveryd archive [FILE...]`: verifies archives wherever they lie, each with the checkpoint
 * beside it; without a file those of this DATA. Needs no store and no daemon. Exit 0, or 86 when
 * one is not what it should be. */
int archive_command(const struct settings *settings, const struct options *options);

#endif
