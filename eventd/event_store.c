/* The log's one writer. The normal path: open, raise the epoch, compare the projections with their
 * digests; then turns. A failed turn leaves the store as it was, and what was remembered in memory
 * is read again at the next one. */
#include "eventd/event_store.h"

#include <inttypes.h>
#include <string.h>

#include "common/api/records/event_log.h"
#include "common/api/records/log_salvage.h"
#include "common/api/records/run_end.h"
#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/fault.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/daemon/parent.h"
#include "common/db/table.h"
#include "common/wire/writer.h"
#include "eventd/projection.h"
#include "eventd/salvaged.h"

enum { PRUNED_AT_ONCE = 4096 };
static const char epoch_key[] = "epoch";

static uint64_t wall_ms(void)
{
    return clock_wall_ns() / 1000000;
}

/* --- turns --- */

/* Numbers and the chain go on from what this transaction sees, never from memory. */
static enum status read_end(struct event_store *store)
{
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    TRY(table_cursor_open(&store->txn, EVENTS_EVENTS, &cursor));
    struct span key, record;
    enum status status = table_cursor_last(&cursor, &key, &record);
    if (status == STATUS_NOT_FOUND) {
        store->last_id = 0;
        memset(&store->last_hash, 0, sizeof store->last_hash);
        return STATUS_OK;
    }
    TRY(status);
    struct event event;
    TRY(db_note(&store->db, event_decode_header(record, &event)));
    if (event.id == 0 || event.id != table_number_value(key))
        return db_note(&store->db,
                       log_failure(STATUS_DATA_LOSS, "read the end of the log", "event",
                                   NUMBER(event.id), "reason", "it lies at another number"));
    store->last_id = event.id;
    store->last_hash = event.hash;
    return STATUS_OK;
}

/* Whether it is still the file, and the log, that we have left. unavailable: it is not, and nothing
 * is written any more. The next eventd opens what lies there then, and compares it with what others
 * have seen of the log. */
static enum status check_in_place(struct event_store *store, uint64_t last_id)
{
    bool is_same = db_check_same_file(&store->db) == STATUS_OK;
    if (is_same && last_id == store->committed_id)
        return STATUS_OK;
    log_failure(STATUS_UNAVAILABLE, "use the log", "dir", store->db.dir, "reason",
                is_same ? "it was written over under us" : "another one was put in its place");
    db_fail_replaced(&store->db);
    return STATUS_UNAVAILABLE;
}

static enum status look_in_place(struct event_store *store)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t last_id;
    TRY(db_begin_read(&store->db, &txn));
    TRY(event_log_last(&txn, &last_id));
    return check_in_place(store, last_id);
}

enum status event_store_begin(struct event_store *store)
{
    ensure(!store->in_turn);
    TRY(db_begin_write(&store->db, &store->txn));
    enum status status = read_end(store);
    if (status == STATUS_OK)
        status = check_in_place(store, store->last_id);
    if (status == STATUS_OK)
        status = late_rows_begin(&store->late, &store->txn, store->last_id);
    if (status != STATUS_OK) {
        db_end(&store->txn);
        store->last_id = store->committed_id;
        return status;
    }
    store->in_turn = true;
    return STATUS_OK;
}

void event_store_abort(struct event_store *store)
{
    db_end(&store->txn);
    late_rows_forget(&store->late);
    store->last_id = store->committed_id;
    branch_turn_ended(&store->branch, false, store->last_id, &store->last_hash);
    store->in_turn = false;
}

enum status event_store_commit(struct event_store *store)
{
    ensure(store->in_turn);
    uint64_t count = store->last_id - store->committed_id;
    enum status status = store->txn.status;
    if (status == STATUS_OK)
        status = late_rows_end(&store->late, &store->txn, store->last_id);
    fault_point("eventd.before_commit");
    if (status == STATUS_OK)
        status = db_commit(&store->txn);
    if (status != STATUS_OK) {
        event_store_abort(store);
        return status;
    }
    fault_point("eventd.after_commit");
    store->in_turn = false;
    store->committed_id = store->last_id;
    late_rows_committed(&store->late, store->last_id);
    branch_turn_ended(&store->branch, true, store->last_id, &store->last_hash);
    store->appended += count;
    store->commits++;
    if (count > store->batch_max)
        store->batch_max = count;
    return STATUS_OK;
}

/* --- appending --- */

static enum status append(struct event_store *store, enum event_type type, struct event *event)
{
    memcpy(event->log_id, store->db.identity.id, sizeof event->log_id);
    event->epoch = store->epoch;
    event->id = store->last_id + 1;
    event->wall_ns = clock_wall_ns();
    event->boottime_ns = clock_boottime_ns();
    event->previous_hash = store->last_hash;
    TRY(late_rows_add_event(&store->late, &store->txn, event));
    enum status status = event_encode(event, &store->record);
    if (status != STATUS_OK)
        return log_failure(status, "pack event", "type", event->type, "reason",
                           "the record is too large");
    struct table_number number = table_number(event->id);
    TRY(table_append(&store->txn, EVENTS_EVENTS, table_number_key(&number),
                     buffer_span(&store->record)));
    TRY(projection_apply(&store->txn, type, event));
    store->last_id = event->id;
    store->last_hash = event->hash;
    return STATUS_OK;
}

enum status event_store_append(struct event_store *store, enum event_type type, struct event *event)
{
    ensure(store->in_turn);
    if (store->txn.status != STATUS_OK)
        return store->txn.status;
    enum status status = append(store, type, event);
    if (status != STATUS_OK)
        event_store_spoil(store, status);
    return status;
}

void event_store_spoil(struct event_store *store, enum status status)
{
    if (store->txn.status == STATUS_OK)
        store->txn.status = status;
}

enum status event_store_put_request(struct event_store *store, const struct uuid *id,
                                    const struct request_outcome *outcome, bool is_recorded)
{
    return late_rows_add_request(&store->late, &store->txn, id, outcome, is_recorded);
}

/* Within the turn: one of eventd's own. */
static enum status append_own(struct event_store *store, enum event_type type, struct span payload)
{
    struct event event = {
        .type = event_type_name(type),
        .tenant = "",
        .subject = "system",
        .source = "",
        .payload = payload,
    };
    return event_store_append(store, type, &event);
}

enum status event_store_append_alone(struct event_store *store, enum event_type type,
                                     struct span payload)
{
    TRY(event_store_begin(store));
    enum status status = append_own(store, type, payload);
    if (status == STATUS_OK)
        return event_store_commit(store);
    event_store_abort(store);
    return status;
}

/* --- opening --- */

static enum status raise_epoch(struct event_store *store, const char *data_dir)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_write(&store->db, &txn));
    struct span value;
    enum status status = db_meta_get(&txn, epoch_key, &value);
    if (status != STATUS_NOT_FOUND)
        TRY(status);
    store->epoch = (status == STATUS_OK ? table_number_value(value) : 0) + 1;
    TRY(event_log_last(&txn, &store->committed_id));
    store->last_id = store->committed_id;
    TRY(salvaged_settle(&txn, store->last_id, &store->epoch));
    struct table_number epoch = table_number(store->epoch);
    TRY(db_meta_put(&txn, epoch_key, table_number_key(&epoch)));
    TRY(branch_open(&store->branch, &txn, data_dir, store->last_id));
    enum status committed = db_commit(&txn);
    store->branch.kept = store->branch.now;
    store->branch.is_dirty = false;
    return committed;
}

static enum status projections_are_true(struct event_store *store)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_read(&store->db, &txn));
    TRY(table_verify(&txn, EVENTS_LIVE));
    return table_verify(&txn, EVENTS_TENANTS);
}

/* Whoever waits for a long fold, and would end it, sees that it goes on. */
static void tell_folded(uint64_t done, uint64_t total)
{
    parent_progress("folding the log anew: %" PRIu64 "/%" PRIu64 " events", done, total);
}

static enum status verify_chain(struct db_txn *txn)
{
    uint64_t last, first, checked = PROGRESS_EVENTS;
    TRY(event_log_first(txn, &first));
    TRY(event_log_last(txn, &last));
    for (; checked == PROGRESS_EVENTS; first += checked) {
        TRY(event_log_verify(txn, first, PROGRESS_EVENTS, &checked));
        parent_progress("checking the chain: %" PRIu64 "/%" PRIu64 " events", first + checked - 1,
                        last);
    }
    return STATUS_OK;
}

static enum status rebuild(struct event_store *store, uint64_t *events)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_write(&store->db, &txn));
    TRY(verify_chain(&txn));
    TRY(projection_rebuild(&txn, tell_folded, events));
    return db_commit(&txn);
}

static void describe_fold(const char *what, uint64_t events, struct buffer *payload)
{
    write_map(payload, 2);
    write_str(payload, "what");
    write_str(payload, what);
    write_str(payload, "events");
    write_u64(payload, events);
}

/* Only what can be derived is wrong: the chain decides, and the log remembers that it had to. */
static enum status repair_projections(struct event_store *store)
{
    uint64_t events;
    log_warning("what is wanted does not match its digest, folding the log anew", "dir",
                store->db.dir);
    TRY(rebuild(store, &events));
    store->db.has_met_damage = false; /* that was it: every event was read */
    AUTO(buffer_close) struct buffer payload = { .limit = 256 };
    describe_fold("live or tenants did not match their digest; folded anew", events, &payload);
    return event_store_append_alone(store, EVENT_log_opened, buffer_span(&payload));
}

static enum status heads_are_true(struct event_store *store)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_read(&store->db, &txn));
    return late_rows_prove_heads(&store->late, &txn);
}

static enum status make_heads(struct event_store *store)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_write(&store->db, &txn));
    TRY(late_rows_make_heads(&store->late, &txn));
    return db_commit(&txn);
}

static enum status repair_heads(struct event_store *store)
{
    AUTO(buffer_close) struct buffer payload = { .limit = 256 };
    log_warning("the heads do not match their digest, they are made anew", "dir", store->db.dir);
    TRY(make_heads(store));
    store->db.has_met_damage = false; /* every event was read */
    describe_fold("heads did not match their digest; made anew", store->committed_id, &payload);
    return event_store_append_alone(store, EVENT_log_opened, buffer_span(&payload));
}

static enum status compare_heads(struct event_store *store)
{
    enum status status = heads_are_true(store);
    if (status == STATUS_DATA_LOSS)
        status = repair_heads(store);
    if (status != STATUS_DATA_LOSS || store->db.is_failed)
        return status;
    /* A page of theirs cannot be cleared away either: what needs it is refused, the rest goes on.
     */
    late_rows_forget(&store->late);
    store->late.heads_state = HEADS_BEYOND_REPAIR;
    return db_note(&store->db, status) == STATUS_DATA_LOSS ? STATUS_OK : status;
}

enum status event_store_fold(struct event_store *store, uint64_t *events)
{
    AUTO(buffer_close) struct buffer payload = { .limit = 256 };
    ensure(store->in_turn);
    TRY(verify_chain(&store->txn));
    enum status status = projection_rebuild(&store->txn, tell_folded, events);
    if (status != STATUS_OK) {
        event_store_spoil(store, status);
        return status;
    }
    store->db.has_met_damage = false; /* what else there is will be met again */
    describe_fold("live and tenants were folded anew, as an operator asked", *events, &payload);
    return append_own(store, EVENT_log_opened, buffer_span(&payload));
}

enum status event_store_keep(struct event_store *store)
{
    AUTO(buffer_close) struct buffer payload = { .limit = 2 * LOG_FORK_TEXT_BYTES };
    char text[LOG_FORK_TEXT_BYTES];
    ensure(store->in_turn);
    write_map(&payload, 3);
    write_str(&payload, "what");
    write_str(&payload, "the log was kept as it is, as an operator asked");
    write_str(&payload, "fork");
    write_str(&payload, log_branch_text(&store->branch.now, text));
    write_str(&payload, "events");
    write_u64(&payload, store->last_id);
    enum status status = branch_keep(&store->branch, &store->txn);
    if (status == STATUS_OK)
        return append_own(store, EVENT_log_opened, buffer_span(&payload));
    event_store_spoil(store, status);
    return status;
}

/* So that the first questions find the heads in memory. Without space that waits for a turn that
 * can be committed. */
static enum status load_late_rows(struct event_store *store)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_write(&store->db, &txn));
    TRY(late_rows_begin(&store->late, &txn, store->committed_id));
    enum status status = db_commit(&txn);
    if (status == STATUS_OK)
        late_rows_committed(&store->late, store->committed_id);
    else
        late_rows_forget(&store->late);
    return status == STATUS_RESOURCE_EXHAUSTED ? STATUS_OK : status;
}

/* With its event, so that whoever kills us in between is told of it by the next one. */
static enum status append_salvaged(struct event_store *store, struct log_salvage *salvage)
{
    AUTO(buffer_close) struct buffer payload = { .limit = EVENT_RECORD_BYTES_MAX };
    AUTO(buffer_close) struct buffer listed = { .limit = DB_VALUE_BYTES_MAX };
    TRY(log_salvage_tell(&store->txn, salvage, store->last_id, &payload));
    /* The row lies in the map, where what is put may move it. */
    buffer_append(&listed, salvage->listed, salvage->listed_count * LOG_REVIEWED_BYTES);
    salvage->listed = listed.data;
    salvage->is_told = true;
    TRY(append_own(store, EVENT_log_opened, buffer_span(&payload)));
    return log_salvage_write(&store->txn, salvage);
}

static enum status find_untold(struct event_store *store, bool *is_due)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct log_salvage salvage;
    TRY(db_begin_read(&store->db, &txn));
    TRY(log_salvage_read(&txn, &salvage));
    *is_due = salvage.until > 0 && !salvage.is_told;
    return STATUS_OK;
}

/* Without space the next start tells it. */
static enum status tell_salvaged(struct event_store *store)
{
    struct log_salvage salvage;
    bool is_due;
    TRY(find_untold(store, &is_due));
    if (!is_due)
        return STATUS_OK;
    TRY(event_store_begin(store));
    enum status status = log_salvage_read(&store->txn, &salvage);
    if (status == STATUS_OK)
        status = append_salvaged(store, &salvage);
    if (status == STATUS_OK)
        status = event_store_commit(store);
    else
        event_store_abort(store);
    return status == STATUS_RESOURCE_EXHAUSTED ? STATUS_OK : status;
}

static enum status open_store(struct event_store *store, const char *data_dir)
{
    char dir[4096];
    TRY(path_join(dir, data_dir, "events"));
    TRY(db_open_writer(&store->db, &events_schema, dir));
    TRY(late_rows_init(&store->late));
    TRY(raise_epoch(store, data_dir));
    TRY(compare_heads(store)); /* a repair appends, too */
    enum status status = projections_are_true(store);
    if (status == STATUS_DATA_LOSS)
        status = repair_projections(store);
    if (status == STATUS_OK)
        status = tell_salvaged(store);
    return status == STATUS_OK ? load_late_rows(store) : status;
}

static enum status prune_requests(struct event_store *store)
{
    bool are_due;
    {
        AUTO(db_end) struct db_txn txn = { 0 };
        TRY(db_begin_read(&store->db, &txn));
        TRY(requests_are_due(&txn, EVENTS_REQUESTS, wall_ms(), &are_due));
    }
    if (!are_due)
        return STATUS_OK;
    AUTO(db_end) struct db_txn txn = { 0 };
    unsigned pruned;
    TRY(db_begin_write(&store->db, &txn));
    TRY(requests_prune(&txn, EVENTS_REQUESTS, wall_ms(), REQUESTS_KEPT_MAX, PRUNED_AT_ONCE,
                       &pruned));
    return db_commit(&txn);
}

enum status event_store_open(struct event_store *store, const char *data_dir)
{
    *store = (struct event_store){
        .db.lease = FILE_LOCK_NONE,
        .branch = BRANCH_INIT,
        .record = { .limit = EVENT_RECORD_BYTES_MAX },
    };
    enum status status = open_store(store, data_dir);
    if (status != STATUS_OK)
        event_store_close(store);
    else
        (void)prune_requests(store); /* logged there; the next tidying tries again */
    return status;
}

void event_store_close(struct event_store *store)
{
    if (store->in_turn)
        event_store_abort(store);
    late_rows_reset(&store->late);
    buffer_close(&store->record);
    branch_close(&store->branch);
    db_close(&store->db);
}

enum status event_store_write_late_rows(struct event_store *store)
{
    if (store->committed_id == store->late.written && store->late.is_loaded &&
        store->late.heads_state != HEADS_LOST)
        return STATUS_OK;
    TRY(event_store_begin(store));
    store->late.must_write = true;
    return event_store_commit(store);
}

static enum status append_shutdown_complete(struct event_store *store, const struct store_end *end)
{
    AUTO(buffer_close) struct buffer payload = { .limit = 64 + EVENT_KILLED_BYTES_MAX };
    bool has_names = end->killed != NULL && end->killed[0] != '\0';
    write_map(&payload, has_names ? 2 : 1);
    write_str(&payload, "forced");
    write_bool(&payload, end->is_forced);
    if (has_names) {
        write_str(&payload, "killed");
        write_str(&payload, end->killed);
    }
    return append_own(store, EVENT_system_shutdown_complete, buffer_span(&payload));
}

static enum status put_end(struct event_store *store, const struct store_end *end)
{
    if (end->ends_run && end->is_logged)
        TRY(append_shutdown_complete(store, end));
    if (end->ends_run)
        TRY(run_end_put(&store->txn, store->last_id, end->is_forced));
    return db_put_clean(&store->txn);
}

/* One transaction: cut off before it the run was cut off while it shut down, after it nothing is
 * missing. */
static enum status last_turn(struct event_store *store, const struct store_end *end)
{
    TRY(event_store_begin(store));
    store->late.must_write = true;
    event_store_spoil(store, put_end(store, end));
    return event_store_commit(store);
}

enum status event_store_close_cleanly(struct event_store *store, const struct store_end *end)
{
    ensure(!store->in_turn);
    enum status status = last_turn(store, end);
    event_store_close(store);
    return status;
}

/* --- housekeeping --- */

enum status event_store_tidy(struct event_store *store)
{
    TRY(db_check_readers(&store->db));
    if (store->in_turn) /* its commit does what is most urgent */
        return STATUS_OK;
    TRY(look_in_place(store));
    db_look_for_space(&store->db);
    TRY(event_store_write_late_rows(store));
    return prune_requests(store);
}
