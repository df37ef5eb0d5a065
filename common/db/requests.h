#ifndef SOLO_COMMON_DB_REQUESTS_H
#define SOLO_COMMON_DB_REQUESTS_H

#include "common/base/hash.h"
#include "common/base/problem.h"
#include "common/base/uuid.h"
#include "common/db/db.h"

/* What came of requests that carried a request_id, so that a repeated one gets its first outcome.
 * Keys begin with the time at which the caller drew the id: the oldest rows stand first. Kept for
 * 24 hours, and at most REQUESTS_KEPT_MAX. The newest id whose row has gone stands in `meta`: of
 * one that is not greater nobody can say whether it was used, so it is refused. `table` is that of
 * the store whose requests they are. */

enum { INTENT_BYTES_MAX = 64 };

struct request_outcome {
    struct hash body_hash;
    /* What was asked for and came of it, in words; at most INTENT_BYTES_MAX, "" for event.append.
     * requests_find lets it point to `found`. */
    const char *intent;
    uint64_t first_id; /* of the owner: the number of an event, a time */
    uint32_t count;    /* of events from first_id on; 0: it is no event's number */
    char found[INTENT_BYTES_MAX + 1];
};

/* The newest id whose row was deleted; all zero when none was. */
enum status requests_forgotten(struct db_txn *txn, struct uuid *newest);

/* not_found: new. OK: repeated, `outcome` is filled. aborted: the id was used with another body.
 * invalid_argument: older than what is kept, or from the future. The last two fill `problem`.
 * `forgotten` is what requests_forgotten says of this transaction. */
enum status requests_find(struct db_txn *txn, unsigned table, const struct uuid *id,
                          const struct hash *body_hash, uint64_t now_ms,
                          const struct uuid *forgotten, struct request_outcome *outcome,
                          struct problem *problem);

enum status requests_put(struct db_txn *txn, unsigned table, const struct uuid *id,
                         const struct request_outcome *outcome);

/* Deletes rows that need not be kept, at most `count_max`. */
enum status requests_prune(struct db_txn *txn, unsigned table, uint64_t now_ms, uint64_t kept_max,
                           unsigned count_max, unsigned *pruned);
/* Whether requests_prune would find something. */
enum status requests_are_due(struct db_txn *txn, unsigned table, uint64_t now_ms, bool *are_due);

#endif
