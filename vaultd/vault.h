#ifndef SOLO_VAULTD_VAULT_H
#define SOLO_VAULTD_VAULT_H

#include "common/base/problem.h"
#include "common/daemon/settings.h"
#include "common/secret/locked_pool.h"
#include "vaultd/manifest.h"
#include "vaultd/vault_store.h"

/* The vault: its store, its keys while it is open, and what is known of its tenants.
 *
 *     sealed -> open -> sealed
 *
 * It is open exactly while keyring.is_open. */
struct vault {
    struct vault_store store;
    struct keyring keyring;
    struct manifests manifests;
    struct locked_pool pool; /* for everything that may hold a value */
    const struct settings *settings;
    enum cipher cipher;            /* of new versions */
    struct buffer row;             /* the version row that is being made: a ciphertext */
    char reason[REASON_BYTES_MAX]; /* why it is sealed; "" while it is open */

    uint64_t stored, accessed, denied, rotated, openings; /* since the start */
};

/* Opens store and memory; the vault is sealed afterwards. data_loss, io: see vault_store_open. */
enum status vault_open(struct vault *vault, const struct settings *settings, const char *dir);
void vault_close(struct vault *vault);

/* Forgets the keys, and why is said from now on. */
void vault_seal(struct vault *vault, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Opens with a key-encryption key that came from `source`; in a new vault it makes the master key,
 * wrapped by it (`fresh` has the parameters of a passphrase). Not within a turn. What is refused
 * stands in `problem` and leaves the vault sealed, for that reason. */
enum status vault_unseal(struct vault *vault, struct secret *kek, const struct master_row *fresh,
                         struct problem *problem);
/* not_found: the vault has no master key yet. */
enum status vault_master(struct vault *vault, struct master_row *row);
/* Draws another master key and wraps everything anew; `kek` NULL keeps the key-encryption key, and
 * then `fresh` is the row as it is. Not within a turn. */
enum status vault_rekey(struct vault *vault, struct secret *kek, const struct master_row *fresh,
                        struct problem *problem);

/* Before whatever needs a key, in a transaction of the store: failed_precondition while sealed.
 * Looks first whether the store was written to by somebody else, and compares all anew if so. */
enum status vault_ready(struct vault *vault, struct db_txn *txn, struct problem *problem);

/* Whether one more event may be put, and there is space; otherwise resource_exhausted. */
enum status vault_check_room(struct vault *vault, struct problem *problem);
/* The same for `events`. */
enum status vault_check_room_for(struct vault *vault, uint64_t events, struct problem *problem);

#endif
