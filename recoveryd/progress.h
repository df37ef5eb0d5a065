#ifndef SOLO_RECOVERYD_PROGRESS_H
#define SOLO_RECOVERYD_PROGRESS_H

#include <stddef.h>

#include "recoveryd/options.h"

/* How far a recovery is, on stderr: a bar on one line of a terminal, plain lines at most once a
 * second elsewhere, and the status line of the service manager. */
struct progress {
    enum progress_kind kind;
    bool is_bar;
    bool is_begun; /* a bar stands on the terminal's line */
    uint64_t total;
    uint64_t told_ns;
    uint64_t told_done;
};

void progress_open(struct progress *progress, enum progress_kind kind, uint64_t total);
/* As often as one likes: it tells what is worth telling. */
void progress_show(struct progress *progress, uint64_t done, uint64_t failed);
/* Takes the bar away. */
void progress_close(struct progress *progress);

/* "[######....]  3/5", at most `size` bytes: the bar alone. */
char *progress_bar(char *text, size_t size, uint64_t done, uint64_t total);

#endif
