#ifndef SOLO_DEPLOYD_NEXT_STEP_H
#define SOLO_DEPLOYD_NEXT_STEP_H

#include "deployd/catalog.h"

/* What helps a service in its state: a command per line, each with what it is for behind a "#", so
 * that any line can be pasted into a shell as it is. "" where nothing is needed. */
enum { NEXT_STEP_BYTES = 1024 };
char *next_step(const struct service *service, char text[NEXT_STEP_BYTES]);

#endif
