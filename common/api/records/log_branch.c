/* The row is fixed places, then the branches that were given up, oldest first. */
#include "common/api/records/log_branch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/api/records/event_log.h"
#include "common/api/records/log_cut.h"
#include "common/base/auto.h"
#include "common/base/log.h"

static const char row_key[] = "log.branch";
enum {
    AT_ID = 0,
    AT_FORKED = 16,
    AT_NOTED = 17,
    AT_WITNESS = 25,
    AT_ANCHOR = AT_WITNESS + LOG_WITNESS_BYTES,
    AT_GIVEN_UP = AT_ANCHOR + LOG_ANCHOR_BYTES,
    ROW_BYTES_MAX = AT_GIVEN_UP + 16 * LOG_BRANCHES_MAX,
};

enum status log_branch_read(struct db_txn *txn, struct log_branch *branch)
{
    struct span row;
    *branch = (struct log_branch){ 0 };
    enum status status = db_meta_get(txn, row_key, &row);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    if (row.size < AT_GIVEN_UP || row.size > ROW_BYTES_MAX || (row.size - AT_GIVEN_UP) % 16 != 0)
        return log_failure(STATUS_DATA_LOSS, "read the log's branch", "dir", txn->db->dir, "reason",
                           "not the form of its row in meta");
    memcpy(branch->id, row.data + AT_ID, 16);
    branch->is_forked = row.data[AT_FORKED] != 0;
    branch->noted_id = table_number_value(span_of(row.data + AT_NOTED, 8));
    memcpy(branch->witness, row.data + AT_WITNESS, LOG_WITNESS_BYTES - 1);
    log_anchor_unpack(span_of(row.data + AT_ANCHOR, LOG_ANCHOR_BYTES), &branch->anchor);
    branch->given_up_count = (unsigned)((row.size - AT_GIVEN_UP) / 16);
    memcpy(branch->given_up, row.data + AT_GIVEN_UP, row.size - AT_GIVEN_UP);
    return STATUS_OK;
}

enum status log_branch_write(struct db_txn *txn, const struct log_branch *branch)
{
    uint8_t row[ROW_BYTES_MAX] = { 0 };
    struct table_number noted = table_number(branch->noted_id);
    size_t given_up_bytes = 16 * (size_t)branch->given_up_count;
    memcpy(row + AT_ID, branch->id, 16);
    row[AT_FORKED] = branch->is_forked;
    memcpy(row + AT_NOTED, noted.bytes, 8);
    memcpy(row + AT_WITNESS, branch->witness, LOG_WITNESS_BYTES);
    log_anchor_pack(&branch->anchor, row + AT_ANCHOR);
    memcpy(row + AT_GIVEN_UP, branch->given_up, given_up_bytes);
    return db_meta_put(txn, row_key, span_of(row, AT_GIVEN_UP + given_up_bytes));
}

static bool is_given_up(const struct log_branch *branch, const uint8_t id[16])
{
    for (unsigned i = 0; i < branch->given_up_count; i++)
        if (memcmp(branch->given_up[i], id, 16) == 0)
            return true;
    return false;
}

/* *is_there when the log has exactly this event, or begins after it. */
static enum status has_event(struct db_txn *txn, const struct log_anchor *anchor, bool *is_there)
{
    struct table_number number = table_number(anchor->id);
    struct log_cut cut;
    struct span record;
    struct event event;
    TRY(log_cut_read(txn, &cut));
    *is_there =
        anchor->id < cut.id || (anchor->id == cut.id && hash_equal(&anchor->hash, &cut.hash));
    if (anchor->id <= cut.id)
        return STATUS_OK;
    enum status status = table_get(txn, EVENTS_EVENTS, table_number_key(&number), &record);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    TRY(event_decode_header(record, &event));
    *is_there = event.id == anchor->id && hash_equal(&event.hash, &anchor->hash);
    return STATUS_OK;
}

enum status log_branch_holds(struct db_txn *txn, const struct log_branch *branch,
                             const struct log_anchor *anchor, bool *holds)
{
    *holds = anchor->id == 0 || is_given_up(branch, anchor->branch);
    return *holds ? STATUS_OK : has_event(txn, anchor, holds);
}

void log_branch_fork(struct log_branch *branch, const char *witness,
                     const struct log_anchor *anchor, uint64_t last_id)
{
    branch->is_forked = true;
    branch->noted_id = last_id == 0 ? 1 : last_id; /* event 1 is of no source that numbers */
    memset(branch->witness, 0, sizeof branch->witness);
    snprintf(branch->witness, sizeof branch->witness, "%s", witness);
    branch->anchor = *anchor;
}

static void give_up(struct log_branch *branch, const uint8_t id[16])
{
    if (is_given_up(branch, id))
        return;
    if (branch->given_up_count == LOG_BRANCHES_MAX) {
        memmove(branch->given_up[0], branch->given_up[1],
                sizeof branch->given_up[0] * (LOG_BRANCHES_MAX - 1));
        branch->given_up_count--;
    }
    memcpy(branch->given_up[branch->given_up_count++], id, 16);
}

void log_branch_keep(struct log_branch *branch)
{
    give_up(branch, branch->id);
    if (branch->is_forked)
        give_up(branch, branch->anchor.branch);
    random_fill(branch->id, sizeof branch->id);
    branch->is_forked = false;
}

const char *log_branch_text(const struct log_branch *branch, char text[LOG_FORK_TEXT_BYTES])
{
    snprintf(text, LOG_FORK_TEXT_BYTES,
             "%s knows event %" PRIu64 ", which this log, at event %" PRIu64
             " then, does not have: an older copy of DATA/events was put back, or its end is lost",
             branch->witness, branch->anchor.id, branch->noted_id);
    return text;
}
