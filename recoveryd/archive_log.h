#ifndef SOLO_RECOVERYD_ARCHIVE_LOG_H
#define SOLO_RECOVERYD_ARCHIVE_LOG_H

#include "recoveryd/options.h"

/* `recoveryd log --archive FILE`: the events of one archive, each record checked with its link to
 * the one before. Ends with 86 where the first is damaged; what stands before it was printed. */
int archive_log_command(const struct options *options);

#endif
