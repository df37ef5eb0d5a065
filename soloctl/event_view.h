#ifndef SOLO_SOLOCTL_EVENT_VIEW_H
#define SOLO_SOLOCTL_EVENT_VIEW_H

#include <stdio.h>

#include "common/api/api.h"
#include "soloctl/item.h"
#include "soloctl/session.h"

/* An event as it is shown: at least id, time, type, tenant, subject, causation_id and payload. */
void event_item_build(const struct event_item *event, struct item *item);

/* One line for people: number, time, type, subject, cause, and what the payload says in short.
 * `is_wide` adds what is usually of no interest. */
void event_print_heading(FILE *out);
void event_print(FILE *out, const struct event_item *event, bool is_wide);

/* "generation=12 reason=..." from the plain values of a payload and of the maps in it; lists, specs
 * and what is nested deeper are left out. */
void payload_print(FILE *out, struct span payload, bool is_wide);

/* Calls `take` for each event of a packed list until it fails. */
enum status events_each(struct span list, struct arena *arena,
                        enum status (*take)(void *context, const struct event_item *event),
                        void *context, struct problem *problem);

#endif
