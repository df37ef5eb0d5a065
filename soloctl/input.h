#ifndef SOLO_SOLOCTL_INPUT_H
#define SOLO_SOLOCTL_INPUT_H

#include "common/base/buffer.h"
#include "common/base/problem.h"

/* Reads a file that the user named, "-" being standard input, at most content->limit bytes. `flag`
 * says in messages where the name came from. invalid_argument when it cannot be read: not_found
 * would look like a service that is not there. */
enum status input_read(const char *flag, const char *path, struct buffer *content,
                       struct problem *problem);

#endif
