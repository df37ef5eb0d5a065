/* The store's life and its turns; its rows are token_rows.c. The normal path: open, decide with
 * which time this boot goes on, then turns. A failed turn leaves the store as it was. */
#include "tokend/token_store.h"

#include <string.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/fault.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/db/table.h"

enum { PRUNED_AT_ONCE = 4096 };

static uint64_t wall_ms(void)
{
    return clock_wall_ns() / 1000000;
}

/* --- time --- */

uint64_t token_store_now(struct token_store *store)
{
    if (!store->in_turn) {
        token_time_read_again(&store->time);
        store->now_ns = token_clock_now(&store->anchor, &store->time);
    }
    return store->now_ns;
}

static enum status set_anchor(struct token_store *store, const struct token_anchor *anchor)
{
    TRY(token_anchor_write(&store->txn, anchor));
    store->turning = *anchor;
    store->now_ns = token_clock_now(anchor, &store->time);
    return STATUS_OK;
}

enum status token_store_trust_clock(struct token_store *store, bool *was_suspect)
{
    ensure(store->in_turn);
    struct token_anchor anchor = store->turning;
    *was_suspect = token_anchor_trust(&anchor, &store->time);
    if (!*was_suspect)
        return STATUS_OK;
    token_anchor_advance(&anchor, &store->time);
    TRY(set_anchor(store, &anchor));
    log_info("the clock is trusted again", "dir", store->db.dir);
    return STATUS_OK;
}

/* --- turns --- */

static bool is_own(struct token_store *store)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    return db_last_txn(&store->db) == store->last_txn &&
           db_begin_read(&store->db, &txn) == STATUS_OK &&
           store_voucher_fits(&store->voucher.page, &txn);
}

enum status token_store_check_in_place(struct token_store *store)
{
    bool is_same = db_check_same_file(&store->db) == STATUS_OK;
    if (store->db.is_failed || (is_same && is_own(store)))
        return STATUS_OK;
    log_failure(STATUS_UNAVAILABLE, "write to the token store", "dir", store->db.dir, "reason",
                is_same ? "it was written over under us" : "another one was put in its place");
    db_fail_replaced(&store->db);
    return STATUS_UNAVAILABLE;
}

enum status token_store_begin(struct token_store *store)
{
    ensure(!store->in_turn);
    TRY(token_store_check_in_place(store));
    TRY(db_begin_write(&store->db, &store->txn));
    enum status status = requests_forgotten(&store->txn, &store->forgotten);
    if (status != STATUS_OK) {
        db_end(&store->txn);
        return status;
    }
    token_store_now(store);
    store->turning = store->anchor;
    store->in_turn = true;
    store->requests_put = 0;
    return STATUS_OK;
}

void token_store_abort(struct token_store *store)
{
    db_end(&store->txn);
    store->in_turn = false;
    outbox_turn_ended(&store->outbox, false);
}

/* What is done once per turn: the mark kept ahead, rows of the outbox that the log has removed, two
 * old requests forgotten for each new one. */
static enum status finish_turn(struct token_store *store)
{
    if (store->txn.status != STATUS_OK)
        return store->txn.status;
    if (store->db.is_failed) /* in the midst of the turn: see token_store_check_in_place */
        return STATUS_UNAVAILABLE;
    struct token_anchor anchor = store->turning;
    if (token_anchor_advance(&anchor, &store->time))
        TRY(set_anchor(store, &anchor));
    TRY(outbox_finish_turn(&store->outbox, &store->txn));
    unsigned pruned;
    return store->requests_put == 0
               ? STATUS_OK
               : requests_prune(&store->txn, TOKENS_REQUESTS, wall_ms(), REQUESTS_KEPT_MAX,
                                2 * store->requests_put, &pruned);
}

enum status token_store_commit(struct token_store *store)
{
    ensure(store->in_turn);
    enum status status = finish_turn(store);
    uint64_t txnid = mdb_txn_id(store->txn.txn);
    fault_point("tokend.before_commit");
    if (status == STATUS_OK)
        status = db_commit(&store->txn);
    if (status != STATUS_OK) {
        token_store_abort(store);
        return status;
    }
    fault_point("tokend.after_commit");
    /* Our own number, not what lies in the file by now. LMDB gives none to a commit that changed
     * nothing. */
    if (db_last_txn(&store->db) >= txnid)
        store->last_txn = txnid;
    store_voucher_advance(&store->voucher, store->last_txn);
    store_voucher_settle(&store->voucher);
    store->in_turn = false;
    store->anchor = store->turning;
    store->commits++;
    outbox_turn_ended(&store->outbox, true);
    return STATUS_OK;
}

void token_store_spoil(struct token_store *store, enum status status)
{
    if (store->txn.status == STATUS_OK)
        store->txn.status = status;
}

/* --- opening --- */

/* What the tokens expire by from now on. Committed before anybody may act by it. */
static enum status start_clock(struct token_store *store)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct token_anchor previous;
    uint64_t revoked;
    TRY(db_begin_write(&store->db, &txn));
    TRY(store_voucher_start(&store->voucher, &txn));
    TRY(token_anchor_read(&txn, &previous));
    struct token_anchor anchor = token_anchor_start(&previous, &store->time);
    if (store->time.is_synchronised)
        token_anchor_trust(&anchor, &store->time);
    token_anchor_advance(&anchor, &store->time);
    TRY(token_anchor_write(&txn, &anchor));
    TRY(token_count(&txn, &store->restored, &revoked));
    TRY(db_commit(&txn));
    store->is_new = previous.boot_id[0] == '\0';
    store->anchor = anchor;
    if (anchor.is_suspect)
        log_warning("the clock is more than 30 days ahead of the last time that was trusted: "
                    "tokens expire by it, but none is swept",
                    "next", "set the clock, or `soloctl token trust-clock`");
    return STATUS_OK;
}

/* The voucher is judged, or withdrawn, before anything is committed: a start that fails leaves no
 * older copy that looks newer. */
static enum status start(struct token_store *store, const char *run_dir)
{
    TRY(token_time_read(&store->time));
    store_voucher_make(&store->voucher, run_dir, TOKENS_VOUCHER, store->time.boot_id);
    bool is_covered = store_voucher_covers(&store->voucher, &store->db);
    TRY(start_clock(store));
    store->last_txn = db_last_txn(&store->db);
    if (is_covered)
        store_voucher_advance(&store->voucher, store->last_txn);
    else if (store->is_new) /* an older copy without tokens does not know what was revoked */
        store_voucher_give(&store->voucher, &store->db);
    return STATUS_OK;
}

void token_store_vouch(struct token_store *store)
{
    if (!token_store_is_vouched(store))
        store_voucher_give(&store->voucher, &store->db);
}

bool token_store_is_vouched(const struct token_store *store)
{
    return store_voucher_is_given(&store->voucher);
}

enum status token_store_open(struct token_store *store, const char *dir, const char *run_dir)
{
    *store = (struct token_store){
        .db.lease = FILE_LOCK_NONE,
        .row.limit = TOKEN_RECORD_BYTES_MAX,
    };
    enum status status = db_open_writer(&store->db, &tokens_schema, dir);
    if (status == STATUS_OK)
        status = start(store, run_dir);
    if (status != STATUS_OK)
        token_store_close(store);
    return status;
}

/* Removing what the log has is a turn without a change of its own. */
static void remove_acknowledged(void *context)
{
    struct token_store *store = context;
    if (!store->in_turn && token_store_begin(store) == STATUS_OK)
        token_store_commit(store); /* what failed was logged, and the next turn removes them */
}

enum status token_store_open_outbox(struct token_store *store, struct ev_loop *loop,
                                    const char *eventd_path, struct span run_key,
                                    void (*compare)(void *context, uint64_t known_id),
                                    void *context)
{
    const struct outbox_options options = {
        .loop = loop,
        .db = &store->db,
        .table = TOKENS_OUTBOX,
        .daemon = "tokend",
        .run_key = run_key,
        .eventd_path = eventd_path,
        .remove = remove_acknowledged,
        .compare = compare,
        .compare_context = context,
        .context = store,
    };
    return outbox_open(&store->outbox, &options);
}

void token_store_close(struct token_store *store)
{
    if (store->in_turn) {
        db_end(&store->txn);
        store->in_turn = false;
    }
    outbox_close(&store->outbox);
    buffer_close(&store->row);
    store_voucher_close(&store->voucher);
    db_close(&store->db);
}

enum status token_store_close_cleanly(struct token_store *store)
{
    ensure(!store->in_turn);
    /* What the log has need not be sent again by the next tokend. */
    if (store->outbox.removed < store->outbox.acknowledged) {
        TRY(token_store_begin(store));
        TRY(token_store_commit(store));
    }
    /* Else the clean flag would give an older file a number that the voucher names. */
    TRY(token_store_check_in_place(store));
    outbox_close(&store->outbox);
    enum status status = db_close_cleanly(&store->db);
    token_store_close(store);
    return status;
}

/* --- housekeeping --- */

static enum status prune_is_due(struct token_store *store, bool *is_due)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_read(&store->db, &txn));
    return requests_are_due(&txn, TOKENS_REQUESTS, wall_ms(), is_due);
}

/* A turn of its own for what cannot wait for one: the mark must stay ahead of the time even when
 * nobody asks for anything. */
static enum status tidy_turn(struct token_store *store, bool prunes)
{
    bool was_suspect = false;
    unsigned pruned;
    TRY(token_store_begin(store));
    enum status status = STATUS_OK;
    if (store->time.is_synchronised)
        status = token_store_trust_clock(store, &was_suspect);
    if (status == STATUS_OK && prunes)
        status = requests_prune(&store->txn, TOKENS_REQUESTS, wall_ms(), REQUESTS_KEPT_MAX,
                                PRUNED_AT_ONCE, &pruned);
    if (status == STATUS_OK)
        return token_store_commit(store);
    token_store_abort(store);
    return status;
}

enum status token_store_tidy(struct token_store *store)
{
    bool prunes;
    TRY(db_check_readers(&store->db));
    if (store->in_turn)
        return STATUS_OK;
    db_look_for_space(&store->db);
    TRY(token_time_read(&store->time));
    TRY(prune_is_due(store, &prunes));
    struct token_anchor anchor = store->anchor;
    bool is_trusted_now = anchor.is_suspect && store->time.is_synchronised;
    return prunes || is_trusted_now || token_anchor_advance(&anchor, &store->time)
               ? tidy_turn(store, prunes)
               : STATUS_OK;
}
