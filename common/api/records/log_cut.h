#ifndef SOLO_COMMON_API_RECORDS_LOG_CUT_H
#define SOLO_COMMON_API_RECORDS_LOG_CUT_H

#include "common/base/buffer.h"
#include "common/db/db.h"

/* Where a log begins whose older events were archived: a row of its `meta`, written in the
 * transaction from which on they count as gone, whether their records lie there still or not. The
 * chain goes on from the hash that stands here, the fold from the state that is kept beside it
 * (log_state.h). Of the records up to the cut those that the state names stay where they are, so
 * that what is wanted can be started and proven; nobody meets them on a walk. */
struct log_cut {
    uint64_t id;       /* the last event that went; 0: none ever did */
    struct hash hash;  /* of that event */
    uint64_t wall_ns;  /* of that event */
    struct hash state; /* digest of the state up to it */
    uint64_t state_bytes;
};

enum { LOG_STATE_BYTES_MAX = 16 * 1024 * 1024, LOG_STATE_PART_BYTES = 64 * 1024 };

/* Of the open transaction of an event store. A log that is whole gives a zeroed one. */
enum status log_cut_read(struct db_txn *txn, struct log_cut *cut);
/* Its state was put before. What is kept of the cut before this one goes. */
enum status log_cut_write(struct db_txn *txn, const struct log_cut *cut);
/* The same for those who ask at each record: read once in a transaction. */
enum status log_cut_id(struct db_txn *txn, uint64_t *id);

/* The state at a cut, in parts of LOG_STATE_PART_BYTES (the last may be shorter), so that it can be
 * written before the cut is, a little at a time. */
enum status log_cut_begin_state(struct db_txn *txn, uint64_t id, uint64_t bytes);
enum status log_cut_put_part(struct db_txn *txn, uint64_t id, unsigned part, struct span bytes);
/* Removes what was begun and not cut at. */
enum status log_cut_drop_begun(struct db_txn *txn);
/* All of it. data_loss: a part is missing, or it is not the one that the cut names. */
enum status log_cut_read_state(struct db_txn *txn, const struct log_cut *cut, struct buffer *state);

/* The signed statement about this cut (log_checkpoint.h), as its file says it. not_found (not
 * logged): none. */
enum status log_cut_read_checkpoint(struct db_txn *txn, struct span *text);
enum status log_cut_write_checkpoint(struct db_txn *txn, struct span text);

#endif
