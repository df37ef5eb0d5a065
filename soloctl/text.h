#ifndef SOLO_SOLOCTL_TEXT_H
#define SOLO_SOLOCTL_TEXT_H

#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/span.h"

/* Text of others, made fit for a terminal: control characters (C0, DEL, C1) and bytes that are no
 * UTF-8 are shown as \xNN, so that no tenant can move the operator's cursor or forge a line. Tabs
 * stay when `keeps_tabs`. */
void text_print_span(FILE *out, struct span text, bool keeps_tabs);
void text_print(FILE *out, const char *text);

/* "12s", "3m", "5h", "4d" between two wall clock times; "-" when `since_ns` is 0. */
enum { AGE_BYTES = 24 };
char *age_text(char text[AGE_BYTES], uint64_t since_ns, uint64_t now_ns);

/* "10m" (that long before `now_ns`), "2026-11-21T20:58:17[.123]Z" (or +01:00), "2026-11-21", or
 * "@1795294697" as nanoseconds since 1970. */
enum status time_parse(const char *text, uint64_t now_ns, uint64_t *wall_ns);

#endif
