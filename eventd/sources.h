#ifndef SOLO_EVENTD_SOURCES_H
#define SOLO_EVENTD_SOURCES_H

#include "common/api/records/event_record.h"
#include "common/base/hash.h"
#include "common/base/problem.h"
#include "common/db/db.h"

/* Who numbers its own events: an outbox, a supervisor. A source is a name and an incarnation
 * (random, new whenever the source begins again at 1). Its next number appends, an older one with
 * the same body is acknowledged with the event it became, so a source may repeat what it does not
 * know to have arrived.
 *
 * Rows of the sources table:
 *   'i' name NUL incarnation           -> last number u64, its event u64
 *   'w' name NUL incarnation number    -> event u64, body hash; the newest SOURCE_WINDOW numbers
 *
 * At most SOURCE_INCARNATIONS_MAX incarnations of a source and SOURCES_MAX sources are kept; the
 * one that was silent for longest goes. */

enum { SOURCE_INCARNATION_BYTES = 16, SOURCE_INCARNATIONS_MAX = 64 };

struct source_position {
    const char *name;
    const uint8_t *incarnation;
    uint64_t number;
    struct hash body_hash;
    /* A source of which nothing came after this event may jump ahead: the log was FORKED then, and
     * has lost what lies between. 0: none may. */
    uint64_t jump_until;
};

/* What makes two reports of a source the same: what was said, not what a daemon added on the way.
 */
struct hash sources_body(const struct event *event);

/* not_found: new, to be appended. OK: repeated, *event_id is what it became. data_loss: repeated
 * with another body. failed_precondition: not the number that is expected, or too old to compare.
 * The last two fill `problem`. `last` is the newest number, of rows or of this batch's earlier
 * events; pass what sources_last returned or what the batch has added. */
enum status sources_check(struct db_txn *txn, const struct source_position *position, uint64_t last,
                          uint64_t *event_id, struct problem *problem);

/* 0 for a source or incarnation that is not known. */
enum status sources_last(struct db_txn *txn, const struct source_position *position,
                         uint64_t *last);

/* The same, and the event with that number. */
enum status sources_last_event(struct db_txn *txn, const struct source_position *position,
                               uint64_t *last, uint64_t *event_id);

/* The newest event of a source in its other incarnations; 0 for none. */
enum status sources_newest_other(struct db_txn *txn, const struct source_position *position,
                                 uint64_t *event_id);

/* The newest event of other sources whose name is the same up to and with its first '/'; 0 for
 * none. */
enum status sources_newest_sibling(struct db_txn *txn, const char *name, uint64_t *event_id);

/* Records that this position became event `event_id`. */
enum status sources_put(struct db_txn *txn, const struct source_position *position,
                        uint64_t event_id);

#endif
