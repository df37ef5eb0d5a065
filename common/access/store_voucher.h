#ifndef SOLO_COMMON_ACCESS_STORE_VOUCHER_H
#define SOLO_COMMON_ACCESS_STORE_VOUCHER_H

#include "common/base/clock.h"
#include "common/db/db.h"

/* What the owner of a store vouches for, in a page of RUN: which file is its store, which of its
 * processes wrote it last, and the number of its last commit that was answered. An older copy, put
 * back, is another file, or was written last by another process, or has lost a commit; so are all
 * files in another boot.
 *
 * The owner gives it for a store when that was the one it vouched for before, in the same boot, and
 * has lost no commit since; or when it was compared with the log. Until then it is withdrawn. So a
 * restart with an unchanged store needs no log, and an older copy serves nobody before the log has
 * told what happened since. A page that was being written when its owner was killed vouches for
 * nothing.
 *
 * Each process of the owner draws an id and writes it into the store with its first commit, and
 * before that into the page. So two copies that went on apart are told from each other, whatever
 * their numbers are, and a page that could not be written or withdrawn fits the store no more.
 *
 * tokens.voucher is also read by those who verify tokens (voucher_view.h): they believe no other
 * file and no state that is older, so a revocation counts from its answer on whatever lies in DATA
 * by then. While it is withdrawn every check is `unavailable`. A store that was made just now is
 * vouched for at once; one without tokens is not: what was revoked could be granted again there.
 *
 * They map the page, which is therefore written in its place for the whole boot. Only when it
 * cannot be (somebody removed or moved it) another one is made: an old one in reach says that it is
 * withdrawn, and of one that is not store_voucher_settle waits until nobody looks at it any more.
 *
 * By vault.voucher vaultd opens its store while eventd is away. */

#define TOKENS_VOUCHER "tokens.voucher"
#define VAULT_VOUCHER  "vault.voucher"

enum {
    VOUCHER_ID_BYTES = 16,
    VOUCHER_LOOK_MS = 10, /* for this long who has mapped a page takes it for the one in RUN */
};

struct store_voucher_page {
    char magic[8];
    char boot_id[BOOT_ID_BYTES];
    uint8_t id[VOUCHER_ID_BYTES], next_id[VOUCHER_ID_BYTES]; /* the store has either */
    uint8_t unused[3];                                       /* so that nothing is padding */
    uint64_t device, inode, born_ns;
    uint64_t txn;
    uint64_t number; /* odd while nothing is vouched for and while the page changes */
};
_Static_assert(sizeof(struct store_voucher_page) == 120, "compared as bytes");

/* Of the owner. */
struct store_voucher {
    bool is_open;
    int fd; /* -1: the page could not be written */
    struct store_voucher_page page;
    uint64_t left_ns; /* when a page was left that may still be believed; 0: there is none */
    char boot_id[BOOT_ID_BYTES];
    char path[4096];
};

/* Takes up RUN/FILE_NAME, or makes it. What fails is logged: then the owner goes on as ever, and
 * nobody else believes the store, until store_voucher_keep could make it. */
void store_voucher_make(struct store_voucher *voucher, const char *run_dir, const char *file_name,
                        const char *boot_id);
/* Whether it was given for this store as it was found, or for a state of it before that. Otherwise
 * it is withdrawn. Before the first commit. */
bool store_voucher_covers(struct store_voucher *voucher, struct db *db);
/* In the first commit: draws the id of this process. */
enum status store_voucher_start(struct store_voucher *voucher, struct db_txn *txn);
/* After the first commit. */
void store_voucher_give(struct store_voucher *voucher, const struct db *db);
void store_voucher_withdraw(struct store_voucher *voucher);
/* After each commit, before anybody is answered. */
void store_voucher_advance(struct store_voucher *voucher, uint64_t txn);
/* After that, where others verify by it: waits, VOUCHER_LOOK_MS at most, when a page was left that
 * could not be withdrawn. That is so at the first start of a boot, where as a rule the time has
 * passed by then, and when somebody meddles with RUN. */
void store_voucher_settle(struct store_voucher *voucher);
/* From time to time: makes the page again that was removed, cut or written over, or could not be
 * written. */
void store_voucher_keep(struct store_voucher *voucher);
bool store_voucher_is_given(const struct store_voucher *voucher);
/* Whether others can read it. */
bool store_voucher_is_written(const struct store_voucher *voucher);

void store_voucher_close(struct store_voucher *voucher);

/* --- what a page says --- */

/* Whether it is about the file that is open in `db`. */
bool store_voucher_names(const struct store_voucher_page *page, const struct db *db);
/* Whether the store, as the transaction sees it, was written last by whom the page names. */
bool store_voucher_fits(const struct store_voucher_page *page, struct db_txn *txn);
/* Whether it is whole, of this boot, and not withdrawn. */
bool store_voucher_holds(const struct store_voucher_page *page, const char *boot_id);

#endif
