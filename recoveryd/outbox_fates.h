#ifndef SOLO_RECOVERYD_OUTBOX_FATES_H
#define SOLO_RECOVERYD_OUTBOX_FATES_H

#include "common/base/uuid.h"
#include "common/db/db.h"

enum token_fate { NEVER_GRANTED, LIVES, GONE };

/* By the type of the last event about a token. */
enum token_fate token_fate_of(const char *type);

/* What the events that wait in tokend's outbox say of tokens: read at once, because there may be
 * OUTBOX_ROWS_MAX of them, and a token for each. */
struct outbox_fates {
    struct outbox_fate {
        struct uuid accessor;
        enum token_fate fate;
        uint64_t position;
    } * items; /* sorted by accessor, one each */
    size_t count, capacity;
};

/* In the place of what was read before. */
enum status outbox_fates_read(struct db_txn *txn, struct outbox_fates *fates);
/* Unchanged when nothing waits that is about this token. */
void outbox_fates_apply(const struct outbox_fates *fates, const struct uuid *accessor,
                        enum token_fate *fate);
void outbox_fates_close(struct outbox_fates *fates);

#endif
