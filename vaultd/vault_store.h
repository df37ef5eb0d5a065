#ifndef SOLO_VAULTD_VAULT_STORE_H
#define SOLO_VAULTD_VAULT_STORE_H

#include "common/access/store_voucher.h"
#include "common/db/db.h"
#include "common/db/requests.h"
#include "common/outbox/outbox.h"

/* The vault's store as its one writer has it, with the outbox of its events. A turn of the loop is
 * one transaction: begin, any number of changes, commit. What is in the rows is of no interest
 * here. */
struct vault_store {
    struct db db;
    struct db_txn txn; /* of this turn */
    bool in_turn;
    struct outbox outbox;
    struct store_voucher voucher; /* by which it may be served while eventd is away */
    uint64_t last_txn;            /* of our own last commit, by the file itself */
    bool is_marked;               /* our id is in it, see store_voucher_start */
    unsigned requests_put;        /* within the turn */
    struct uuid forgotten;        /* see requests_forgotten */
    uint64_t commits, repeats;    /* since the start */
};

/* Opens DIR, creates it when there is none, and finds out whether it is what we left in this boot.
 * data_loss: it is damaged and was not touched. The outbox is opened by vault_store_open_outbox. */
enum status vault_store_open(struct vault_store *store, const char *dir, const char *run_dir);
/* It is what we left in this boot, or was compared with the log: it is no older copy. */
bool vault_store_is_vouched(const struct vault_store *store);
/* `compare` as in outbox_options, with `context`; NULL: there is nothing to compare. */
enum status vault_store_open_outbox(struct vault_store *store, struct ev_loop *loop,
                                    const char *eventd_path, struct span run_key,
                                    void (*compare)(void *context, uint64_t known_id),
                                    void *context);
void vault_store_close(struct vault_store *store);
/* With the clean flag, after everything was committed. */
enum status vault_store_close_cleanly(struct vault_store *store);

/* unavailable: it is not the file, or not the state of it, that we have left. Then nothing is read
 * or written any more, nobody vouches for it, and the process ends (db_fail_replaced). So does
 * vault_store_look, and vault_store_commit commits nothing. */
enum status vault_store_begin(struct vault_store *store);
/* resource_exhausted: nothing of the turn happened. unknown: stop, see db_commit. */
enum status vault_store_commit(struct vault_store *store);
void vault_store_abort(struct vault_store *store);
/* Something after the first write of a request has failed: the turn must not be committed. */
void vault_store_spoil(struct vault_store *store, enum status status);

/* A snapshot. Outside of a turn, or of the last commit within one. */
enum status vault_store_look(struct vault_store *store, struct db_txn *txn);

/* Every 10 s: slots of dead readers, requests that are too old. Not within a turn. */
enum status vault_store_tidy(struct vault_store *store);

#endif
