#ifndef SOLO_COMMON_API_RECORDS_LOG_ARCHIVE_H
#define SOLO_COMMON_API_RECORDS_LOG_ARCHIVE_H

#include "common/api/records/log_checkpoint.h"
#include "common/api/records/log_fold.h"

/* A file of events that left the log: their records, byte for byte as they lay in the store, so
 * that a raw scan finds them as it does there, and what all events up to the last come to. Numbers
 * are little-endian, as in a record.
 *
 *   head     0 magic "SoloArc1"  8 log id [16]  24 first number u64  32 hash before the first [32]
 *   records  one behind the other, first to last
 *   state    log_state.h
 *   tail     0 magic "SoloArcE"  8 last number u64  16 bytes of records u64  24 bytes of state u64
 *            32 hash of the last record [32]  64 digest of the state [32]  96 wall ns of the last
 * u64 104 digest of everything before [32]
 *
 * The names of an archive and of its checkpoint say what is in it. */
enum { LOG_ARCHIVE_HEAD_BYTES = 64, LOG_ARCHIVE_TAIL_BYTES = 136 };
#define LOG_ARCHIVE_SUFFIX    ".archive"
#define LOG_CHECKPOINT_SUFFIX ".checkpoint"

enum { LOG_ARCHIVE_NAME_BYTES = 80 };
char *log_archive_name(char name[LOG_ARCHIVE_NAME_BYTES], uint64_t first, uint64_t last,
                       const char *suffix);
/* False when it is not the name of one with this suffix. */
bool log_archive_name_parse(const char *name, const char *suffix, uint64_t *first, uint64_t *last);

/* Where archives lie: `configured` is the setting archive_dir. invalid_argument: not absolute. */
enum status log_archive_folder(char path[4096], const char *data_dir, const char *configured);

/* --- writing --- */

struct log_archive_writer {
    int fd; /* the caller's */
    struct buffer pending;
    struct hash_state digest;
    uint64_t record_bytes;
};

enum status log_archive_begin(struct log_archive_writer *writer, int fd, const uint8_t log_id[16],
                              uint64_t first, const struct hash *before);
enum status log_archive_add(struct log_archive_writer *writer, struct span record);
/* After the last record, whose fold this is. Nothing is synced. */
enum status log_archive_end(struct log_archive_writer *writer, uint64_t last_wall_ns,
                            struct log_fold *fold);
void log_archive_writer_close(struct log_archive_writer *writer);

/* --- reading --- */

struct log_archive {
    int fd; /* owned */
    char path[4096];
    uint8_t log_id[16];
    uint64_t first, last, record_bytes, state_bytes, wall_ns, bytes;
    struct hash before, hash, state, digest;
    struct buffer block; /* what was read and not looked at yet */
    uint64_t offset;     /* of what is to be read next, in the records */
    size_t at;           /* in the block */
    uint64_t next;       /* event */
    struct hash previous;
    bool is_cut; /* it has no end that fits: `last` and what else that says is not known */
};

/* Reads head and tail; takes the descriptor. data_loss (logged): they are not an archive's. */
enum status log_archive_open_fd(struct log_archive *archive, int fd, const char *name);
enum status log_archive_open(struct log_archive *archive, const char *path);
/* The same for who reads what is there, also of one that is cut off (is_cut): behind its last whole
 * record there is data_loss. */
enum status log_archive_open_begun(struct log_archive *archive, const char *path);
void log_archive_close(struct log_archive *archive);

/* The next record, whole and linked to the one before; the span is valid until the next call.
 * not_found (not logged) after the last. */
enum status log_archive_next(struct log_archive *archive, struct span *record);
/* After its data_loss: the next is the first whole one behind. not_found: there is none. */
enum status log_archive_pass(struct log_archive *archive);
/* The state, compared with its digest. */
enum status log_archive_read_state(struct log_archive *archive, struct buffer *state);
/* Everything: the digest of the file, every record and its link, and, with a `fold` that stands
 * before the first event, that the state is what they come to. The fold then stands behind the
 * last. `fold` may be NULL. */
enum status log_archive_verify(struct log_archive *archive, struct log_fold *fold);
/* What a checkpoint says of the file; the rest of it stays as it is. */
void log_archive_describe(const struct log_archive *archive, struct log_checkpoint *checkpoint);
/* Whether the checkpoint is about this file: all that both say is the same. */
enum status log_archive_fits(const struct log_archive *archive,
                             const struct log_checkpoint *checkpoint);

#endif
