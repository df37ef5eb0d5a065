#ifndef SOLO_RECOVERYD_LOG_COMMAND_H
#define SOLO_RECOVERYD_LOG_COMMAND_H

#include "recoveryd/options.h"

/* `recoveryd log`: prints the log from the store itself, each record checked with its hash and its
 * link to the one before. What is damaged is named on standard error, the rest is printed all the
 * same. `argv` is given on to the child that reads. Returns the exit code. */
int log_command(int argc, char **argv, const struct options *options);

#endif
