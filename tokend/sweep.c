/* Each slice is a transaction of its own, begun only when no turn is open, and the loop comes round
 * between two of them, to requests first. What a slice costs is its commit: a token lies on pages
 * of its own in four tables. */
#include "tokend/sweep.h"

#include <stdio.h>
#include <string.h>

#include "common/api/event_types.h"
#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "tokend/token_events.h"

enum {
    PAUSE_MS = 4,               /* between slices while callers come */
    RETRY_MS = 1000,            /* after a slice that could not be */
    FIRST_SWEEP_MS_MAX = 10000, /* after the start */
    WARNING_MS = 60 * 1000,
    CHECK_PAUSE_MS = 20,
    ROOM_FOR_SLICE = WARNING_LEVELS * SWEEP_SLICE_ROWS, /* what one turn tells at most */
};
static const uint64_t second_ns = 1000000000u;

/* --- sweeping --- */

struct expiry {
    uint64_t time_ns;
    struct hash hash;
    bool is_revoked; /* a row of `revoked`, not a token */
};

/* The first rows of by_expiry in (after, until], none without `until` reached. */
static enum status read_expiries(struct db_txn *txn, struct span after, uint64_t until_ns,
                                 size_t rows, struct expiry *expiries, size_t *count)
{
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    TRY(table_cursor_open(txn, TOKENS_BY_EXPIRY, &cursor));
    struct span key, value;
    *count = 0;
    enum status status = table_cursor_seek(&cursor, after, &key, &value);
    for (; status == STATUS_OK && *count < rows;
         status = table_cursor_next(&cursor, &key, &value)) {
        struct expiry *expiry = &expiries[*count];
        if (!expiry_key_read(key, &expiry->time_ns, &expiry->hash))
            return log_failure(STATUS_DATA_LOSS, "read what expires", "dir", txn->db->dir, "reason",
                               "not the size of its key");
        if (expiry->time_ns > until_ns)
            return STATUS_OK;
        if (span_equal(key, after))
            continue;
        expiry->is_revoked = span_equal(value, span_of_text(EXPIRY_OF_REVOKED));
        ++*count;
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status sweep_one(struct token_store *store, const struct expiry *expiry)
{
    struct token_record record;
    if (expiry->is_revoked)
        return token_forget_revoked(store, &expiry->hash);
    enum status status = token_find(&store->txn, &expiry->hash, &record);
    if (status == STATUS_NOT_FOUND)
        return log_failure(STATUS_DATA_LOSS, "sweep", "dir", store->db.dir, "reason",
                           "the index names no token");
    TRY(status);
    TRY(token_event(store, EVENT_capability_expired, &record, NULL, ""));
    TRY(token_remove(store, &expiry->hash, &record));
    store->expired++;
    return STATUS_OK;
}

static enum status sweep_rows(struct token_store *store, size_t rows, bool *is_more)
{
    struct expiry expiries[SWEEP_SLICE_ROWS];
    size_t count;
    TRY(read_expiries(&store->txn, (struct span){ 0 }, store->now_ns, rows, expiries, &count));
    for (size_t i = 0; i < count; i++)
        TRY(sweep_one(store, &expiries[i]));
    *is_more = count == rows;
    return STATUS_OK;
}

/* Whether a slice would find something: a look costs no commit. */
static enum status is_due(struct token_store *store, struct span after, uint64_t until_ns,
                          bool *due)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct expiry first;
    size_t count;
    TRY(db_begin_read(&store->db, &txn));
    TRY(read_expiries(&txn, after, until_ns, 1, &first, &count));
    *due = count > 0;
    return STATUS_OK;
}

static bool may_act(const struct token_store *store)
{
    return !store->anchor.is_suspect && token_store_is_vouched(store) &&
           outbox_has_room(&store->outbox, ROOM_FOR_SLICE);
}

static enum status in_turn(struct token_store *store,
                           enum status (*act)(struct token_store *, size_t, bool *), size_t rows,
                           bool *is_more)
{
    ensure(rows <= SWEEP_SLICE_ROWS);
    TRY(token_store_begin(store));
    enum status status = act(store, rows, is_more);
    if (status == STATUS_OK)
        return token_store_commit(store);
    token_store_abort(store);
    return status;
}

enum status sweep_expired(struct token_store *store, size_t rows, bool *is_more)
{
    bool due;
    *is_more = false;
    if (!may_act(store))
        return STATUS_OK;
    TRY(is_due(store, (struct span){ 0 }, token_store_now(store), &due));
    return due ? in_turn(store, sweep_rows, rows, is_more) : STATUS_OK;
}

/* --- warnings --- */

/* For each level: how long before the end, and in `meta` the key of by_expiry up to which warnings
 * were given. What comes to lie before that key later (a short-lived token) is not warned of. */
static const struct {
    const char *meta_key;
    uint64_t lead_s;
} levels[WARNING_LEVELS] = {
    { "warned.7d", 7 * 86400 },
    { "warned.1d", 86400 },
    { "warned.1h", 3600 },
};

static enum status read_position(struct db_txn *txn, size_t level, uint64_t now_ns,
                                 uint8_t key[EXPIRY_KEY_BYTES])
{
    static const struct hash none = { { 0 } };
    struct span row;
    /* A new store has nothing that could be near its end. */
    expiry_key(key, now_ns, &none);
    enum status status = db_meta_get(txn, levels[level].meta_key, &row);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    uint64_t time_ns;
    struct hash hash;
    if (!expiry_key_read(row, &time_ns, &hash))
        return log_failure(STATUS_DATA_LOSS, "read the position of warnings", "dir", txn->db->dir,
                           "reason", "not the form of its row");
    expiry_key(key, time_ns, &hash);
    return STATUS_OK;
}

/* Not of what never lived longer than the warning is early, nor what is past the next level. */
static bool is_worth_warning(const struct token_record *record, size_t level, uint64_t now_ns)
{
    uint64_t begun = record->renewed_ns != 0 ? record->renewed_ns : record->granted_ns;
    uint64_t next_lead_s = level + 1 < WARNING_LEVELS ? levels[level + 1].lead_s : 0;
    return record->expires_ns - begun > levels[level].lead_s * second_ns &&
           record->expires_ns > now_ns + next_lead_s * second_ns;
}

static enum status warn_of(struct token_store *store, size_t level, const struct expiry *expiry)
{
    struct token_record record;
    if (expiry->is_revoked)
        return STATUS_OK;
    TRY(token_find(&store->txn, &expiry->hash, &record));
    return is_worth_warning(&record, level, store->now_ns)
               ? token_event(store, EVENT_capability_expiring, &record, NULL, "")
               : STATUS_OK;
}

static enum status warn_level(struct token_store *store, size_t level, size_t rows, bool *is_more)
{
    static const struct hash last_hash = { { 0 } };
    uint8_t key[EXPIRY_KEY_BYTES];
    struct expiry expiries[SWEEP_SLICE_ROWS];
    size_t count;
    uint64_t until_ns = store->now_ns + levels[level].lead_s * second_ns;
    TRY(read_position(&store->txn, level, store->now_ns, key));
    TRY(read_expiries(&store->txn, span_of(key, sizeof key), until_ns, rows, expiries, &count));
    if (count == 0)
        return STATUS_OK;
    for (size_t i = 0; i < count; i++)
        TRY(warn_of(store, level, &expiries[i]));
    if (count == rows) {
        *is_more = true;
        expiry_key(key, expiries[count - 1].time_ns, &expiries[count - 1].hash);
    } else {
        expiry_key(key, until_ns + 1, &last_hash);
    }
    return db_meta_put(&store->txn, levels[level].meta_key, span_of(key, sizeof key));
}

static enum status warn_all(struct token_store *store, size_t rows, bool *is_more)
{
    for (size_t level = 0; level < WARNING_LEVELS; level++)
        TRY(warn_level(store, level, rows, is_more));
    return STATUS_OK;
}

enum status sweep_warn(struct token_store *store, size_t rows, bool *is_more)
{
    bool due = false;
    *is_more = false;
    if (!may_act(store))
        return STATUS_OK;
    uint64_t now_ns = token_store_now(store);
    for (size_t level = 0; level < WARNING_LEVELS && !due; level++) {
        uint8_t key[EXPIRY_KEY_BYTES];
        {
            AUTO(db_end) struct db_txn txn = { 0 };
            TRY(db_begin_read(&store->db, &txn));
            TRY(read_position(&txn, level, now_ns, key));
        }
        TRY(is_due(store, span_of(key, sizeof key), now_ns + levels[level].lead_s * second_ns,
                   &due));
    }
    return due ? in_turn(store, warn_all, rows, is_more) : STATUS_OK;
}

/* --- timers --- */

static void set_timer(struct sweep *sweep, struct ev_timer *timer, uint64_t delay_ms)
{
    ev_timer_stop(sweep->loop, timer);
    ev_timer_set(timer, (double)delay_ms / 1e3, 0);
    ev_timer_start(sweep->loop, timer);
}

size_t sweep_next_rows(size_t rows, uint64_t took_ns)
{
    static const uint64_t slice_ns = SWEEP_SLICE_MS * UINT64_C(1000000);
    size_t next = rows;
    if (took_ns > slice_ns)
        next = rows / 2;
    else if (took_ns < slice_ns / 2)
        next = rows + rows / 2;
    return next < SWEEP_SLICE_ROWS_MIN ? SWEEP_SLICE_ROWS_MIN
           : next > SWEEP_SLICE_ROWS   ? SWEEP_SLICE_ROWS
                                       : next;
}

/* Tried again later, unless it is damage: then the owner closes the sweep, or nothing behind it
 * would ever be reached. */
static void again(struct sweep *sweep, struct ev_timer *timer, enum status status,
                  uint64_t delay_ms)
{
    if (status == STATUS_DATA_LOSS && sweep->on_damage != NULL)
        sweep->on_damage(sweep->context);
    else
        set_timer(sweep, timer, delay_ms);
}

static void on_slice(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct sweep *sweep = timer->data;
    const struct token_store *store = sweep->store;
    bool is_more = false, is_alone = store->commits == sweep->commits;
    if (sweep->store->in_turn || ev_is_active(&sweep->check) ||
        !outbox_has_room(&sweep->store->outbox, ROOM_FOR_SLICE)) {
        /* A turn is open for moments; the outbox drains as fast as eventd takes it; what is being
         * compared should not change, or its pages are kept and the store grows. */
        set_timer(sweep, timer, sweep->store->in_turn ? 1 : 10 * PAUSE_MS);
        return;
    }
    uint64_t began_ns = clock_boottime_ns();
    enum status status = sweep_expired(sweep->store, sweep->rows, &is_more);
    if (status != STATUS_OK)
        again(sweep, timer, status, RETRY_MS);
    else if (is_more)
        set_timer(sweep, timer, is_alone ? 0 : PAUSE_MS);
    if (is_more)
        sweep->rows = sweep_next_rows(sweep->rows, clock_boottime_ns() - began_ns);
    sweep->commits = store->commits;
}

static void on_due(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct sweep *sweep = timer->data;
    set_timer(sweep, &sweep->slice, 0);
    set_timer(sweep, timer, sweep->interval_ms);
}

static void on_warning(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct sweep *sweep = timer->data;
    bool is_more = false;
    if (sweep->store->in_turn) {
        set_timer(sweep, timer, 1);
        return;
    }
    enum status status = sweep_warn(sweep->store, SWEEP_SLICE_ROWS, &is_more);
    again(sweep, timer, status, status == STATUS_OK && is_more ? PAUSE_MS : WARNING_MS);
}

/* The comparison keeps one snapshot for a few seconds, at a million rows: pages that are replaced
 * meanwhile are not used again before it ends. */
static void on_check(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct sweep *sweep = timer->data;
    enum status status = STATUS_OK;
    if (sweep->snapshot.txn == NULL)
        status = db_begin_read(&sweep->store->db, &sweep->snapshot);
    if (status == STATUS_OK)
        status = table_verify_some(&sweep->snapshot, TOKENS_TOKENS, CHECK_SLICE_ROWS, &sweep->walk);
    if (status == STATUS_OK && !sweep->walk.is_done) {
        set_timer(sweep, timer, CHECK_PAUSE_MS);
        return;
    }
    db_end(&sweep->snapshot);
    sweep->is_checked = status == STATUS_OK;
    if (status == STATUS_DATA_LOSS && sweep->on_damage != NULL)
        sweep->on_damage(sweep->context);
}

void sweep_open(struct sweep *sweep, struct token_store *store, struct ev_loop *loop,
                uint64_t interval_ms)
{
    sweep->store = store;
    sweep->loop = loop;
    sweep->interval_ms = interval_ms > 0 ? interval_ms : 1;
    sweep->rows = SWEEP_SLICE_ROWS_MIN;
    ev_timer_init(&sweep->due, on_due, 0, 0);
    ev_timer_init(&sweep->slice, on_slice, 0, 0);
    ev_timer_init(&sweep->warning, on_warning, 0, 0);
    ev_timer_init(&sweep->check, on_check, 0, 0);
    sweep->due.data = sweep->slice.data = sweep->warning.data = sweep->check.data = sweep;
    ev_set_priority(&sweep->slice, EV_MINPRI); /* what has arrived comes first */
    set_timer(sweep, &sweep->due,
              sweep->interval_ms < FIRST_SWEEP_MS_MAX ? sweep->interval_ms : FIRST_SWEEP_MS_MAX);
    set_timer(sweep, &sweep->warning, RETRY_MS);
    set_timer(sweep, &sweep->check, 0); /* before the first request: most stores are one slice */
}

void sweep_close(struct sweep *sweep)
{
    if (sweep->loop == NULL)
        return;
    ev_timer_stop(sweep->loop, &sweep->due);
    ev_timer_stop(sweep->loop, &sweep->slice);
    ev_timer_stop(sweep->loop, &sweep->warning);
    ev_timer_stop(sweep->loop, &sweep->check);
    db_end(&sweep->snapshot);
    sweep->loop = NULL;
}

void sweep_set_interval(struct sweep *sweep, uint64_t interval_ms)
{
    if (!ev_is_active(&sweep->due) || interval_ms == sweep->interval_ms)
        return;
    sweep->interval_ms = interval_ms > 0 ? interval_ms : 1;
    if (ev_timer_remaining(sweep->loop, &sweep->due) * 1e3 > (double)sweep->interval_ms)
        set_timer(sweep, &sweep->due, sweep->interval_ms);
}
