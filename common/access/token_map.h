#ifndef SOLO_COMMON_ACCESS_TOKEN_MAP_H
#define SOLO_COMMON_ACCESS_TOKEN_MAP_H

#include "common/access/access.h"
#include "common/access/store_voucher.h"
#include "common/access/voucher_view.h"
#include "common/api/records/token_clock.h"
#include "common/db/table.h"

/* tokend's store, mapped by the process that verifies: a check is one SHA-256 and one look-up, no
 * call of anybody, the kernel included, and works while tokend is down. Each check reads the newest
 * commit of the file that tokend vouches for, so a revocation counts from its acknowledgement on,
 * also when another file was put in its place. While tokend vouches for none every token is
 * `unavailable`; a damaged row is data_loss, never a token that is not there. */
struct token_map {
    struct db own;
    struct db *db; /* `own`, or tokend's; NULL while there is none */
    struct voucher_view view;
    const struct store_voucher *owner; /* tokend's; NULL elsewhere, where `view` counts */
    uint64_t mapped, number;           /* of the voucher by which `own` was opened */
    struct db_txn txn;                 /* of the check that is under way */
    struct table_cursor cursor;        /* kept from check to check */
    uint64_t retry_ns, retry_number;   /* not opened again by this voucher before this time */
    enum status failure;               /* until then */
    struct token_anchor anchor;        /* as of transaction anchor_txn, */
    uint8_t id[VOUCHER_ID_BYTES];      /* which was looked at by a page with this one */
    size_t anchor_txn;
    struct token_time time;
    struct token_verifier verifier; /* for struct access */
    char dir[4096];
};

/* `dir` need not exist. Nothing is opened yet. */
enum status token_map_open(struct token_map *map, const char *dir, const char *run_dir);
/* In tokend, which has the store open: LMDB does not take the same file twice in one process. A
 * store that is not the one that was answered from is failed (db_fail_replaced). */
enum status token_map_attach(struct token_map *map, struct db *db,
                             const struct store_voucher *voucher);
void token_map_close(struct token_map *map);

#endif
