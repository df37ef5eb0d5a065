#ifndef SOLO_COMMON_API_RECORDS_LOG_BRANCH_H
#define SOLO_COMMON_API_RECORDS_LOG_BRANCH_H

#include "common/api/records/log_anchor.h"
#include "common/db/db.h"

/* Which history a log tells: a row of its `meta`. A log whose past somebody knows otherwise (an
 * anchor names an event that it does not have) is FORKED: what is wanted by it may be of yesterday.
 * It stays so until an operator keeps it, which begins a new branch and gives the other one up; or
 * puts the right store back, whose row never said so. */

enum { LOG_BRANCHES_MAX = 64, LOG_WITNESS_BYTES = 24, LOG_FORK_TEXT_BYTES = 256 };

struct log_branch {
    uint8_t id[16]; /* random; all zero in a log that nobody has opened for writing yet */
    bool is_forked;
    /* The last event at the moment when the newest fork was noted, 0: never. Sources that it has
     * heard nothing of since may have numbered on in what was lost. */
    uint64_t noted_id;
    char witness[LOG_WITNESS_BYTES]; /* whose anchor that was */
    struct log_anchor anchor;
    unsigned given_up_count;
    uint8_t given_up[LOG_BRANCHES_MAX][16]; /* the oldest goes */
};

/* Of the open transaction of an event store. One without a row gives a zeroed branch. */
enum status log_branch_read(struct db_txn *txn, struct log_branch *branch);
enum status log_branch_write(struct db_txn *txn, const struct log_branch *branch);

/* Whether the log has what the anchor names, or the anchor is of a branch that was given up. */
enum status log_branch_holds(struct db_txn *txn, const struct log_branch *branch,
                             const struct log_anchor *anchor, bool *holds);

/* Pure. */
void log_branch_fork(struct log_branch *branch, const char *witness,
                     const struct log_anchor *anchor, uint64_t last_id);
/* Pure. The log is kept as it is: a new branch. */
void log_branch_keep(struct log_branch *branch);

/* What is known, for people: who names which event. */
const char *log_branch_text(const struct log_branch *branch, char text[LOG_FORK_TEXT_BYTES]);

#endif
