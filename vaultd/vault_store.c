/* The store's life and its turns. */
#include "vaultd/vault_store.h"

#include <string.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/fault.h"
#include "common/base/limits.h"
#include "common/base/log.h"

enum { PRUNED_AT_ONCE = 4096 };

static uint64_t wall_ms(void)
{
    return clock_wall_ns() / 1000000;
}

/* --- turns --- */

/* LMDB numbers a transaction by its lock file, which somebody who writes over the store does not
 * touch: what counts is the number in the file itself, and the id that each commit leaves there,
 * which no copy of an earlier state has, whatever number it bears. */
static bool is_own(struct vault_store *store, struct db_txn *txn)
{
    return db_last_txn(&store->db) == store->last_txn &&
           (!store->is_marked || store_voucher_fits(&store->voucher.page, txn));
}

/* Whether it is still the file, and the state of it, that we have left. unavailable: it is not, and
 * nothing is read or written any more. The next vaultd opens what lies there then, and compares it
 * with the log. */
static enum status check_in_place(struct vault_store *store, struct db_txn *txn)
{
    if (store->db.is_replaced)
        return STATUS_UNAVAILABLE;
    bool is_same = db_check_same_file(&store->db) == STATUS_OK;
    if (is_same && is_own(store, txn))
        return STATUS_OK;
    log_failure(STATUS_UNAVAILABLE, "use the store of the vault", "dir", store->db.dir, "reason",
                is_same ? "it was written over under us" : "another one was put in its place");
    store_voucher_withdraw(&store->voucher);
    db_fail_replaced(&store->db);
    return STATUS_UNAVAILABLE;
}

enum status vault_store_begin(struct vault_store *store)
{
    ensure(!store->in_turn);
    TRY(db_begin_write(&store->db, &store->txn));
    enum status status = check_in_place(store, &store->txn);
    if (status == STATUS_OK)
        status = requests_forgotten(&store->txn, &store->forgotten);
    if (status != STATUS_OK) {
        db_end(&store->txn);
        return status;
    }
    store->in_turn = true;
    store->requests_put = 0;
    return STATUS_OK;
}

enum status vault_store_look(struct vault_store *store, struct db_txn *txn)
{
    TRY(db_begin_read(&store->db, txn));
    enum status status = check_in_place(store, txn);
    if (status != STATUS_OK)
        db_end(txn);
    return status;
}

void vault_store_abort(struct vault_store *store)
{
    db_end(&store->txn);
    store->in_turn = false;
    outbox_turn_ended(&store->outbox, false);
}

/* What is done once per turn: rows of the outbox that the log has are removed, two old requests
 * forgotten for each new one. */
static enum status finish_turn(struct vault_store *store)
{
    unsigned pruned;
    if (store->txn.status != STATUS_OK)
        return store->txn.status;
    TRY(check_in_place(store, &store->txn));
    TRY(outbox_finish_turn(&store->outbox, &store->txn));
    return store->requests_put == 0
               ? STATUS_OK
               : requests_prune(&store->txn, VAULT_REQUESTS, wall_ms(), REQUESTS_KEPT_MAX,
                                2 * store->requests_put, &pruned);
}

enum status vault_store_commit(struct vault_store *store)
{
    ensure(store->in_turn);
    enum status status = finish_turn(store);
    uint64_t txnid = mdb_txn_id(store->txn.txn);
    bool is_changed = store->txn.is_changed;
    if (status == STATUS_OK && is_changed)
        status = store_voucher_start(&store->voucher, &store->txn);
    fault_point("vaultd.before_commit");
    if (status == STATUS_OK)
        status = db_commit(&store->txn);
    if (status != STATUS_OK) {
        vault_store_abort(store);
        return status;
    }
    fault_point("vaultd.after_commit");
    store->is_marked = store->is_marked || is_changed;
    /* LMDB gives no number to a commit that changed nothing. */
    if (db_last_txn(&store->db) >= txnid)
        store->last_txn = txnid;
    if (is_changed) /* otherwise its id is one that no commit has left in the store */
        store_voucher_advance(&store->voucher, store->last_txn);
    store->in_turn = false;
    store->commits++;
    outbox_turn_ended(&store->outbox, true);
    return STATUS_OK;
}

void vault_store_spoil(struct vault_store *store, enum status status)
{
    if (store->txn.status == STATUS_OK)
        store->txn.status = status;
}

/* --- opening --- */

/* Without room for it the next vaultd asks the log. */
static enum status write_voucher_id(struct vault_store *store)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_write(&store->db, &txn));
    TRY(store_voucher_start(&store->voucher, &txn));
    enum status status = db_commit(&txn);
    store->is_marked = status == STATUS_OK;
    return status == STATUS_RESOURCE_EXHAUSTED ? STATUS_OK : status;
}

static enum status start_voucher(struct vault_store *store, const char *run_dir)
{
    char boot_id[BOOT_ID_BYTES];
    TRY(clock_boot_id(boot_id));
    store_voucher_make(&store->voucher, run_dir, VAULT_VOUCHER, boot_id);
    bool is_covered = store_voucher_covers(&store->voucher, &store->db);
    TRY(write_voucher_id(store));
    store->last_txn = db_last_txn(&store->db);
    if (is_covered)
        store_voucher_advance(&store->voucher, store->last_txn);
    return STATUS_OK;
}

enum status vault_store_open(struct vault_store *store, const char *dir, const char *run_dir)
{
    *store = (struct vault_store){ .db.lease = FILE_LOCK_NONE };
    TRY(db_open_writer(&store->db, &vault_schema, dir));
    return start_voucher(store, run_dir);
}

bool vault_store_is_vouched(const struct vault_store *store)
{
    return store_voucher_is_given(&store->voucher);
}

/* Removing what the log has is a turn without a change of its own. */
static void remove_acknowledged(void *context)
{
    struct vault_store *store = context;
    if (!store->in_turn && vault_store_begin(store) == STATUS_OK)
        vault_store_commit(store); /* what failed was logged, and the next turn removes them */
}

enum status vault_store_open_outbox(struct vault_store *store, struct ev_loop *loop,
                                    const char *eventd_path, struct span run_key,
                                    void (*compare)(void *context, uint64_t known_id),
                                    void *context)
{
    const struct outbox_options options = {
        .loop = loop,
        .db = &store->db,
        .table = VAULT_OUTBOX,
        .daemon = "vaultd",
        .run_key = run_key,
        .eventd_path = eventd_path,
        .remove = remove_acknowledged,
        .compare = compare,
        .compare_context = context,
        .is_newest = vault_store_is_vouched(store),
        .context = store,
    };
    return outbox_open(&store->outbox, &options);
}

void vault_store_close(struct vault_store *store)
{
    if (store->in_turn) {
        db_end(&store->txn);
        store->in_turn = false;
    }
    outbox_close(&store->outbox);
    store_voucher_close(&store->voucher);
    db_close(&store->db);
}

enum status vault_store_close_cleanly(struct vault_store *store)
{
    ensure(!store->in_turn);
    /* What the log has need not be sent again by the next vaultd. */
    if (store->outbox.removed < store->outbox.acknowledged) {
        TRY(vault_store_begin(store));
        TRY(vault_store_commit(store));
    }
    {
        AUTO(db_end) struct db_txn txn = { 0 };
        TRY(vault_store_look(store, &txn));
    }
    outbox_close(&store->outbox);
    enum status status = db_close_cleanly(&store->db);
    vault_store_close(store);
    return status;
}

/* --- housekeeping --- */

enum status vault_store_tidy(struct vault_store *store)
{
    bool prunes;
    TRY(db_check_readers(&store->db));
    if (store->in_turn)
        return STATUS_OK;
    db_look_for_space(&store->db);
    {
        AUTO(db_end) struct db_txn txn = { 0 };
        TRY(vault_store_look(store, &txn));
        TRY(requests_are_due(&txn, VAULT_REQUESTS, wall_ms(), &prunes));
    }
    if (!prunes)
        return STATUS_OK;
    unsigned pruned;
    TRY(vault_store_begin(store));
    enum status status = requests_prune(&store->txn, VAULT_REQUESTS, wall_ms(), REQUESTS_KEPT_MAX,
                                        PRUNED_AT_ONCE, &pruned);
    if (status == STATUS_OK)
        return vault_store_commit(store);
    vault_store_abort(store);
    return status;
}
