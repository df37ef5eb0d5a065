#ifndef SOLO_EVENTD_HEADS_H
#define SOLO_EVENTD_HEADS_H

#include "common/api/records/event_log.h"

/* The newest event of each tenant, type and subject, as eventd has them in memory: it is the only
 * writer, so what it wrote it may remember. They are changed here and written late, each once
 * however often it changed. */

enum { HEAD_SLOTS = 4096, HEAD_CHOICES = 8 };

struct head_slot {
    uint64_t id;        /* the newest, that of a turn under way included */
    uint64_t committed; /* the newest that readers see */
    uint8_t key_size;   /* 0: free */
    bool is_dirty;
    uint8_t key[HEAD_KEY_BYTES];
};

/* A bounded cache; what falls out of it is in the table. */
struct heads {
    struct head_slot *slots;
    uint64_t *hashes; /* of each slot's key: those that a key may choose from stand together */
    uint16_t dirty[HEAD_SLOTS];
    size_t dirty_count;
    bool is_ahead; /* a slot was written and given up in the turn under way: readers find neither */
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
};

enum status heads_init(struct heads *heads);
void heads_reset(struct heads *heads);

/* Makes `id` the head and returns the one before, 0 for none. `committed_id` is the end of the log
 * as readers see it. */
enum status heads_advance(struct heads *heads, struct db_txn *txn, enum head_kind kind,
                          const char *text, uint64_t id, uint64_t committed_id, uint64_t *previous);
/* As event_log_head, for a reader whose log ends at `committed_id`, with one look instead of one at
 * each late event. Only while these have every event that the table lacks, and are not ahead. */
enum status heads_find(const struct heads *heads, struct db_txn *txn, enum head_kind kind,
                       const char *text, uint64_t committed_id, uint64_t *id);
/* Writes what changed into the transaction. */
enum status heads_write(struct heads *heads, struct db_txn *txn);
/* Drops everything, what is not written included. */
void heads_forget(struct heads *heads);

#endif
