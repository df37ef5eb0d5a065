#ifndef SOLO_COMMON_OUTBOX_STANDING_H
#define SOLO_COMMON_OUTBOX_STANDING_H

#include "common/db/db.h"

/* What the row "outbox" in the owner's meta says of its outbox. Other readers of the store look at
 * it, too. */
struct outbox_standing {
    uint64_t next_position;
    uint8_t incarnation[16];
    uint64_t next_number; /* of that incarnation */
    uint64_t known_id;    /* the newest event of which the owner knew that the log has it */
};

/* STATUS_NOT_FOUND: nothing was ever put; STATUS_DATA_LOSS, logged: the row has another form. */
enum status outbox_standing_read(struct db_txn *txn, struct outbox_standing *standing);
enum status outbox_standing_write(struct db_txn *txn, const struct outbox_standing *standing);

#endif
