#ifndef SOLO_SOLOCTL_PROGRESS_H
#define SOLO_SOLOCTL_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How far something is, as one line of standard error that is written over: only when that is a
 * terminal. Zeroed is ready for use. */
struct progress {
    bool is_shown;
    uint64_t shown_ns;
};

/* "soloctl: 120 of 1000 deployed", at most ten times a second. */
void progress_show(struct progress *progress, const char *what, size_t done, size_t total);
/* "soloctl: TEXT", as often as it is called. */
void progress_say(struct progress *progress, const char *text);
/* Before anything else is printed, and at the end. */
void progress_hide(struct progress *progress);

#endif
