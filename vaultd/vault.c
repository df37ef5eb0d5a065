/* Sealed and open. Opening compares before it opens anything to anybody: the key, the list of
 * tenants, whether this processor has the ciphers, whether memory is locked. Keys that are not in
 * the store yet are never used: the first master key, and every later one, counts from the commit
 * that holds it. */
#include "vaultd/vault.h"

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
#include "vaultd/meta_rows.h"
#include "vaultd/vault_events.h"

enum { RETRY_AFTER_FULL_MS = 5000 };

enum status vault_open(struct vault *vault, const struct settings *settings, const char *dir)
{
    vault->settings = settings;
    vault->cipher = cipher_parse(settings->vault_cipher);
    vault->row.limit = VERSION_ROW_BYTES_MAX;
    vault->manifests.keyring = &vault->keyring;
    TRY(vault_store_open(&vault->store, dir, settings->run_dir));
    vault_seal(vault, VAULT_REASON_waiting_for_log, "");
    /* Without locked memory it goes on, sealed: vault_unseal says why. */
    if (keyring_init(&vault->keyring, vault->store.db.identity.id) != STATUS_OK)
        vault_seal(vault, VAULT_REASON_memory_not_locked, memory_lock_problem());
    return STATUS_OK;
}

void vault_close(struct vault *vault)
{
    keyring_free(&vault->keyring);
    vault_store_close(&vault->store);
    buffer_close(&vault->row);
    locked_pool_close(&vault->pool);
}

static void say_health(const struct vault *vault)
{
    bool is_damaged = vault->is_damaged;
    const char *next = vault_reason_next(vault->code);
    daemon_health_set(is_damaged ? "damaged" : "ready", "%s%s%s", is_damaged ? vault->reason : "",
                      is_damaged ? ": " : "", is_damaged ? next : "");
    parent_say(is_damaged ? "damaged: %s" : "ready%s", is_damaged ? vault->reason : "");
}

void vault_seal(struct vault *vault, enum vault_reason code, const char *detail)
{
    bool is_damage = vault_reason_is_damage(code);
    keyring_close(&vault->keyring);
    manifests_reset(&vault->manifests);
    if (vault->is_damaged && !is_damage)
        return;
    vault->code = code;
    snprintf(vault->reason, sizeof vault->reason, "%s%s%s", vault_reason_words(code),
             detail[0] == '\0' ? "" : ": ", detail);
    if (!is_damage)
        return;
    log_error("the vault is damaged", "dir", vault->store.db.dir, "code", vault_reason_name(code),
              "reason", vault->reason, "next", vault_reason_next(code));
    vault->is_damaged = true;
    say_health(vault);
}

void vault_forget_damage(struct vault *vault)
{
    if (!vault->is_damaged)
        return;
    vault->is_damaged = false;
    say_health(vault);
}

enum status vault_refuse(struct vault *vault, struct problem *problem, enum status status,
                         const char *field, enum vault_reason code, const char *detail)
{
    bool is_damage = vault_reason_is_damage(code);
    vault_seal(vault, code, detail);
    return problem_set(problem, status, field, "the vault %s: %s%s%s; %s",
                       is_damage ? "is damaged" : "stays sealed", vault_reason_words(code),
                       detail[0] == '\0' ? "" : ": ", detail, vault_reason_next(code));
}

/* --- the master key --- */

enum status vault_master(struct vault *vault, struct master_row *row)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(vault_store_look(&vault->store, &txn));
    return meta_master(&txn, row);
}

enum status vault_sealed_by(struct vault *vault, char by[CALLER_TEXT_BYTES])
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(vault_store_look(&vault->store, &txn));
    return meta_sealed(&txn, by);
}

static bool is_memory_locked(const struct vault *vault)
{
    return vault->keyring.keys.data != NULL && vault->pool.is_locked;
}

enum status vault_may_open(const struct vault *vault, struct problem *problem)
{
    if (vault_store_is_vouched(&vault->store))
        return is_memory_locked(vault)
                   ? STATUS_OK
                   : problem_set(problem, STATUS_FAILED_PRECONDITION, "",
                                 "the vault stays sealed: %s: %s; %s",
                                 vault_reason_words(VAULT_REASON_memory_not_locked),
                                 memory_lock_problem(),
                                 vault_reason_next(VAULT_REASON_memory_not_locked));
    return vault_ready(vault, problem);
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

/* It is this vault from now on, and open until it is sealed. */
static enum status note_opened(struct vault *vault, enum key_source source)
{
    struct vault_store *store = &vault->store;
    TRY(meta_home_put(&store->txn, vault->accepted_id));
    TRY(meta_sealed_delete(&store->txn));
    return vault_event(store, EVENT_vault_unsealed, vault->asked_by, key_source_name(source));
}

/* A new vault: nothing is wrapped yet, so the key that was drawn may be used at once, to
 * authenticate the empty list; if the commit fails it is forgotten. */
static enum status initialise(struct vault *vault, struct secret *kek,
                              const struct master_row *fresh)
{
    struct master_row row = *fresh;
    keyring_draw_master(&vault->keyring, kek, &row);
    keyring_take(&vault->keyring);
    TRY(vault_store_begin(&vault->store));
    enum status status = meta_master_put(&vault->store.txn, &row);
    if (status == STATUS_OK)
        status = manifests_begin_list(&vault->manifests, &vault->store.txn);
    if (status == STATUS_OK)
        status = note_opened(vault, row.source);
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
        return vault_refuse(vault, problem, status, "",
                            status == STATUS_DATA_LOSS ? VAULT_REASON_tenants_damaged
                                                       : VAULT_REASON_store_unreadable,
                            "");
    return totals.versions[CIPHER_AES256GCM - 1] == 0 || keyring_can(CIPHER_AES256GCM)
               ? STATUS_OK
               : vault_refuse(vault, problem, STATUS_FAILED_PRECONDITION, "",
                              VAULT_REASON_aes_records, "");
}

static enum status open_existing(struct vault *vault, struct secret *kek,
                                 const struct master_row *row, enum key_source source,
                                 struct problem *problem)
{
    bool is_passphrase = source == KEY_SOURCE_PASSPHRASE;
    if (row->source != source)
        return vault_refuse(
            vault, problem, STATUS_FAILED_PRECONDITION, "passphrase",
            is_passphrase ? VAULT_REASON_key_needed : VAULT_REASON_passphrase_needed, "");
    if (keyring_open(&vault->keyring, kek, row) != STATUS_OK)
        return vault_refuse(vault, problem, STATUS_PERMISSION_DENIED,
                            is_passphrase ? "passphrase" : "vault_key_file",
                            is_passphrase ? VAULT_REASON_wrong_passphrase : VAULT_REASON_wrong_key,
                            "");
    TRY(check_open(vault, problem));
    enum status status = vault_store_begin(&vault->store);
    if (status == STATUS_OK)
        status = end_turn(vault, note_opened(vault, source));
    return status == STATUS_OK
               ? STATUS_OK
               : vault_refuse(vault, problem, status, "", VAULT_REASON_store_unwritable, "");
}

enum status vault_unseal(struct vault *vault, struct secret *kek, const struct master_row *fresh,
                         struct problem *problem)
{
    struct master_row row;
    if (!is_memory_locked(vault))
        return vault_refuse(vault, problem, STATUS_FAILED_PRECONDITION, "",
                            VAULT_REASON_memory_not_locked, memory_lock_problem());
    if (!keyring_can(vault->cipher))
        return vault_refuse(vault, problem, STATUS_FAILED_PRECONDITION, "vault_cipher",
                            VAULT_REASON_no_aes, "");
    enum status status = vault_master(vault, &row);
    if (status == STATUS_OK) {
        status = open_existing(vault, kek, &row, fresh->source, problem);
    } else if (status == STATUS_NOT_FOUND) {
        status = initialise(vault, kek, fresh);
        if (status != STATUS_OK)
            vault_refuse(vault, problem, status, "", VAULT_REASON_store_unwritable,
                         "its master key could not be stored");
    } else {
        vault_refuse(vault, problem, status, "",
                     status == STATUS_DATA_LOSS ? VAULT_REASON_master_key_damaged
                                                : VAULT_REASON_store_unreadable,
                     "");
    }
    TRY(status);
    vault->code = VAULT_REASONS;
    vault->reason[0] = '\0';
    vault_forget_damage(vault);
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
        status = meta_master_put(&vault->store.txn, &row);
    if (status == STATUS_OK)
        status = vault_event(&vault->store, EVENT_vault_rekeyed, vault->asked_by,
                             key_source_name(row.source));
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
    if (vault->keyring.is_open)
        return STATUS_OK;
    return problem_set(problem, vault->is_damaged ? STATUS_DATA_LOSS : STATUS_FAILED_PRECONDITION,
                       "", "the vault is %s: %s; %s", vault->is_damaged ? "damaged" : "sealed",
                       vault->reason, vault_reason_next(vault->code));
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
