/* Once per start. What is refused leaves the file as it is. */
#include "vaultd/comparison.h"

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/outbox/outbox_state.h"
#include "vaultd/meta_rows.h"

/* What the store says of itself. One that was made before vaults kept their home has nothing to be
 * told from a backup by, and is taken for one: but only with a master key, or one would be drawn.
 */
struct claim {
    bool is_restored, has_master;
    uint64_t accepted_id;
};

static enum status read_claim(struct vault *vault, struct claim *claim)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct master_row master;
    struct vault_home home;
    TRY(vault_store_look(&vault->store, &txn));
    TRY(meta_home(&txn, &home));
    /* A damaged one is found again by who opens it, and said then. */
    claim->has_master = meta_master(&txn, &master) != STATUS_NOT_FOUND;
    claim->is_restored = home.is_known ? !home.is_same : claim->has_master;
    claim->accepted_id = home.accepted_id;
    return STATUS_OK;
}

/* What was compared is served, by later processes of this boot also without the log. */
static void take(struct vault *vault)
{
    vault->is_compared = true;
    if (!vault_store_is_vouched(&vault->store))
        store_voucher_give(&vault->store.voucher, &vault->store.db);
    outbox_release(&vault->store.outbox);
}

static enum status refuse(struct vault *vault, enum vault_reason code)
{
    store_voucher_withdraw(&vault->store.voucher);
    vault_seal(vault, code, "");
    return STATUS_DATA_LOSS;
}

void comparison_begin_anew(struct vault *vault)
{
    ensure(vault->is_missing);
    vault->is_missing = false;
    vault->accepted_id = outbox_newer_sibling(&vault->store.outbox);
    log_warning("the vault begins anew: what the log knows of an earlier one is lost", "dir",
                vault->store.db.dir);
    vault_forget_damage(vault);
    take(vault);
}

/* Put back on purpose it is simply taken. Otherwise it goes on for as long as the log is FORKED by
 * it: that one may be the wrong one. */
static void take_over(struct vault *vault, struct claim *claim)
{
    log_warning("the vault belongs to another log: what happened to its secrets is not told here",
                "dir", vault->store.db.dir);
    if (!claim->is_restored)
        return;
    claim->accepted_id = 0; /* a number of the other log's */
    outbox_take_over(&vault->store.outbox);
}

enum status comparison_make(struct vault *vault)
{
    const struct outbox *outbox = &vault->store.outbox;
    uint64_t sibling_id = outbox_newer_sibling(outbox);
    struct claim claim = { 0 };
    enum status status = read_claim(vault, &claim);
    if (vault->store.db.is_failed) /* the next vaultd compares */
        return STATUS_UNAVAILABLE;
    if (status != STATUS_OK)
        return refuse(vault, VAULT_REASON_store_unreadable);
    /* That number is the other log's. */
    uint64_t accepted_id = outbox_is_foreign(outbox) ? 0 : claim.accepted_id;
    if (outbox_is_foreign(outbox))
        take_over(vault, &claim);
    vault->is_missing = outbox_has_siblings(outbox) && !claim.has_master;
    if (vault->is_missing)
        return refuse(vault, VAULT_REASON_store_missing);
    if (sibling_id > accepted_id && !claim.is_restored)
        return refuse(vault, VAULT_REASON_store_superseded);
    if (outbox_is_older(outbox) && !claim.is_restored)
        return refuse(vault, VAULT_REASON_store_older);
    vault->accepted_id = sibling_id > claim.accepted_id ? sibling_id : claim.accepted_id;
    if (outbox_is_older(outbox))
        log_warning("the vault was restored from a backup: what was stored since is not in it",
                    "dir", vault->store.db.dir);
    take(vault);
    return STATUS_OK;
}
