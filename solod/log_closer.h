#ifndef SOLO_SOLOD_LOG_CLOSER_H
#define SOLO_SOLOD_LOG_CLOSER_H

#include "solod/child.h"
#include "solod/daemons.h"

/* Another eventd, run for this alone, that ends the log of a run that is over: behind an eventd
 * that was killed before it had. */
struct log_closer {
    struct child child;
    struct daemons *daemons;
    void (*done)(void *context);
    void *context;
};

/* `killed` names who had to be killed. `done` runs once, from the loop, whatever came of it; not at
 * all when this fails. */
enum status log_closer_start(struct log_closer *closer, struct daemons *daemons, const char *killed,
                             void (*done)(void *context), void *context);
void log_closer_close(struct log_closer *closer);

#endif
