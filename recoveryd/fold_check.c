/* The fold is done in slices, each in a snapshot of its own, so that a long check holds no pages of
 * a running eventd back. Events are never changed once written; only the last slice, which reaches
 * the end of the log, may be compared with `live`. */
#include "recoveryd/fold_check.h"

#include <sched.h>
#include <signal.h>

#include "common/api/records/log_fold.h"
#include "common/base/auto.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/db/probe.h"
#include "common/db/store_child.h"
#include "common/db/walk.h"
#include "recoveryd/event_store.h"

/* A child costs what some thousand events do. */
enum { SLICE_EVENTS = 20000, ALONE_EVENTS_MAX = 10000 };

struct check {
    struct log_fold fold;
    uint64_t first; /* event that was folded */
    struct findings *findings;
};

/* What came of it. */
struct folding {
    struct findings findings;
    uint64_t folded, next;
    bool is_settled;
};

static void folding_close(struct folding *folding)
{
    findings_close(&folding->findings);
}

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

static enum status begin(struct check *check, struct event_store *store, uint64_t *last)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_read(&store->db, &txn));
    TRY(event_log_last(&txn, last));
    return begin_at(check, &txn);
}

static enum status fold(struct check *check, struct event_store *store)
{
    enum status status = STATUS_OK;
    for (bool is_done = false; status == STATUS_OK && !is_done;)
        status = step(check, store, &is_done);
    return status;
}

/* Half of the time goes into hashing. A child does it, in order, of the events that are there by
 * now: it opens the store later than we did. We look each up by its number and fold it meanwhile,
 * which counts when the child has found nothing. */
static enum status fold_beside_child(struct check *check, struct event_store *store, uint64_t last)
{
    pid_t pid;
    int result;
    TRY(db_walk_start(&events_schema, store->db.dir,
                      store->is_without_trace ? WALK_ROWS : WALK_ROWS_BESIDE_WRITER, &pid, NULL));
    check->fold.unproven_to = last;
    enum status status = fold(check, store);
    if (status != STATUS_OK)
        kill(pid, SIGKILL);
    enum status waited = store_child_wait(pid, store->db.dir, &result);
    if (status == STATUS_OK)
        status = waited;
    return status == STATUS_OK ? db_probe_judge(store->db.dir, result) : status;
}

static enum status fold_store(const struct settings *settings, bool has_child, struct folding *to)
{
    AUTO(event_store_close) struct event_store store = { 0 };
    AUTO(check_close) struct check check = { .findings = &to->findings };
    uint64_t last;
    *to = (struct folding){ .is_settled = true, .next = 1 };
    enum status status = event_store_open(&store, settings->data_dir);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    status = begin(&check, &store, &last);
    if (status == STATUS_OK)
        status = has_child && last > fault_number("fold", "alone", ALONE_EVENTS_MAX)
                     ? fold_beside_child(&check, &store, last)
                     : fold(&check, &store);
    TRY(event_store_is_settled(&store, &to->is_settled));
    to->folded = check.fold.next - check.first;
    to->next = check.fold.next;
    return status;
}

static bool has_processor_for_child(void)
{
    cpu_set_t ours;
    return sched_getaffinity(0, sizeof ours, &ours) != 0 || CPU_COUNT(&ours) > 1;
}

/* What a child has found wrong, whatever became of it, and what is found in records that nobody has
 * compared yet, is looked for by this process alone: it meets the first event that is damaged. */
enum status fold_check(const struct settings *settings, struct findings *findings, uint64_t *folded,
                       uint64_t *next)
{
    AUTO(folding_close) struct folding folding = { 0 };
    enum status status = fold_store(settings, has_processor_for_child(), &folding);
    if (status != STATUS_OK || !folding.is_settled) {
        /* Or eventd began to write meanwhile; beside it the reading is guarded. */
        folding_close(&folding);
        status = fold_store(settings, false, &folding);
    }
    *folded = folding.folded;
    *next = folding.next;
    if (!folding.is_settled)
        return log_failure(STATUS_ABORTED, "fold the log", "reason",
                           "the store kept changing while no writer held it");
    TRY(findings_add_all(findings, &folding.findings));
    return status;
}
