#ifndef SOLO_COMMON_BASE_CLOCK_H
#define SOLO_COMMON_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

/* Nanoseconds since 1970, and since boot (sleep included). */
uint64_t clock_wall_ns(void);
uint64_t clock_boottime_ns(void);
double clock_boottime_s(void);

/* The kernel's id of this boot, 36 characters and NUL. */
enum { BOOT_ID_BYTES = 37 };
enum status clock_boot_id(char boot_id[BOOT_ID_BYTES]);

/* "2026-11-21T20:58:17.123Z" from nanoseconds since 1970. */
enum { TIME_TEXT_BYTES = 32 };
char *time_text(char text[TIME_TEXT_BYTES], uint64_t wall_ns);

/* "250ms", "5s", "2m", "1h", "7d", also "1.5s"; a bare number is seconds. Refuses what is negative,
 * has another unit, or is over 10 years. */
enum status duration_parse(const char *text, uint64_t *milliseconds);

/* The shortest text that duration_parse reads back. */
enum { DURATION_TEXT_BYTES = 24 };
char *duration_text(char text[DURATION_TEXT_BYTES], uint64_t milliseconds);

#endif
