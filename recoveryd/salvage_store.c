/* Each event is checked once more as it is copied: its hash, its place, its link. What is wanted is
 * folded from what was written. */
#include "recoveryd/salvage_store.h"

#include <stdlib.h>
#include <string.h>

#include "common/api/records/log_salvage.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/db/create.h"

enum { TURN_BYTES = 16 * 1024 * 1024 };

struct making {
    struct record_scan *scan;
    uint64_t known_last;
    const struct log_branch *branch;
    struct salvage_losses *losses;
    struct hash previous;
    struct log_salvage told; /* of an earlier one, by the events so far */
    struct buffer told_marks;
    struct salvage_earlier reported;
    struct arena arena;
};

static void making_close(struct making *making)
{
    buffer_close(&making->told_marks);
    salvage_earlier_close(&making->reported);
    arena_close(&making->arena);
}

/* --- events --- */

static enum status put_event(struct making *making, struct db_txn *txn, size_t at, size_t *bytes)
{
    struct record_scan *scan = making->scan;
    struct table_number number = table_number(at + 1);
    struct span record;
    struct event event;
    TRY(record_scan_read(scan, &scan->records[scan->chain[at]], &record));
    arena_reset(&making->arena);
    TRY(event_decode(record, &making->arena, &event));
    if (event.id != at + 1 || !hash_equal(&event.previous_hash, &making->previous))
        return log_failure(STATUS_INTERNAL, "salvage", "event", NUMBER(at + 1), "reason",
                           "it is not the one that was linked");
    making->previous = event.hash;
    if (event_type_parse(event.type) == EVENT_log_opened)
        log_salvage_was_told(event.payload, &making->told, &making->told_marks);
    *bytes += record.size;
    return table_append(txn, EVENTS_EVENTS, table_number_key(&number), record);
}

static enum status put_events(struct making *making, struct db *db)
{
    for (size_t at = 0; at < making->scan->chain_count;) {
        AUTO(db_end) struct db_txn txn = { 0 };
        TRY(db_begin_write(db, &txn));
        for (size_t bytes = 0; at < making->scan->chain_count && bytes < TURN_BYTES; at++)
            TRY(put_event(making, &txn, at, &bytes));
        TRY(db_commit(&txn));
    }
    return STATUS_OK;
}

/* --- what follows from them --- */

static void free_marks(uint8_t **marks)
{
    free(*marks);
}

static enum status put_review(const struct salvage_losses *losses, const struct record_scan *scan,
                              struct db_txn *txn)
{
    AUTO(free_marks) uint8_t *marks = calloc(losses->review_count + 1, LOG_REVIEWED_BYTES);
    struct log_salvage salvage = {
        .until = losses->until,
        .is_fresh = true,
        .needs_person = salvage_losses_need_a_person(losses) || record_scan_is_contradicted(scan),
        .has_all = losses->review_count > LOG_REVIEWED_MAX,
        .listed = marks,
    };
    if (marks == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "salvage", "reason", "no memory");
    for (size_t i = 0; i < losses->service_count && !salvage.has_all; i++) {
        char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
        if (!losses->services[i].is_needed)
            continue;
        TRY(service_key_split(losses->services[i].key, tenant, name));
        log_salvage_mark(tenant, name, marks + LOG_REVIEWED_BYTES * salvage.listed_count++);
    }
    qsort(marks, salvage.listed_count, LOG_REVIEWED_BYTES, log_salvage_compare);
    return log_salvage_write(txn, &salvage);
}

static enum status fold(struct db *db, struct log_fold *fold, uint64_t last)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_read(db, &txn));
    TRY(log_fold_advance(fold, &txn, last, UINT64_MAX));
    log_fold_sort(fold);
    return STATUS_OK;
}

static enum status put_rest(struct making *making, struct db *db, const struct log_fold *folded)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_write(db, &txn));
    TRY(log_fold_write(folded, &txn));
    struct log_branch branch = *making->branch;
    branch.noted_id = making->losses->until;
    TRY(log_branch_write(&txn, &branch));
    TRY(put_review(making->losses, making->scan, &txn));
    return db_commit(&txn);
}

static enum status fill(struct db *db, void *context)
{
    struct making *making = context;
    AUTO(log_fold_close) struct log_fold folded = { 0 };
    TRY(put_events(making, db));
    log_fold_open(&folded);
    TRY(fold(db, &folded, making->scan->chain_count));
    TRY(salvage_losses_find(making->losses, making->scan, making->known_last, &making->told,
                            &making->reported, &folded));
    return put_rest(making, db, &folded);
}

enum status salvage_store_make(const char *dir, const char *data_dir, struct record_scan *scan,
                               uint64_t known_last, const struct log_branch *branch,
                               struct salvage_losses *losses)
{
    AUTO(making_close)
    struct making making = {
        .scan = scan,
        .known_last = known_last,
        .branch = branch,
        .losses = losses,
        .told_marks = { .limit = (size_t)LOG_REVIEWED_MAX * LOG_REVIEWED_BYTES },
        .arena = { .limit = EVENT_TEXTS_BYTES_MAX },
    };
    salvage_earlier_read(&making.reported, data_dir);
    return store_create_filled(&events_schema, dir, scan->log_id, fill, &making);
}
