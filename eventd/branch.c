/* While the log is FORKED nobody gets a new anchor, so that those who know better go on to say so,
 * also after a restart; the row in the store says so to readers. */
#include "eventd/branch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/log.h"

static const uint8_t no_branch[16];

static enum status put(struct branch *branch, struct db_txn *txn)
{
    branch->is_dirty = true;
    return log_branch_write(txn, &branch->now);
}

static void open_file(struct branch *branch, const char *path)
{
    branch->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (branch->file < 0 || fchmod(branch->file, 0640) < 0)
        log_failure(status_from_errno(errno), "open the log's anchor", "path", path, "reason",
                    strerror(errno));
}

enum status branch_open(struct branch *branch, struct db_txn *txn, const char *data_dir,
                        uint64_t last_id)
{
    char path[4096];
    struct log_anchor anchor;
    TRY(path_join(path, data_dir, LOG_ANCHOR_FILE));
    /* Logged there. One that cannot be read is no witness; there are others. */
    (void)log_anchor_file_read(path, &anchor, &branch->sequence);
    open_file(branch, path);
    TRY(log_branch_read(txn, &branch->now));
    if (memcmp(branch->now.id, no_branch, sizeof no_branch) == 0) {
        random_fill(branch->now.id, sizeof branch->now.id);
        TRY(put(branch, txn));
    }
    return branch_compare(branch, txn, LOG_ANCHOR_FILE, &anchor, last_id);
}

void branch_close(struct branch *branch)
{
    fd_close(&branch->file);
}

enum status branch_compare(struct branch *branch, struct db_txn *txn, const char *witness,
                           const struct log_anchor *anchor, uint64_t last_id)
{
    bool holds;
    TRY(log_branch_holds(txn, &branch->now, anchor, &holds));
    if (holds || branch->now.is_forked)
        return STATUS_OK;
    log_error("the log is FORKED: it does not have an event that it had", "witness", witness,
              "event", NUMBER(anchor->id), "last_event", NUMBER(last_id));
    log_branch_fork(&branch->now, witness, anchor, last_id);
    return put(branch, txn);
}

enum status branch_keep(struct branch *branch, struct db_txn *txn)
{
    log_branch_keep(&branch->now);
    return put(branch, txn);
}

static void write_file(struct branch *branch, const struct log_anchor *anchor)
{
    enum status status = log_anchor_file_write(branch->file, anchor, ++branch->sequence);
    if (status == STATUS_OK)
        return;
    log_failure(status, "write the log's anchor");
    fd_close(&branch->file);
}

void branch_turn_ended(struct branch *branch, bool was_committed, uint64_t last_id,
                       const struct hash *last_hash)
{
    bool is_new = was_committed && (branch->is_dirty || last_id != branch->told_id);
    if (!was_committed)
        branch->now = branch->kept;
    else if (branch->is_dirty)
        branch->kept = branch->now;
    branch->is_dirty = false;
    if (!is_new || branch->now.is_forked || last_id == 0 || branch->file < 0)
        return;
    branch->told_id = last_id;
    struct log_anchor anchor = { .id = last_id, .hash = *last_hash };
    memcpy(anchor.branch, branch->now.id, sizeof anchor.branch);
    write_file(branch, &anchor);
}

struct span branch_anchor(const struct branch *branch, uint64_t last_id,
                          const struct hash *last_hash, uint8_t bytes[LOG_ANCHOR_BYTES])
{
    if (branch->now.is_forked || last_id == 0)
        return (struct span){ 0 };
    struct log_anchor anchor = { .id = last_id, .hash = *last_hash };
    memcpy(anchor.branch, branch->now.id, sizeof anchor.branch);
    log_anchor_pack(&anchor, bytes);
    return span_of(bytes, LOG_ANCHOR_BYTES);
}
