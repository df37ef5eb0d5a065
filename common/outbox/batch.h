#ifndef SOLO_COMMON_OUTBOX_BATCH_H
#define SOLO_COMMON_OUTBOX_BATCH_H

#include "common/api/api.h"
#include "common/base/buffer.h"
#include "common/db/db.h"

/* Rows of an outbox, read in a snapshot of its own, as the list of one event.append_batch. */

enum {
    OUTBOX_BATCH_MAX = 256, /* rows under way at once */
    OUTBOX_ROW_BYTES_MAX = FRAME_BYTES_SMALL / 4,
};

struct outbox_batch {
    struct buffer rows, list;
};

/* From position `first` on, which is there; `count` of them. data_loss: one is missing. */
enum status outbox_batch_read(struct outbox_batch *batch, struct db *db, unsigned table,
                              uint64_t first, size_t *count);
/* When it was sent: gives back what a large one took. */
void outbox_batch_forget(struct outbox_batch *batch);
void outbox_batch_close(struct outbox_batch *batch);

#endif
