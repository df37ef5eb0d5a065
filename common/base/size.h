#ifndef SOLO_COMMON_BASE_SIZE_H
#define SOLO_COMMON_BASE_SIZE_H

#include <stdint.h>

enum { SIZE_TEXT_BYTES = 32 };

/* "256 MiB", "1.5 GiB", "900 bytes": for people, to one decimal, rounded down. Returns `text`. */
char *size_text(char text[SIZE_TEXT_BYTES], uint64_t bytes);

/* "240 of 256 MiB", "900.5 KiB of 2 MiB": the unit once when both have it. */
enum { SIZE_PART_TEXT_BYTES = 2 * SIZE_TEXT_BYTES };
char *size_part_text(char text[SIZE_PART_TEXT_BYTES], uint64_t used, uint64_t allowed);

#endif
