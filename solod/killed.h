#ifndef SOLO_SOLOD_KILLED_H
#define SOLO_SOLOD_KILLED_H

#include "common/base/limits.h"
#include "common/base/span.h"

/* Who had to be killed in a shutdown, for the log: "acme/deaf, deployd". Names that find no room
 * any more are in the diagnostics alone. */
struct killed {
    char names[EVENT_KILLED_BYTES_MAX];
};

void killed_add(struct killed *killed, const char *name);
/* A packed list of texts. */
void killed_add_list(struct killed *killed, struct span names);

#endif
