#ifndef SOLO_EVENTD_BRANCH_H
#define SOLO_EVENTD_BRANCH_H

#include "common/api/records/log_branch.h"

/* Whether the log is the one that others know. What they know it by, anchors, is handed out here;
 * eventd's own stands in DATA/events.anchor and is renewed after each commit, without a sync. */
struct branch {
    struct log_branch now;  /* within the turn */
    struct log_branch kept; /* as it is on disk */
    bool is_dirty;          /* `now` was written in this turn */
    int file;               /* -1: none could be had, which was logged */
    uint64_t sequence;      /* of the place that was written last ... */
    uint64_t told_id;       /* ... and the event that it names */
};

#define BRANCH_INIT                                                                                \
    {                                                                                              \
        .file = -1                                                                                 \
    }

/* Within the transaction that opens the store, which ends at `last_id`: reads the row, makes it
 * when there is none, and compares the log with the file. */
enum status branch_open(struct branch *branch, struct db_txn *txn, const char *data_dir,
                        uint64_t last_id);
void branch_close(struct branch *branch);

/* Within a turn: compares an anchor that `witness` was given once; a log that contradicts it is
 * FORKED from then on. */
enum status branch_compare(struct branch *branch, struct db_txn *txn, const char *witness,
                           const struct log_anchor *anchor, uint64_t last_id);
/* Within a turn: an operator keeps the log as it is. */
enum status branch_keep(struct branch *branch, struct db_txn *txn);

/* After the commit or the abort. */
void branch_turn_ended(struct branch *branch, bool was_committed, uint64_t last_id,
                       const struct hash *last_hash);

/* The anchor of this end of the log, or nothing while it is FORKED. */
struct span branch_anchor(const struct branch *branch, uint64_t last_id,
                          const struct hash *last_hash, uint8_t bytes[LOG_ANCHOR_BYTES]);

#endif
