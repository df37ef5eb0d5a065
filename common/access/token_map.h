#ifndef SOLO_COMMON_ACCESS_TOKEN_MAP_H
#define SOLO_COMMON_ACCESS_TOKEN_MAP_H

#include <ev.h>

#include "common/access/access.h"
#include "common/api/records/token_clock.h"
#include "common/db/table.h"

/* tokend's store, mapped by the process that verifies: a check is one SHA-256 and one look-up, no
 * call, and works while tokend is down. Each check reads the newest commit, so a revocation counts
 * from its acknowledgement on. The file may be replaced under us (restored, set aside): the first
 * check of each turn of the loop looks, and opens the new one. Without a store every token is
 * refused; a damaged row is data_loss, never a token that is not there. */
struct token_map {
    struct db own;
    struct db *db;              /* `own`, or tokend's; NULL while there is none */
    bool is_attached;           /* tokend's */
    struct table_cursor cursor; /* kept from check to check */
    bool is_checked;            /* in this turn of the loop: the same file as opened */
    enum status failure;        /* of the last attempt to open it ... */
    uint64_t retry_ns;          /* ... which is not repeated before this, in boottime */
    struct token_anchor anchor; /* as of transaction anchor_txn */
    size_t anchor_txn;
    struct token_anchor first; /* as of the first look, while `anchor` is of another boot */
    struct token_time time;
    struct ev_loop *loop;
    struct ev_prepare turn_end;
    struct token_verifier verifier; /* for struct access */
    char dir[4096];
};

/* `dir` need not exist. Nothing is opened yet. */
enum status token_map_open(struct token_map *map, struct ev_loop *loop, const char *dir);
/* In tokend, which has the store open: LMDB does not take the same file twice in one process. */
enum status token_map_attach(struct token_map *map, struct db *db);
void token_map_close(struct token_map *map);

/* Begins a short read transaction of the store and tells the trusted time. not_found without a
 * store. The caller ends it with db_end. */
enum status token_map_begin(struct token_map *map, struct db_txn *txn, uint64_t *now_ns);

#endif
