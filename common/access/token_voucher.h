#ifndef SOLO_COMMON_ACCESS_TOKEN_VOUCHER_H
#define SOLO_COMMON_ACCESS_TOKEN_VOUCHER_H

#include "common/base/clock.h"
#include "common/db/db.h"

/* What tokend vouches for, in a page of RUN that verifiers map: which file holds the tokens, and
 * the number of its last commit that was answered. Verifiers believe no other file, and no state
 * that is older, so a revocation counts from its answer on whatever lies in DATA by then.
 *
 * tokend gives it for a file when that was the one it vouched for before, in the same boot, and has
 * lost no commit since; when it holds no token; or when it was compared with the log. Until then it
 * is withdrawn, and every check is `unavailable`. So an older copy, put back, is believed by nobody
 * before the log has told what ended since, while a restart of tokend needs no log. A page of
 * another boot, or one that tokend was writing when it was killed, vouches for nothing. */

struct token_voucher_page;
struct token_voucher {
    struct token_voucher_page *page; /* NULL while there is none */
    char boot_id[BOOT_ID_BYTES];
};

/* --- tokend --- */

/* Makes RUN/tokens.voucher, or maps the one that is there. */
enum status token_voucher_make(struct token_voucher *voucher, const char *run_dir,
                               const char *boot_id);
/* Whether it was given for this store as it was found, or for a state of it before that. */
bool token_voucher_covers(const struct token_voucher *voucher, const struct db *db);
void token_voucher_give(struct token_voucher *voucher, const struct db *db);
void token_voucher_withdraw(struct token_voucher *voucher);
/* After each commit of the store it was given for, before anybody is answered. */
void token_voucher_advance(struct token_voucher *voucher, uint64_t txn);

/* --- verifiers --- */

/* not_found, not logged, while tokend has made none. */
enum status token_voucher_open(struct token_voucher *voucher, const char *run_dir,
                               const char *boot_id);
void token_voucher_close(struct token_voucher *voucher);

/* Another one each time another file is vouched for; 0 while none is. */
uint64_t token_voucher_number(const struct token_voucher *voucher);
/* Whether `number` was given for the file that is open in `db`. */
bool token_voucher_names(const struct token_voucher *voucher, uint64_t number, const struct db *db);
/* The last commit that was answered: to be read before the transaction is begun. */
uint64_t token_voucher_txn(const struct token_voucher *voucher);

#endif
