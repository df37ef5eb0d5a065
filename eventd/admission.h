#ifndef SOLO_EVENTD_ADMISSION_H
#define SOLO_EVENTD_ADMISSION_H

#include "common/api/api.h"
#include "common/api/event_types.h"
#include "common/rpc/server.h"
#include "eventd/event_store.h"

/* Who may write what. Each of Solo's types has one writer; everybody else writes app.* types, which
 * touch nothing but the log. */

/* Checks one event against its caller and the open turn, writing nothing. On success *type is its
 * type and `event` is filled with what the caller may decide; it points into `item` and `caller`.
 */
enum status admission_check(struct event_store *store, const struct caller *caller,
                            const struct event_append_request *item, struct event *event,
                            enum event_type *type, struct problem *problem);

/* The tenant that an event is about: a token's own, the named one otherwise. */
enum status admission_tenant(const struct caller *caller, const char *named, const char **tenant,
                             struct problem *problem);

#endif
