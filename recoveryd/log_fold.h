#ifndef SOLO_RECOVERYD_LOG_FOLD_H
#define SOLO_RECOVERYD_LOG_FOLD_H

#include <uthash.h>

#include "common/api/records/event_log.h"

/* What is wanted, folded in memory from the log's first event on: what `live` must be. Each record
 * is checked with its hash and its link to the one before. */
struct folded {
    char key[SERVICE_KEY_BYTES];
    struct live_row row;
    bool is_seen; /* the caller's */
    UT_hash_handle hh;
};

struct log_fold {
    struct folded *services; /* by key; a hash table that is also a list (hh.next) */
    uint64_t next;           /* event */
    struct hash previous;
    struct arena arena;
};

void log_fold_open(struct log_fold *fold);
void log_fold_close(struct log_fold *fold);

/* Folds on to the event `last`, at most `count_max` events. data_loss (logged, with the number):
 * the chain is broken, an event is missing or is not what its type must be. */
enum status log_fold_advance(struct log_fold *fold, struct db_txn *txn, uint64_t last,
                             uint64_t count_max);

/* NULL when the service is not wanted. */
struct folded *log_fold_find(const struct log_fold *fold, const char *key);
/* Puts the list in the order of `live`. */
void log_fold_sort(struct log_fold *fold);

#endif
