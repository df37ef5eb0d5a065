#ifndef SOLO_DEPLOYD_RETRY_H
#define SOLO_DEPLOYD_RETRY_H

#include "deployd/catalog.h"

/* Starts that failed for a cause that passes (a full disk, no process to be had): they are tried
 * again by reconcile_look, after pauses that grow from RETRY_MS_FIRST to RETRY_MS_MAX. */
enum { RETRY_MS_FIRST = 30 * 1000, RETRY_MS_MAX = 10 * 60 * 1000 };

bool retry_is_worth(const char *code); /* a plan_code's name */

/* Once more, after a pause longer than the one before. */
void retry_note(struct service *service, uint64_t boottime_ns);
void retry_forget(struct service *service);
/* Whether it is time, and still wanted and failed, and nobody is at it. */
bool retry_is_due(const struct service *service, uint64_t boottime_ns);

#endif
