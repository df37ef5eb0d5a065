#ifndef SOLO_COMMON_SPEC_PRINTABLE_H
#define SOLO_COMMON_SPEC_PRINTABLE_H

#include "common/base/span.h"

/* Text of others made fit for a message or a terminal: control characters, and bytes above 0x7f of
 * what is no UTF-8, as \xNN; cut to `size`, between characters. Returns `printable`. */
char *text_printable(char *printable, size_t size, struct span text);

#endif
