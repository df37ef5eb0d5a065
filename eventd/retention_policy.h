#ifndef SOLO_EVENTD_RETENTION_POLICY_H
#define SOLO_EVENTD_RETENTION_POLICY_H

#include "common/db/db.h"

/* Which of the oldest events may leave the log: those beyond the newest so many, and those that are
 * that old, whichever are more. */
struct retention_policy {
    uint64_t keep_events; /* UINT64_MAX: any number */
    uint64_t keep_ms;     /* UINT64_MAX: of any age */
};

/* As a request or the settings say it: 0 is no bound. */
struct retention_policy retention_policy_of(uint64_t keep_events, uint64_t keep_ms);

/* The last event that the policy lets go, of a log that is open; 0: none. Those of which heads and
 * requests do not speak yet stay, and without is_asked those of the last day: requests of that day
 * may be repeated, and are answered from their events. */
enum status retention_find_last(struct db_txn *txn, const struct retention_policy *policy,
                                bool is_asked, uint64_t now_ns, uint64_t *last);
/* Whether a pass by the settings is worth its archive: the first event is a day too old, or there
 * are an eighth too many. */
enum status retention_is_due(struct db_txn *txn, const struct retention_policy *policy,
                             uint64_t now_ns, bool *is_due);

#endif
