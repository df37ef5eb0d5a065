#ifndef SOLO_VAULTD_MANIFEST_H
#define SOLO_VAULTD_MANIFEST_H

#include "common/db/table.h"
#include "vaultd/keyring.h"

/* What proves that a tenant's rows are all there, and none of another time: the number of its
 * secrets and versions, and the sum (mod 2^256) of keyed hashes of the seals of its rows in
 * VAULT_KEYS and VAULT_SECRETS (which hold the seals of VAULT_VERSIONS). It stands in the tenant's
 * row, authenticated, and is changed in the transaction that changes a row. The tenants' rows are
 * proved in the same way by `vault.tenants` in meta.
 *
 * A tenant is compared with its manifest when it is touched for the first time, which costs about a
 * microsecond for each of its secrets; from then on each row is compared with the one that leads to
 * it, and the store belongs to this process alone. A row that is not found, and a list, have
 * nothing that leads to them: for these it is compared again, but no more than once a second. So is
 * the list of tenants for a tenant that is not found. */

enum tenant_state { TENANT_UNCHECKED, TENANT_WHOLE, TENANT_BROKEN };

struct manifests {
    struct keyring *keyring;
    struct checked_tenant {
        char name[NAME_BYTES_MAX + 1];
        enum tenant_state state;
        uint64_t compared_ns;
    } tenants[TENANTS_MAX]; /* ordered by name */
    size_t count;
    enum status list_status;   /* as the list of tenants was found */
    uint64_t list_compared_ns; /* then; 0: never */
};

/* What all tenants have together. */
struct vault_totals {
    uint64_t tenants, secrets, versions[CIPHERS];
};

/* Forgets what was compared. */
void manifests_reset(struct manifests *manifests);
size_t manifests_broken(const struct manifests *manifests);

/* In a new vault: there are none. */
enum status manifests_begin_list(struct manifests *manifests, struct db_txn *txn);

/* Compares the list of tenants with its proof, and adds up what their rows say. data_loss when a
 * tenant's row is missing, extra or from another time; one that is merely broken is that tenant's
 * own affair. */
enum status manifests_check_list(struct manifests *manifests, struct db_txn *txn,
                                 struct vault_totals *totals);

/* The same, of the last second. */
enum status manifests_check_list_lately(struct manifests *manifests, struct db_txn *txn);

/* not_found: there is no such tenant. data_loss: its rows, or the list of tenants in which it is
 * not found, do not match what proves them. */
enum status manifest_check(struct manifests *manifests, struct db_txn *txn, const char *tenant);
/* The same, of the last second. */
enum status manifest_check_lately(struct manifests *manifests, struct db_txn *txn,
                                  const char *tenant);
/* The same anew, whatever was found before. */
enum status manifest_check_again(struct manifests *manifests, struct db_txn *txn,
                                 const char *tenant);

/* In a transaction that writes, after manifest_check. Loads the tenant's row, or begins a new one
 * with its first data key; resource_exhausted when there are TENANTS_MAX. */
enum status manifest_load(struct db_txn *txn, const char *tenant, struct vault_tenant *row);
enum status manifest_create(struct manifests *manifests, struct db_txn *txn, const char *tenant,
                            struct vault_tenant *row);

/* Puts or (with an empty value) deletes a row of VAULT_KEYS or VAULT_SECRETS and keeps the sum in
 * `row`, which the caller saves afterwards. */
enum status manifest_put(struct manifests *manifests, struct db_txn *txn, const char *tenant,
                         struct vault_tenant *row, unsigned table, struct span key,
                         struct span value);
/* Authenticates the tenant's row, puts it, and keeps the proof of the list of tenants. */
enum status manifest_save(struct manifests *manifests, struct db_txn *txn, const char *tenant,
                          struct vault_tenant *row);

/* Everything that stands under the master key is put under the next one (keyring_draw_master), in
 * one transaction. */
enum status manifests_wrap_again(struct manifests *manifests, struct db_txn *txn);

/* Walks the tenants; `row` is NULL for one whose row is broken. `visit` may not write. */
enum status manifests_each(struct db_txn *txn,
                           enum status (*visit)(void *context, const char *tenant,
                                                const struct vault_tenant *row),
                           void *context);

#endif
