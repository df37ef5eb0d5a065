#ifndef SOLO_SOLOD_RECOVERY_H
#define SOLO_SOLOD_RECOVERY_H

#include "solod/child.h"
#include "solod/daemons.h"

/* The recovery at start: one run of recoveryd, and two more at most while signals end it. */
struct recovery {
    struct child child;
    struct daemons *daemons;
    bool was_begun;
    bool is_stopping; /* it was asked to end: not run again */
    unsigned run_count;
    bool has_ended; /* also when it is not wanted */
    int exit_code;  /* -1 until it has ended, and when it did not run; 128 + signal when killed */
    uint64_t began_ns;
    char status[256]; /* its progress, in its words */
    void (*changed)(void *context);
    void *context;
};

/* Begins it, unless recovery_enabled is false: then it has ended at once. `changed` runs at its
 * end. */
void recovery_begin(struct recovery *recovery, struct daemons *daemons,
                    void (*changed)(void *context), void *context);
void recovery_stop(struct recovery *recovery); /* SIGTERM; it reports what is left and ends */
void recovery_close(struct recovery *recovery);

#endif
