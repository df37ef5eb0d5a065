#ifndef SOLO_EVENTD_ARCHIVING_H
#define SOLO_EVENTD_ARCHIVING_H

#include <stdint.h>
#include <sys/types.h>

#include "common/base/status.h"

/* Writing an archive of old events beside the running writer: a child of this program, at the
 * lowest priority. It changes nothing in the store. */

/* What the child is to do. */
struct archiving {
    const char *data_dir;
    const char *folder; /* for archives; made when there is none */
    uint64_t first, last;
};

/* Starts it (`eventd --archive-events DATA FOLDER FIRST LAST`). When it ends with 0 there is the
 * archive of exactly these events, read back and verified as a whole, and its signed checkpoint,
 * both on disk. One that is there already is not written again; one that is not what it should be
 * is renamed, never removed. Where there is no room for it beside a store's reserve nothing is
 * written: resource_exhausted. `*pidfd` is the caller's. */
enum status archiving_start(const struct archiving *archiving, pid_t *pid, int *pidfd);

/* First in main: the child's part, when argv asks for it. */
void archiving_run_if_asked(int argc, char **argv);

#endif
