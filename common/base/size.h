#ifndef SOLO_COMMON_BASE_SIZE_H
#define SOLO_COMMON_BASE_SIZE_H

#include <stdint.h>

enum { SIZE_TEXT_BYTES = 32 };

/* "256 MiB", "1.5 GiB", "900 bytes": for people, to one decimal, rounded down. Returns `text`. */
char *size_text(char text[SIZE_TEXT_BYTES], uint64_t bytes);

#endif
