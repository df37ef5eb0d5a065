/* The fold is done in slices, each in a snapshot of its own, so that a long check holds no pages of
 * a running eventd back. Events are never changed once written; only the last slice, which reaches
 * the end of the log, may be compared with `live`. */
#include "recoveryd/fold_check.h"

#include "common/api/records/log_fold.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "recoveryd/event_store.h"

enum { SLICE_EVENTS = 20000 };

struct check {
    struct log_fold fold;
    uint64_t first; /* event that was folded */
    struct findings *findings;
};

static void check_close(struct check *check)
{
    log_fold_close(&check->fold);
}

static bool is_same_row(const struct live_row *a, const struct live_row *b)
{
    return a->generation == b->generation && a->since == b->since && a->previous == b->previous &&
           hash_equal(&a->spec_hash, &b->spec_hash) &&
           hash_equal(&a->previous_spec_hash, &b->previous_spec_hash);
}

static enum status compare_row(void *context, const char *tenant, const char *name,
                               const struct live_row *row)
{
    struct check *check = context;
    char key[SERVICE_KEY_BYTES];
    struct folded *service = log_fold_find(&check->fold, service_key(key, tenant, name));
    struct finding finding = {
        .code = service == NULL ? FINDING_live_extra : FINDING_live_differs,
        .tenant = tenant,
        .name = name,
        .generation = service == NULL ? 0 : service->row.generation,
        .running_generation = row->generation,
        .event = service == NULL ? row->since : service->row.since,
    };
    if (service != NULL)
        service->is_seen = true;
    if (service != NULL && is_same_row(&service->row, row))
        return STATUS_OK;
    return findings_add(check->findings, &finding);
}

static enum status compare_live(struct check *check, struct db_txn *txn)
{
    TRY(live_each(txn, compare_row, check));
    for (struct folded *service = check->fold.services; service != NULL;
         service = service->hh.next) {
        char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
        if (service->is_seen)
            continue;
        TRY(service_key_split(service->key, tenant, name));
        struct finding finding = {
            .code = FINDING_live_missing,
            .tenant = tenant,
            .name = name,
            .generation = service->row.generation,
            .event = service->row.since,
        };
        TRY(findings_add(check->findings, &finding));
    }
    return STATUS_OK;
}

static enum status begin_at(struct check *check, struct db_txn *txn)
{
    enum status status = log_fold_open_at_cut(&check->fold, txn);
    check->first = check->fold.next;
    return status;
}

/* One slice, and the comparison when it reaches the end. */
static enum status step(struct check *check, struct event_store *store, bool *is_done)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t first, last;
    TRY(db_begin_read(&store->db, &txn));
    TRY(event_log_first(&txn, &first));
    if (check->fold.next < first) { /* what was to come next was archived meanwhile */
        log_fold_close(&check->fold);
        TRY(begin_at(check, &txn));
    }
    TRY(event_log_last(&txn, &last));
    TRY(log_fold_advance(&check->fold, &txn, last, SLICE_EVENTS));
    *is_done = check->fold.next > last;
    return *is_done ? compare_live(check, &txn) : STATUS_OK;
}

static enum status begin(struct check *check, struct event_store *store)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_read(&store->db, &txn));
    return begin_at(check, &txn);
}

static enum status fold_store(const struct settings *settings, struct findings *findings,
                              uint64_t *folded, uint64_t *next, bool *is_settled)
{
    AUTO(event_store_close) struct event_store store = { 0 };
    AUTO(check_close) struct check check = { .findings = findings };
    *is_settled = true;
    *folded = 0;
    *next = 1;
    enum status status = event_store_open(&store, settings->data_dir);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    status = begin(&check, &store);
    for (bool is_done = false; status == STATUS_OK && !is_done;)
        status = step(&check, &store, &is_done);
    TRY(event_store_is_settled(&store, is_settled));
    *folded = check.fold.next - check.first;
    *next = check.fold.next;
    return status;
}

enum status fold_check(const struct settings *settings, struct findings *findings, uint64_t *folded,
                       uint64_t *next)
{
    bool is_settled;
    enum status status = fold_store(settings, findings, folded, next, &is_settled);
    if (is_settled)
        return status;
    /* eventd began to write meanwhile; beside it the reading is guarded. */
    findings_close(findings);
    status = fold_store(settings, findings, folded, next, &is_settled);
    return is_settled ? status
                      : log_failure(STATUS_ABORTED, "fold the log", "reason",
                                    "the store kept changing while no writer held it");
}
