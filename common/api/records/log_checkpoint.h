#ifndef SOLO_COMMON_API_RECORDS_LOG_CHECKPOINT_H
#define SOLO_COMMON_API_RECORDS_LOG_CHECKPOINT_H

#include "common/api/records/log_key.h"
#include "common/base/buffer.h"
#include "common/base/hash.h"

/* What is said, and signed, of an archive of the log when the events in it may go: text, one
 * "name value" a line in this order, so that it can be read and checked without Solo (the signature
 * is Ed25519's, detached, of the bytes of all lines before it). It stands beside the archive and in
 * the event store. */
struct log_checkpoint {
    uint8_t store[16], incarnation[16], branch[16];
    uint64_t first, last; /* the archive's events */
    struct hash before;   /* hash of the event before the first; zero for event 1 */
    struct hash hash;     /* of the last */
    uint64_t wall_ns;     /* of the last */
    struct hash state;    /* of what the events up to the last come to (log_state.h) */
    uint64_t bytes;       /* of the archive */
    struct hash archive;  /* digest of the whole file */
    struct hash previous; /* digest of the checkpoint before this one; zero for the first */
    uint64_t signed_ns;   /* wall clock */
    uint8_t key[LOG_PUBLIC_BYTES];
};

enum { LOG_CHECKPOINT_BYTES_MAX = 2048 };

/* Fills `key` and signs. */
enum status log_checkpoint_sign(struct log_checkpoint *checkpoint,
                                const uint8_t public_key[LOG_PUBLIC_BYTES],
                                const uint8_t secret[LOG_SECRET_BYTES], struct buffer *text);
/* data_loss (logged with `name`): not one, or its signature is not that of the key that it names.
 * Whether that is the right key the caller asks. */
enum status log_checkpoint_read(struct span text, const char *name,
                                struct log_checkpoint *checkpoint);

#endif
