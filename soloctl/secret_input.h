#ifndef SOLO_SOLOCTL_SECRET_INPUT_H
#define SOLO_SOLOCTL_SECRET_INPUT_H

#include <stdbool.h>

#include "common/base/limits.h"
#include "common/base/problem.h"
#include "common/base/span.h"

/* A value or a passphrase on its way in: from a file or standard input, never from argv. Wiped when
 * it is closed; this process leaves no core. Starts zeroed. */
struct secret_input {
    unsigned char bytes[SECRET_VALUE_BYTES_MAX + 1];
    size_t size;
};

/* Every byte of a file, "-" or NULL being standard input. A terminal is asked with `prompt`, does
 * not show what is typed, and gives one line without its end. */
enum status secret_input_read(struct secret_input *input, const char *path, const char *prompt,
                              struct problem *problem);
/* One line, without its end; a terminal is asked twice when `is_new`. */
enum status secret_input_passphrase(struct secret_input *input, bool is_new,
                                    struct problem *problem);
struct span secret_input_span(const struct secret_input *input);
void secret_input_close(struct secret_input *input);

#endif
