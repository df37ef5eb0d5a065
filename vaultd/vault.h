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
 * It is open exactly while keyring.is_open. It is damaged when it would open, but what it holds is
 * not what it should be; then it is sealed, too. */
struct vault {
    struct vault_store store;
    struct keyring keyring;
    struct manifests manifests;
    struct locked_pool pool; /* for everything that may hold a value */
    const struct settings *settings;
    enum cipher cipher;            /* of new versions */
    struct buffer row;             /* the version row that is being made: a ciphertext */
    char reason[REASON_BYTES_MAX]; /* why it is sealed; "" while it is open */
    bool is_damaged;               /* for that reason: everything is data_loss */
    bool is_compared;              /* with the log, since the start */
    bool is_missing;               /* the log knows of another store, and this one is new */

    uint64_t stored, accessed, denied, rotated, openings; /* since the start */
};

/* Opens store and memory; the vault is sealed afterwards. data_loss, io: see vault_store_open. */
enum status vault_open(struct vault *vault, const struct settings *settings, const char *dir);
void vault_close(struct vault *vault);

/* Forgets the keys, and why is said from now on. What is damaged stays so, for the reason that it
 * had, until it was opened. */
void vault_seal(struct vault *vault, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The log was reached: compares the store with it, and lets the outbox send. data_loss: the store
 * is older than the log, and was not put back by `recoveryd restore`: a file of yesterday, which
 * has what was deleted since, and numbers of versions that were used since; or it is new, and the
 * log tells of another. Then the vault is damaged. */
enum status vault_compare(struct vault *vault);
/* The other one is lost, and somebody has said so: from now on this one counts. */
void vault_begin_anew(struct vault *vault);
/* failed_precondition, data_loss: it may not be opened now. Before it was compared it may when it
 * is the store that was served last, in this boot. */
enum status vault_may_open(const struct vault *vault, struct problem *problem);

extern const char vault_master_damaged[]; /* a reason */

/* Seals it because of what was found in its store; health says so. */
void vault_set_damaged(struct vault *vault, const char *reason);

/* Opens with a key-encryption key that came from `source`; in a new vault it makes the master key,
 * wrapped by it (`fresh` has the parameters of a passphrase). Not within a turn. What is refused
 * stands in `problem` and leaves the vault sealed, for that reason. */
enum status vault_unseal(struct vault *vault, struct secret *kek, const struct master_row *fresh,
                         struct problem *problem);
/* not_found: the vault has no master key yet; data_loss: any more. */
enum status vault_master(struct vault *vault, struct master_row *row);
/* Draws another master key and wraps everything anew; `kek` NULL keeps the key-encryption key, and
 * then `fresh` is the row as it is. Not within a turn. */
enum status vault_rekey(struct vault *vault, struct secret *kek, const struct master_row *fresh,
                        struct problem *problem);

/* Before whatever needs a key: failed_precondition while sealed, data_loss while damaged. */
enum status vault_ready(const struct vault *vault, struct problem *problem);

/* Whether one more event may be put, and there is space; otherwise resource_exhausted. */
enum status vault_check_room(struct vault *vault, struct problem *problem);
/* The same for `events`. */
enum status vault_check_room_for(struct vault *vault, uint64_t events, struct problem *problem);

#endif
