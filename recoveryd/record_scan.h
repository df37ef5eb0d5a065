#ifndef SOLO_RECOVERYD_RECORD_SCAN_H
#define SOLO_RECOVERYD_RECORD_SCAN_H

#include "common/api/records/event_record.h"
#include "common/api/records/log_anchor.h"

/* Event records in files that need not be stores any more: each is found by its magic and believed
 * by its hash, wherever it lies but within another one: there it is what somebody put into an
 * event. Those of one log that link to each other from event 1 on are the chain. Whoever can write
 * such bytes can give them a right hash, too, and a branch that was given up has true ones: of
 * several stories that which has the event that the witness names is taken, and none that has
 * another one in its place before one that ends earlier; then what lies in the log's own file. */

enum { SCAN_FILES_MAX = 128 * 1024 };

struct scanned {
    uint64_t id;
    struct hash hash, previous;
    uint8_t log_id[16];
    uint64_t epoch;
    uint64_t offset;
    uint32_t length;
    uint32_t file;
    /* The best story that begins here: what the witness says of it, and its end, by its last epoch
     * and its last number. */
    enum { SCAN_CONTRADICTED, SCAN_UNTOLD, SCAN_WITNESSED } standing;
    uint64_t last_epoch, last_id;
    bool has_own; /* something of it lies in the log's own file */
};

struct scanned_file {
    char *path;
    bool has_records;
    uint8_t log_id[16]; /* of the first */
};

struct record_scan {
    struct scanned_file *files;
    unsigned file_count;
    bool has_own; /* the first file is the log's own */
    int fd;       /* of the one that is open */
    unsigned opened;
    uint64_t record_end;       /* of the last one that was found in it */
    struct log_anchor witness; /* of the log, from elsewhere; an id of 0: there is none */
    struct scanned *records;   /* by number, each hash once */
    size_t count, capacity;
    uint8_t log_id[16];
    size_t *chain; /* places in records; chain[i] is event i + 1 */
    size_t chain_count;
    uint64_t last_id; /* the greatest number that any record has */
    uint64_t unreadable_bytes;
    struct buffer record; /* the one that was read last */
};

#define RECORD_SCAN_INIT                                                                           \
    {                                                                                              \
        .fd = -1, .record = {.limit = EVENT_RECORD_BYTES_MAX }                                     \
    }

/* Reads a whole file. A block that the disk does not give is passed over, and counted. */
enum status record_scan_file(struct record_scan *scan, const char *path);
/* After all files: the log (that of the witness, else the one with most records in its own file, or
 * in all when that has none) and its chain. */
enum status record_scan_link(struct record_scan *scan);
/* Whether the chain has another event in the place of the one that the witness names. */
bool record_scan_is_contradicted(const struct record_scan *scan);
/* Whether a file is of another log. */
bool record_scan_is_foreign(const struct record_scan *scan, unsigned file);
/* The bytes of one, in scan->record, checked again. */
enum status record_scan_read(struct record_scan *scan, const struct scanned *scanned,
                             struct span *record);
void record_scan_close(struct record_scan *scan);

#endif
