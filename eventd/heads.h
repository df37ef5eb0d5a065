#ifndef SOLO_EVENTD_HEADS_H
#define SOLO_EVENTD_HEADS_H

#include "common/api/records/event_record.h"
#include "common/db/db.h"

/* The newest event of each tenant, type and subject. Queries start here and follow the back links
 * in the records. Eventd is the only writer, so what it wrote it may remember: heads are changed in
 * memory during a turn and each is written once, before the commit. */

enum head_kind { HEAD_OF_TENANT = 't', HEAD_OF_TYPE = 'y', HEAD_OF_SUBJECT = 's' };

enum { HEAD_SLOTS = 4096, HEAD_KEY_BYTES = 1 + EVENT_SUBJECT_BYTES_MAX };

struct head_slot {
    uint8_t key[HEAD_KEY_BYTES];
    uint8_t key_size; /* 0: free */
    bool is_dirty;
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
/* Writes what changed into the transaction: call it before the commit. */
enum status heads_write(struct heads *heads, struct db_txn *txn);
/* The transaction came to nothing: what was remembered may be wrong. */
void heads_forget(struct heads *heads);

/* From the table, for queries: 0 for none. */
enum status heads_find(struct db_txn *txn, enum head_kind kind, const char *text, uint64_t *id);

#endif
