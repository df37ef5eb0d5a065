#ifndef SOLO_EVENTD_PROJECTION_H
#define SOLO_EVENTD_PROJECTION_H

#include "common/api/event_types.h"
#include "common/api/records/event_record.h"
#include "common/base/problem.h"
#include "common/db/db.h"

/* The tables `live` and `tenants`: always exactly the fold of the log, because they change in the
 * transaction that appends. */

/* What an event of these types must have, so that folding it later cannot fail: a subject, a
 * payload, room in the tables. Types that fold nothing pass. */
enum status projection_admits(struct db_txn *txn, enum event_type type, const struct event *event,
                              struct problem *problem);

enum status projection_apply(struct db_txn *txn, enum event_type type, const struct event *event);

/* Folds the whole log anew, after its chain was verified; says how far it is every PROGRESS_EVENTS.
 */
enum { PROGRESS_EVENTS = 65536 };
enum status projection_rebuild(struct db_txn *txn, void (*told)(uint64_t done, uint64_t total),
                               uint64_t *events);

#endif
