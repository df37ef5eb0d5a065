#ifndef SOLO_TOKEND_LISTING_H
#define SOLO_TOKEND_LISTING_H

#include "common/api/api.h"
#include "common/base/buffer.h"
#include "tokend/token_store.h"

/* Tokens as they are shown: everything but the token and its hash. */

/* Appends one token_item. */
enum status listing_item(struct db_txn *txn, const struct token_record *record, uint64_t now_ns,
                         struct buffer *items);

/* Items in the order of tenant and grant, until `count_max` or `bytes_max`. `tenant` "" for all;
 * `after` is "" or what `next` was: "TENANT/ACCESSOR" of the last one looked at, "" when nothing is
 * left. What change_is_within keeps from the caller is looked at, counted and not shown.
 * invalid_argument when `after` is nothing of the kind. */
struct listing {
    const struct caller *caller;
    const char *tenant;
    const char *after;
    uint64_t now_ns;
    size_t count_max, bytes_max;
    struct buffer *items;
    size_t looked, count; /* count: of the items */
    char next[TOKEN_AFTER_BYTES_MAX + 1];
};
enum status listing_read(struct db_txn *txn, struct listing *listing);

#endif
