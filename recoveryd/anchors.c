/* As eventd will judge when it starts, so that a dry run says what the real run will find. */
#include "recoveryd/anchors.h"

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/outbox/log_witness.h"
#include "recoveryd/token_census.h"

static void add(struct anchors *anchors, const char *witness, const struct log_anchor *anchor)
{
    anchors->items[anchors->count].witness = witness;
    anchors->items[anchors->count].anchor = *anchor;
    anchors->count++;
}

static void read_file(const struct settings *settings, struct anchors *anchors)
{
    char path[4096];
    struct log_anchor anchor;
    uint64_t sequence;
    if (path_join(path, settings->data_dir, LOG_ANCHOR_FILE) == STATUS_OK &&
        log_anchor_file_read(path, &anchor, &sequence) == STATUS_OK)
        add(anchors, LOG_ANCHOR_FILE, &anchor);
}

static void read_tokens(const struct settings *settings, struct anchors *anchors)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    AUTO(db_end) struct db_txn txn = { 0 };
    bool is_without_trace, is_settled = true;
    struct span kept;
    struct log_anchor anchor;
    if (token_census_open(settings, &db, &is_without_trace) != STATUS_OK ||
        db_begin_read(&db, &txn) != STATUS_OK || log_witness_anchor(&txn, &kept) != STATUS_OK ||
        !log_anchor_unpack(kept, &anchor))
        return;
    if (is_without_trace && (db_is_stable(&db, &is_settled) != STATUS_OK || !is_settled))
        return;
    add(anchors, "tokend", &anchor);
}

void anchors_read(const struct settings *settings, struct anchors *anchors)
{
    *anchors = (struct anchors){ 0 };
    read_file(settings, anchors);
    read_tokens(settings, anchors);
}

enum status anchors_compare(const struct anchors *anchors, struct db_txn *txn, uint64_t last_id,
                            struct log_branch *branch)
{
    TRY(log_branch_read(txn, branch));
    for (size_t i = 0; i < anchors->count && !branch->is_forked; i++) {
        bool holds;
        TRY(log_branch_holds(txn, branch, &anchors->items[i].anchor, &holds));
        if (!holds)
            log_branch_fork(branch, anchors->items[i].witness, &anchors->items[i].anchor, last_id);
    }
    return STATUS_OK;
}
