#ifndef SOLO_VAULTD_VAULT_H
#define SOLO_VAULTD_VAULT_H

#include "common/access/access.h"
#include "common/api/vault_reasons.h"
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
    enum cipher cipher;               /* of new versions */
    struct buffer row;                /* the version row that is being made: a ciphertext */
    enum vault_reason code;           /* why it is sealed; VAULT_REASONS while it is open */
    char reason[REASON_BYTES_MAX];    /* the same in words, with what it is about */
    bool is_damaged;                  /* for that reason: everything is data_loss */
    bool is_compared;                 /* with the log, since the start */
    bool is_missing;                  /* the log knows of another store, and this one is new */
    char asked_by[CALLER_TEXT_BYTES]; /* who asked for it to be opened or rekeyed; "" itself */
    uint64_t accepted_id; /* up to there the log may tell of other stores than this one */

    uint64_t stored, accessed, denied, rotated, openings; /* since the start */
};

/* Opens store and memory; the vault is sealed afterwards. data_loss, io: see vault_store_open. */
enum status vault_open(struct vault *vault, const struct settings *settings, const char *dir);
void vault_close(struct vault *vault);

/* Forgets the keys, and why is said from now on: `code`, and `detail` ("" for none). Health tells
 * of damage. What is damaged stays so, for the reason that it had, until it was opened. */
void vault_seal(struct vault *vault, enum vault_reason code, const char *detail);
/* The same, and says it to who asked for it to be opened; returns `status`. */
enum status vault_refuse(struct vault *vault, struct problem *problem, enum status status,
                         const char *field, enum vault_reason code, const char *detail);
/* It opens, or begins anew. */
void vault_forget_damage(struct vault *vault);

/* failed_precondition, data_loss: it may not be opened now. Before it was compared it may when it
 * is the store that was served last, in this boot. */
enum status vault_may_open(const struct vault *vault, struct problem *problem);

/* Opens with a key-encryption key that came from `source`; in a new vault it makes the master key,
 * wrapped by it (`fresh` has the parameters of a passphrase). Not within a turn. What is refused
 * stands in `problem` and leaves the vault sealed, for that reason. */
enum status vault_unseal(struct vault *vault, struct secret *kek, const struct master_row *fresh,
                         struct problem *problem);
/* not_found: the vault has no master key yet; data_loss: any more. */
enum status vault_master(struct vault *vault, struct master_row *row);
/* Who sealed it on purpose; not_found: nobody did since it was opened last. */
enum status vault_sealed_by(struct vault *vault, char by[CALLER_TEXT_BYTES]);
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
