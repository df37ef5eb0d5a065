#ifndef SOLO_TENANTD_LOG_FILE_H
#define SOLO_TENANTD_LOG_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/span.h"
#include "tenantd/folder.h"

/* A service's output on disk: NAME.log in the Kubernetes CRI line format,
 *     2026-11-21T20:58:17.123456789Z stdout F text
 * kept below `max_bytes` by moving it to NAME.log.1, NAME.log.2 and so on, `files` files in all. It
 * is open only while a batch is written: an idle service costs no descriptor.
 *
 * Each file has a number (file_number.h), one more than the file before it: who reads them can tell
 * how many it has missed. */
struct log_settings {
    uint64_t max_bytes;
    uint64_t files;
};

enum {
    LOG_BATCH_BYTES = 256 * 1024,
    LOG_HEAD_BYTES = 40, /* of a line: time, stream and flag with their blanks */
};

/* Text that was to be written and was not. */
struct log_lost {
    uint64_t lines, bytes;
};

/* One batch; several files may come and go within it. */
struct log_file {
    const struct folder *folder; /* the tenant's, not owned */
    const char *service;
    struct log_settings settings;
    int fd;
    uint64_t size;   /* of the file, with what is still in the buffer */
    uint8_t *buffer; /* LOG_BATCH_BYTES, shared by all services, not owned */
    size_t used;
    char head[LOG_HEAD_BYTES]; /* of the last line: */
    uint64_t head_ns;          /* its time; 0 for none */
    bool head_is_error, head_is_partial;
    uint64_t number;         /* of the next file; 0 when it has to be looked for */
    int error;               /* not 0: nothing more is written in this batch */
    struct log_lost lost[2]; /* of stdout, of stderr */
    bool is_quiet;           /* the batch before failed as well: its failure was logged */
    bool is_whole;           /* the file ends with a whole line: the batch before has seen to it */
};

void log_file_begin(struct log_file *file, const struct folder *folder, const char *service,
                    const struct log_settings *settings, uint8_t *buffer);
/* `is_error`: of stderr. `head` and `tail` together are the text of one line (the tail
 * may be empty); at most LOG_LINE_BYTES_MAX. `is_partial`: the line goes on in the next one. */
void log_file_line(struct log_file *file, uint64_t wall_ns, bool is_error, bool is_partial,
                   struct span head, struct span tail);
/* Writes what has gathered; false when that, or something before it, could not be written. */
bool log_file_flush(struct log_file *file);
/* Writes what is left and closes; false when something could not be written: `error` says why,
 * `lost` how much. */
bool log_file_end(struct log_file *file);

#endif
