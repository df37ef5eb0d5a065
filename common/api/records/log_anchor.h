#ifndef SOLO_COMMON_API_RECORDS_LOG_ANCHOR_H
#define SOLO_COMMON_API_RECORDS_LOG_ANCHOR_H

#include "common/base/hash.h"
#include "common/base/status.h"

/* An anchor names an event that the log has on disk: others keep the newest one they were told of,
 * so that a log that does not have it any more is known to be an older copy, or to have lost its
 * end. tokend and vaultd keep theirs in the commits that they make anyway, eventd one in a file
 * beside its store. An anchor never names what is not synced yet: a power cut contradicts none. */

struct log_anchor {
    uint8_t branch[16]; /* of the log when it was told: log_branch.h */
    uint64_t id;        /* 0: none */
    struct hash hash;
};

enum { LOG_ANCHOR_BYTES = 16 + 8 + HASH_BYTES };

/* As it travels and is kept. */
void log_anchor_pack(const struct log_anchor *anchor, uint8_t bytes[LOG_ANCHOR_BYTES]);
/* False when they are no anchor's. */
bool log_anchor_unpack(struct span bytes, struct log_anchor *anchor);

/* The file beside the store, DATA/events.anchor: two places that are written in turn, so that one
 * of them is whole whatever a power cut does to the other. */
#define LOG_ANCHOR_FILE "events.anchor"
enum { LOG_ANCHOR_PLACE_BYTES = 512, LOG_ANCHOR_PLACES = 2 };

/* What stands in the newest whole place; an anchor of 0 when there is none, or no file. */
enum status log_anchor_file_read(const char *path, struct log_anchor *anchor, uint64_t *sequence);
/* Into the place of that number; not synced. */
enum status log_anchor_file_write(int fd, const struct log_anchor *anchor, uint64_t sequence);

#endif
