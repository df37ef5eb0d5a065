#ifndef SOLO_COMMON_API_RECORDS_LOG_FOLD_H
#define SOLO_COMMON_API_RECORDS_LOG_FOLD_H

#include <uthash.h>

#include "common/api/records/event_log.h"

/* What follows from a log, folded in memory: what `live` and `tenants` must be. It begins at the
 * log's first event, or with the state that stands for those that were archived. Each record is
 * checked with its hash and its link to the one before. */
struct folded {
    char key[SERVICE_KEY_BYTES];
    struct live_row row;
    uint64_t newest; /* event about it */
    bool is_seen;    /* the caller's */
    UT_hash_handle hh;
};

struct folded_tenant {
    char name[NAME_BYTES_MAX + 1];
    struct tenant_row row;
    UT_hash_handle hh;
};

struct log_fold {
    struct folded *services;       /* by key; a hash table that is also a list (hh.next) */
    struct folded_tenant *tenants; /* by name */
    uint64_t newest[EVENT_TYPES];  /* event of each of Solo's types; 0 for none */
    uint64_t next;                 /* event */
    struct hash previous;
    uint64_t unproven_to; /* the caller's: another process hashes the records up to this one */
    struct arena arena;
};

/* At event 1. */
void log_fold_open(struct log_fold *fold);
void log_fold_close(struct log_fold *fold);
/* Of a log that is open: at the first event that it has. */
enum status log_fold_open_at_cut(struct log_fold *fold, struct db_txn *txn);

/* The next event, whose record was checked. data_loss (logged, with the number): it does not follow
 * the one before, or is not what its type must be. */
enum status log_fold_take(struct log_fold *fold, const struct event *event);
/* Folds on to the event `last`, at most `count_max` events. data_loss: also when one is missing. */
enum status log_fold_advance(struct log_fold *fold, struct db_txn *txn, uint64_t last,
                             uint64_t count_max);

/* NULL when the service is not wanted. */
struct folded *log_fold_find(const struct log_fold *fold, const char *key);
/* Puts the lists in the order of their tables. */
void log_fold_sort(struct log_fold *fold);
/* Writes `live` and `tenants` as they must be; both are empty. */
enum status log_fold_write(const struct log_fold *fold, struct db_txn *txn);

/* For log_state: of a fold that is at its beginning. */
enum status log_fold_put_service(struct log_fold *fold, const char *key,
                                 const struct live_row *row);
enum status log_fold_put_tenant(struct log_fold *fold, const char *name,
                                const struct tenant_row *row);

#endif
