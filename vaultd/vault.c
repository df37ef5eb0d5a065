/* Sealed and open. Opening compares before it opens anything to anybody: the key, the list of
 * tenants, whether this processor has the ciphers, whether memory is locked. Keys that are not in
 * the store yet are never used: the first master key, and every later one, counts from the commit
 * that holds it. */
#include "vaultd/vault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/access/daemon_methods.h"
#include "common/api/event_types.h"
#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/daemon/parent.h"
#include "common/db/table.h"
#include "vaultd/vault_events.h"

enum { RETRY_AFTER_FULL_MS = 5000, INCARNATION_BYTES = 16 };
static const char master_key[] = "vault.master";
const char vault_master_damaged[] = "the row of its master key is damaged: restore a backup";
static const char home_key[] = "vault.incarnation"; /* of the store, as it was when it was open */

enum status vault_open(struct vault *vault, const struct settings *settings, const char *dir)
{
    vault->settings = settings;
    vault->cipher = cipher_parse(settings->vault_cipher);
    vault->row.limit = VERSION_ROW_BYTES_MAX;
    vault->manifests.keyring = &vault->keyring;
    TRY(vault_store_open(&vault->store, dir, settings->run_dir));
    vault_seal(vault, "it is opened when eventd has said how far the log is");
    /* Without locked memory it goes on, sealed: vault_unseal says why. */
    if (keyring_init(&vault->keyring, vault->store.db.identity.id) != STATUS_OK)
        vault_seal(vault, "%s", memory_lock_problem());
    return STATUS_OK;
}

void vault_close(struct vault *vault)
{
    keyring_free(&vault->keyring);
    vault_store_close(&vault->store);
    buffer_close(&vault->row);
    locked_pool_close(&vault->pool);
}

void vault_seal(struct vault *vault, const char *format, ...)
{
    va_list arguments;
    keyring_close(&vault->keyring);
    manifests_reset(&vault->manifests);
    if (vault->is_damaged)
        return;
    va_start(arguments, format);
    vsnprintf(vault->reason, sizeof vault->reason, format, arguments);
    va_end(arguments);
}

static void set_damaged(struct vault *vault, bool is_damaged)
{
    vault->is_damaged = is_damaged;
    daemon_health_set(is_damaged ? "damaged" : "ready", "%s", is_damaged ? vault->reason : "");
    parent_say(is_damaged ? "damaged: %s" : "ready%s", is_damaged ? vault->reason : "");
}

void vault_set_damaged(struct vault *vault, const char *reason)
{
    vault->is_damaged = false; /* this is the reason now */
    vault_seal(vault, "%s", reason);
    log_error("the vault is damaged", "dir", vault->store.db.dir, "reason", vault->reason);
    set_damaged(vault, true);
}

static enum status stay_sealed(struct vault *vault, struct problem *problem, enum status status,
                               const char *field, const char *reason)
{
    if (status == STATUS_DATA_LOSS) {
        vault_set_damaged(vault, reason);
        return problem_set(problem, status, field, "the vault is damaged: %s", reason);
    }
    vault_seal(vault, "%s", reason);
    return problem_set(problem, status, field, "the vault stays sealed: %s", reason);
}

/* --- the master key --- */

/* In a vault that had one it is not missing. */
static enum status check_new(struct db_txn *txn)
{
    uint64_t tenant_rows;
    struct span home;
    enum status status = db_meta_get(txn, home_key, &home);
    if (status != STATUS_NOT_FOUND && status != STATUS_OK)
        return status;
    TRY(table_count(txn, VAULT_TENANTS, &tenant_rows));
    return status == STATUS_NOT_FOUND && tenant_rows == 0
               ? STATUS_NOT_FOUND
               : log_failure(STATUS_DATA_LOSS, "read the master key", "dir", txn->db->dir, "reason",
                             "its row is missing");
}

static enum status read_master(struct db_txn *txn, struct master_row *row)
{
    struct span value;
    enum status status = db_meta_get(txn, master_key, &value);
    if (status == STATUS_NOT_FOUND)
        return check_new(txn);
    TRY(status);
    return master_row_decode(value, row);
}

enum status vault_master(struct vault *vault, struct master_row *row)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(vault_store_look(&vault->store, &txn));
    return read_master(&txn, row);
}

static enum status write_master(struct vault *vault, const struct master_row *row)
{
    uint8_t bytes[MASTER_ROW_BYTES];
    master_row_encode(row, bytes);
    return db_meta_put(&vault->store.txn, master_key, span_of(bytes, sizeof bytes));
}

/* --- the log --- */

/* `recoveryd restore` gives a store another incarnation. One that was made before vaults kept
 * theirs has nothing to tell it by, and is believed: but only with a master key, or one would be
 * drawn. */
static enum status is_put_back_by_us(struct vault *vault, struct db_txn *txn, bool *is_restored)
{
    const uint8_t *incarnation = vault->store.db.identity.incarnation;
    struct span home;
    *is_restored = false;
    enum status status = db_meta_get(txn, home_key, &home);
    if (status == STATUS_NOT_FOUND) {
        status = db_meta_get(txn, master_key, &home);
        *is_restored = status == STATUS_OK;
        return status == STATUS_NOT_FOUND ? STATUS_OK : status;
    }
    TRY(status);
    *is_restored = !span_equal(home, span_of(incarnation, INCARNATION_BYTES));
    return STATUS_OK;
}

static enum status keep_incarnation(struct vault *vault)
{
    const uint8_t *incarnation = vault->store.db.identity.incarnation;
    return db_meta_put(&vault->store.txn, home_key, span_of(incarnation, INCARNATION_BYTES));
}

/* What was compared is served, by later processes of this boot also without the log. */
static void accept_store(struct vault *vault)
{
    vault->is_compared = true;
    if (!vault_store_is_vouched(&vault->store))
        store_voucher_give(&vault->store.voucher, &vault->store.db);
    outbox_release(&vault->store.outbox);
}

static enum status refuse_store(struct vault *vault, const char *reason)
{
    store_voucher_withdraw(&vault->store.voucher);
    vault_set_damaged(vault, reason);
    return STATUS_DATA_LOSS;
}

void vault_begin_anew(struct vault *vault)
{
    ensure(vault->is_missing);
    vault->is_missing = false;
    log_warning("the vault begins anew: what the log knows of an earlier one is lost", "dir",
                vault->store.db.dir);
    set_damaged(vault, false);
    vault_seal(vault, "it begins anew");
    accept_store(vault);
}

enum status vault_compare(struct vault *vault)
{
    struct master_row row;
    struct outbox *outbox = &vault->store.outbox;
    bool is_restored = false;
    enum status status;
    {
        AUTO(db_end) struct db_txn txn = { 0 };
        status = vault_store_look(&vault->store, &txn);
        if (status == STATUS_OK)
            status = is_put_back_by_us(vault, &txn, &is_restored);
    }
    if (vault->store.db.is_failed) /* the next vaultd compares */
        return STATUS_UNAVAILABLE;
    if (status != STATUS_OK) {
        vault_set_damaged(vault, "its store cannot be read: restore a backup");
        return status;
    }
    if (outbox_is_older(outbox) && !is_restored)
        return refuse_store(vault,
                            "its store is older than the log: a copy of another time was put "
                            "in its place. Put the newer one back and restart vaultd, or "
                            "move it aside and put a backup there by `soloctl restore DIR --only "
                            "vault`");
    vault->is_missing =
        outbox_has_siblings(outbox) && vault_master(vault, &row) == STATUS_NOT_FOUND;
    if (vault->is_missing)
        return refuse_store(vault,
                            "its store is gone: the log tells of a vault, and this one is empty. "
                            "Put it back and restart vaultd, or move this one aside for `soloctl "
                            "restore DIR --only vault`; without a backup `soloctl vault unseal "
                            "--new` begins anew");
    if (outbox_is_older(outbox))
        log_warning("the vault was restored from a backup: what was stored since is not in it",
                    "dir", vault->store.db.dir);
    accept_store(vault);
    return STATUS_OK;
}

static bool is_memory_locked(const struct vault *vault)
{
    return vault->keyring.keys.data != NULL && vault->pool.is_locked;
}

enum status vault_may_open(const struct vault *vault, struct problem *problem)
{
    if (vault_store_is_vouched(&vault->store))
        return is_memory_locked(vault) ? STATUS_OK
                                       : problem_set(problem, STATUS_FAILED_PRECONDITION, "", "%s",
                                                     memory_lock_problem());
    return vault->is_damaged
               ? problem_set(problem, STATUS_DATA_LOSS, "", "the vault is damaged: %s",
                             vault->reason)
               : problem_set(problem, STATUS_FAILED_PRECONDITION, "",
                             "the vault stays sealed until eventd has said how far the log is: "
                             "see `soloctl daemon list`");
}

/* Ends the turn with `status`, or with what the commit says. */
static enum status end_turn(struct vault *vault, enum status status)
{
    if (status == STATUS_OK)
        return vault_store_commit(&vault->store);
    vault_store_abort(&vault->store);
    return status;
}

/* --- opening --- */

/* A new vault: nothing is wrapped yet, so the key that was drawn may be used at once, to
 * authenticate the empty list; if the commit fails it is forgotten. */
static enum status initialise(struct vault *vault, struct secret *kek,
                              const struct master_row *fresh)
{
    struct master_row row = *fresh;
    keyring_draw_master(&vault->keyring, kek, &row);
    keyring_take(&vault->keyring);
    TRY(vault_store_begin(&vault->store));
    enum status status = write_master(vault, &row);
    if (status == STATUS_OK)
        status = keep_incarnation(vault);
    if (status == STATUS_OK)
        status = manifests_begin_list(&vault->manifests, &vault->store.txn);
    if (status == STATUS_OK)
        status = vault_event(&vault->store, EVENT_vault_unsealed, key_source_name(row.source));
    fault_point("vaultd.initialise");
    TRY(end_turn(vault, status));
    log_info("the vault has a master key now", "dir", vault->store.db.dir, "opens_with",
             key_source_name(row.source));
    return STATUS_OK;
}

/* What keeps an open vault from being used; sealed again then. */
static enum status check_open(struct vault *vault, struct problem *problem)
{
    struct vault_totals totals;
    enum status status;
    {
        AUTO(db_end) struct db_txn txn = { 0 };
        status = vault_store_look(&vault->store, &txn);
        if (status == STATUS_OK)
            status = manifests_check_list(&vault->manifests, &txn, &totals);
    }
    if (status != STATUS_OK)
        return stay_sealed(
            vault, problem, status, "",
            "the list of its tenants is damaged: a tenant's row is missing, extra or "
            "from another time; restore a backup");
    if (totals.versions[CIPHER_AES256GCM - 1] > 0 && !keyring_can(CIPHER_AES256GCM))
        return stay_sealed(
            vault, problem, STATUS_FAILED_PRECONDITION, "",
            "it holds AES-256-GCM records, which this processor cannot open: move it "
            "back, rotate it there with vault_cipher = xchacha20poly1305");
    return STATUS_OK;
}

static enum status open_existing(struct vault *vault, struct secret *kek,
                                 const struct master_row *row, enum key_source source,
                                 struct problem *problem)
{
    if (row->source != source)
        return stay_sealed(vault, problem, STATUS_FAILED_PRECONDITION, "passphrase",
                           row->source == KEY_SOURCE_PASSPHRASE
                               ? "it needs its passphrase: `soloctl vault unseal`"
                               : "it opens with its key file, not with a passphrase");
    if (keyring_open(&vault->keyring, kek, row) != STATUS_OK)
        return stay_sealed(vault, problem, STATUS_PERMISSION_DENIED,
                           source == KEY_SOURCE_PASSPHRASE ? "passphrase" : "vault_key_file",
                           source == KEY_SOURCE_PASSPHRASE
                               ? "this is not its passphrase"
                               : "the key file is not the one it was made with");
    TRY(check_open(vault, problem));
    enum status status = vault_store_begin(&vault->store);
    if (status == STATUS_OK) {
        status = keep_incarnation(vault);
        if (status == STATUS_OK)
            status = vault_event(&vault->store, EVENT_vault_unsealed, key_source_name(source));
        status = end_turn(vault, status);
    }
    return status == STATUS_OK
               ? STATUS_OK
               : stay_sealed(vault, problem, status, "", "its store cannot be written to");
}

enum status vault_unseal(struct vault *vault, struct secret *kek, const struct master_row *fresh,
                         struct problem *problem)
{
    struct master_row row;
    if (!is_memory_locked(vault))
        return stay_sealed(vault, problem, STATUS_FAILED_PRECONDITION, "", memory_lock_problem());
    if (!keyring_can(vault->cipher))
        return stay_sealed(vault, problem, STATUS_FAILED_PRECONDITION, "vault_cipher",
                           "this processor has no AES: set vault_cipher = xchacha20poly1305");
    enum status status = vault_master(vault, &row);
    if (status == STATUS_OK) {
        status = open_existing(vault, kek, &row, fresh->source, problem);
    } else if (status == STATUS_NOT_FOUND) {
        status = initialise(vault, kek, fresh);
        if (status != STATUS_OK)
            stay_sealed(vault, problem, status, "", "its master key could not be stored");
    } else {
        stay_sealed(vault, problem, status, "", vault_master_damaged);
    }
    TRY(status);
    vault->reason[0] = '\0';
    if (vault->is_damaged)
        set_damaged(vault, false);
    vault->openings++;
    log_info("the vault is open", "dir", vault->store.db.dir);
    return STATUS_OK;
}

enum status vault_rekey(struct vault *vault, struct secret *kek, const struct master_row *fresh,
                        struct problem *problem)
{
    struct master_row row = *fresh;
    TRY(vault_store_begin(&vault->store));
    enum status status = vault_ready(vault, problem);
    if (status == STATUS_OK) {
        keyring_draw_master(&vault->keyring, kek, &row);
        status = manifests_wrap_again(&vault->manifests, &vault->store.txn);
        if (status == STATUS_DATA_LOSS)
            problem_set(problem, status, "",
                        "a tenant's keys or manifest are damaged, nothing was changed: `soloctl "
                        "vault verify` names it");
    }
    if (status == STATUS_OK)
        status = write_master(vault, &row);
    if (status == STATUS_OK)
        status = vault_event(&vault->store, EVENT_vault_rekeyed, key_source_name(row.source));
    fault_point("vaultd.rekey");
    TRY(end_turn(vault, status));
    keyring_take(&vault->keyring);
    manifests_reset(&vault->manifests);
    log_info("the vault has a new master key", "dir", vault->store.db.dir);
    return STATUS_OK;
}

/* --- before each operation --- */

enum status vault_ready(const struct vault *vault, struct problem *problem)
{
    if (!vault->keyring.is_open)
        return vault->is_damaged ? problem_set(problem, STATUS_DATA_LOSS, "",
                                               "the vault is damaged: %s", vault->reason)
                                 : problem_set(problem, STATUS_FAILED_PRECONDITION, "",
                                               "the vault is sealed: %s", vault->reason);
    return STATUS_OK;
}

enum status vault_check_room(struct vault *vault, struct problem *problem)
{
    return vault_check_room_for(vault, 1, problem);
}

enum status vault_check_room_for(struct vault *vault, uint64_t events, struct problem *problem)
{
    const char *full = NULL;
    if (vault->store.db.is_short_of_space)
        full = "the disk of the vault is full: free space";
    else if (!outbox_has_room(&vault->store.outbox, events))
        full = "too many events of the vault wait for eventd: see `soloctl daemon list`";
    if (full == NULL)
        return STATUS_OK;
    problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "", "%s; deleting goes on all the while", full);
    problem->retry_after_ms = RETRY_AFTER_FULL_MS;
    return STATUS_RESOURCE_EXHAUSTED;
}
