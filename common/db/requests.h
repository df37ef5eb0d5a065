#ifndef SOLO_COMMON_DB_REQUESTS_H
#define SOLO_COMMON_DB_REQUESTS_H

#include "common/base/hash.h"
#include "common/base/problem.h"
#include "common/base/uuid.h"
#include "common/db/table.h"

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

/* The newest id that has a row; all zero when none has. */
enum status requests_newest(struct db_txn *txn, unsigned table, struct uuid *newest);

/* invalid_argument with `problem` filled: older than what is kept, or from the future. `forgotten`
 * is what requests_forgotten says of this transaction. */
enum status requests_check_age(const struct uuid *id, uint64_t now_ms, const struct uuid *forgotten,
                               struct problem *problem);

/* not_found: new. OK: repeated, `outcome` is filled. aborted: the id was used with another body.
 * invalid_argument: as requests_check_age. The last two fill `problem`. */
enum status requests_find(struct db_txn *txn, unsigned table, const struct uuid *id,
                          const struct hash *body_hash, uint64_t now_ms,
                          const struct uuid *forgotten, struct request_outcome *outcome,
                          struct problem *problem);

/* aborted, with `problem` filled. Not with what the other one was: it may be another tenant's. */
enum status requests_refuse_other(struct problem *problem);

enum status requests_put(struct db_txn *txn, unsigned table, const struct uuid *id,
                         const struct request_outcome *outcome);
/* The same with a cursor of the table, for many at once. No id greater than `newest` has a row: one
 * that is greater goes behind all others, and becomes the newest. */
enum status requests_put_at(struct table_cursor *cursor, struct uuid *newest, const struct uuid *id,
                            const struct request_outcome *outcome);

/* Nobody knows any more what came of requests that were drawn before `now_ms`: they are refused. */
enum status requests_forget(struct db_txn *txn, uint64_t now_ms);

/* Deletes rows that need not be kept, at most `count_max`. When the clock was ahead and is right
 * again, those of the future go as well, and the mark is put back to this moment: else it would
 * refuse every request until the clock has come there. */
enum status requests_prune(struct db_txn *txn, unsigned table, uint64_t now_ms, uint64_t kept_max,
                           unsigned count_max, unsigned *pruned);
/* Whether requests_prune would find something. */
enum status requests_are_due(struct db_txn *txn, unsigned table, uint64_t now_ms, bool *are_due);

#endif
