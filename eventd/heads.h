#ifndef SOLO_EVENTD_HEADS_H
#define SOLO_EVENTD_HEADS_H

#include "common/api/records/event_log.h"

/* The newest event of each tenant, type and subject, as eventd has them in memory: it is the only
 * writer, so what it wrote it may remember. They are changed here and written late, each once
 * however often it changed. */

enum { HEAD_SLOTS = 4096, HEAD_CHOICES = 8 };

struct head_slot {
    uint8_t key[HEAD_KEY_BYTES];
    uint8_t key_size; /* 0: free */
    bool is_dirty;
    uint64_t hash; /* of the key */
    uint64_t id;
};

/* A bounded cache; what falls out of it is in the table. */
struct heads {
    struct head_slot *slots;
    uint16_t dirty[HEAD_SLOTS];
    size_t dirty_count;
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
};

enum status heads_init(struct heads *heads);
void heads_reset(struct heads *heads);

/* Makes `id` the head and returns the one before, 0 for none. */
enum status heads_advance(struct heads *heads, struct db_txn *txn, enum head_kind kind,
                          const char *text, uint64_t id, uint64_t *previous);
/* Writes what changed into the transaction. */
enum status heads_write(struct heads *heads, struct db_txn *txn);
/* Drops everything, what is not written included. */
void heads_forget(struct heads *heads);

#endif
