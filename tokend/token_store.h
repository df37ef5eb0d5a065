#ifndef SOLO_TOKEND_TOKEN_STORE_H
#define SOLO_TOKEND_TOKEN_STORE_H

#include "common/access/store_voucher.h"
#include "common/api/records/token_clock.h"
#include "common/api/records/token_record.h"
#include "common/base/buffer.h"
#include "common/db/db.h"
#include "common/db/requests.h"
#include "common/outbox/outbox.h"

/* The tokens and their indexes, as their one writer has them, with the clock that they expire by
 * and the outbox of their events. A turn of the loop is one transaction: begin, any number of
 * changes, commit. The time stands still within a turn. */
struct token_store {
    struct db db;
    struct db_txn txn; /* of this turn */
    bool in_turn;
    struct store_voucher voucher; /* what verifiers believe */
    uint64_t last_txn;            /* that we have committed */
    struct outbox outbox;
    struct buffer row;           /* the record that is being packed */
    struct token_anchor anchor;  /* as it stands in the store */
    struct token_anchor turning; /* as this turn leaves it */
    struct token_time time;
    uint64_t now_ns;       /* trusted time of the turn, or of token_store_look */
    unsigned requests_put; /* within the turn */
    struct uuid forgotten; /* see requests_forgotten */
    uint64_t restored;     /* tokens found at the start */
    bool is_new;           /* nobody has had it open before */
    bool is_of_boot;       /* it lies in RUN: its tokens end with the boot, which nobody tells */

    /* since the start */
    uint64_t persisted, renewed, revoked, expired, commits, repeats;
    const char *withheld; /* why no token of it is ever believed; NULL: no reason */
};

/* Opens DIR, creates it when there is none; decides with which time this boot goes on, and whether
 * verifiers may believe it already (see store_voucher.h). data_loss: it is damaged and was not
 * touched. The outbox is opened by token_store_open_outbox. */
enum status token_store_open(struct token_store *store, const char *dir, const char *run_dir);
/* It was compared with the log: from now on it is believed. */
void token_store_vouch(struct token_store *store);
bool token_store_is_vouched(const struct token_store *store);
/* `compare` as in outbox_options, with `context`; NULL for none. */
enum status token_store_open_outbox(struct token_store *store, struct ev_loop *loop,
                                    const char *eventd_path, struct span run_key,
                                    void (*compare)(void *context, uint64_t known_id),
                                    void *context);
void token_store_close(struct token_store *store);
/* With the clean flag, after everything was committed. */
enum status token_store_close_cleanly(struct token_store *store);

enum status token_store_begin(struct token_store *store);
/* resource_exhausted: nothing of the turn happened. unknown: stop, see db_commit. */
enum status token_store_commit(struct token_store *store);
void token_store_abort(struct token_store *store);
/* Something after the first write of a request has failed: the turn must not be committed. */
void token_store_spoil(struct token_store *store, enum status status);

/* Trusted time outside of a turn. */
uint64_t token_store_now(struct token_store *store);
/* In a turn: an operator's or the kernel's word that the wall clock is right. False when it was
 * not suspect. */
enum status token_store_trust_clock(struct token_store *store, bool *was_suspect);

/* By its hash, or by its accessor, in a transaction of this store; not_found when there is none.
 * An index that names no token is data_loss. The record points into the map. */
enum status token_find(struct db_txn *txn, const struct hash *hash, struct token_record *record);
enum status token_find_accessor(struct db_txn *txn, const struct uuid *accessor, struct hash *hash,
                                struct token_record *record);

/* Whether this hash was a token that was revoked lately. */
enum status token_was_revoked(struct db_txn *txn, const struct hash *hash, bool *was_revoked);

/* Within the turn. Adding a child also counts it with the token it descends from. */
enum status token_add(struct token_store *store, const struct hash *hash,
                      const struct token_record *record);
/* The same token with another end. */
enum status token_replace(struct token_store *store, const struct hash *hash,
                          const struct token_record *before, const struct token_record *after);
/* With all its rows; those of its children stay. */
enum status token_remove(struct token_store *store, const struct hash *hash,
                         const struct token_record *record);
/* So that it cannot be granted again for as long as requests are kept. */
enum status token_mark_revoked(struct token_store *store, const struct hash *hash);
enum status token_forget_revoked(struct token_store *store, const struct hash *hash);

/* Descendants of a granted token, of all depths. */
enum status token_count_descendants(struct db_txn *txn, const struct hash *root, uint64_t *count);
/* Its children: appends up to `count_max` hashes, sets *count to how many there are now.
 * resource_exhausted past it. */
enum status token_children(struct db_txn *txn, const struct hash *parent, struct hash *children,
                           size_t count_max, size_t *count);

/* Rows that count towards TOKENS_MAX. */
enum status token_count(struct db_txn *txn, uint64_t *tokens, uint64_t *revoked);

/* When it was used last, in minutes since 1970; 0 for never as far as is known. */
enum status token_used(struct db_txn *txn, const struct uuid *accessor, uint64_t *minute);
/* Only ever later. */
enum status token_set_used(struct token_store *store, const struct uuid *accessor, uint64_t minute);

/* A key of by_expiry, and what stands there. */
enum { EXPIRY_KEY_BYTES = 8 + HASH_BYTES };
#define EXPIRY_OF_TOKEN   "t"
#define EXPIRY_OF_REVOKED "r"
void expiry_key(uint8_t key[EXPIRY_KEY_BYTES], uint64_t time_ns, const struct hash *hash);
bool expiry_key_read(struct span key, uint64_t *time_ns, struct hash *hash);

/* Whether it is still the file, and the state of it, that we have left. unavailable: it is not, and
 * nothing is written any more (db_fail_replaced): what is committed to a file that nobody finds
 * after a restart is not kept. The next tokend opens what lies there now, and compares it with the
 * log. */
enum status token_store_check_in_place(struct token_store *store);

/* Every 10 s: slots of dead readers, requests that are too old, the clock. Not within a turn. */
enum status token_store_tidy(struct token_store *store);

#endif
