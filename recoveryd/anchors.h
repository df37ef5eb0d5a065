#ifndef SOLO_RECOVERYD_ANCHORS_H
#define SOLO_RECOVERYD_ANCHORS_H

#include "common/api/records/log_branch.h"
#include "common/daemon/settings.h"

/* What others know of the log, read from where they keep it. vaultd's is not among them: nobody
 * else reads its store; eventd hears of it when both run. */
enum { ANCHORS_MAX = 2 };

struct anchors {
    struct {
        const char *witness;
        struct log_anchor anchor;
    } items[ANCHORS_MAX];
    size_t count;
};

/* Before the log is opened: a log that is read after them has at least what they name. What cannot
 * be read tells nothing. Leaves no trace. */
void anchors_read(const struct settings *settings, struct anchors *anchors);

/* The branch of the log, FORKED also when eventd has not noticed yet. */
enum status anchors_compare(const struct anchors *anchors, struct db_txn *txn, uint64_t last_id,
                            struct log_branch *branch);

#endif
