#ifndef SOLO_COMMON_ACCESS_STORE_VOUCHER_H
#define SOLO_COMMON_ACCESS_STORE_VOUCHER_H

#include "common/base/clock.h"
#include "common/db/db.h"

/* What the owner of a store vouches for, in a page of RUN: which file is its store, and the number
 * of its last commit that was answered. An older copy, put back, is another file, or has lost a
 * commit; so are all files in another boot.
 *
 * The owner gives it for a file when that was the one it vouched for before, in the same boot, and
 * has lost no commit since; or when it was compared with the log. Until then it is withdrawn. So a
 * restart with an unchanged store needs no log, and an older copy serves nobody before the log has
 * told what happened since. A page that was being written when its owner was killed vouches for
 * nothing.
 *
 * tokens.voucher is also mapped by those who verify tokens: they believe no other file and no state
 * that is older, so a revocation counts from its answer on whatever lies in DATA by then. While it
 * is withdrawn every check is `unavailable`. A store that was made just now is vouched for at once;
 * one without tokens is not: what was revoked could be granted again there.
 *
 * By vault.voucher vaultd opens its store while eventd is away. */

#define TOKENS_VOUCHER "tokens.voucher"
#define VAULT_VOUCHER  "vault.voucher"

struct store_voucher_page;
struct store_voucher {
    struct store_voucher_page *page; /* NULL while there is none */
    int fd;                          /* of it, while there is one */
    char path[4096];
    char boot_id[BOOT_ID_BYTES];
};

/* --- the owner --- */

/* Makes RUN/FILE_NAME, or maps the one that is there. */
enum status store_voucher_make(struct store_voucher *voucher, const char *run_dir,
                               const char *file_name, const char *boot_id);
/* Whether it was given for this store as it was found, or for a state of it before that. */
bool store_voucher_covers(const struct store_voucher *voucher, const struct db *db);
void store_voucher_give(struct store_voucher *voucher, const struct db *db);
void store_voucher_withdraw(struct store_voucher *voucher);
/* Every 10 s: when somebody has removed the file of the page, makes another that says the same. */
enum status store_voucher_keep(struct store_voucher *voucher, const struct db *db);
/* After each commit of the store it was given for, before anybody is answered. */
void store_voucher_advance(struct store_voucher *voucher, uint64_t txn);

/* --- verifiers --- */

/* not_found, not logged, while its owner has made none. */
enum status store_voucher_open(struct store_voucher *voucher, const char *run_dir,
                               const char *file_name, const char *boot_id);
void store_voucher_close(struct store_voucher *voucher);
/* Somebody has removed the file: what the page says is old, and its owner writes to another. */
bool store_voucher_is_gone(const struct store_voucher *voucher);

/* Another one each time another file is vouched for; 0 while none is. */
uint64_t store_voucher_number(const struct store_voucher *voucher);
/* Whether `number` was given for the file that is open in `db`. */
bool store_voucher_names(const struct store_voucher *voucher, uint64_t number, const struct db *db);
/* The last commit that was answered: to be read before the transaction is begun. */
uint64_t store_voucher_txn(const struct store_voucher *voucher);

#endif
