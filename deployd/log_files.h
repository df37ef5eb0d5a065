#ifndef SOLO_DEPLOYD_LOG_FILES_H
#define SOLO_DEPLOYD_LOG_FILES_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/base/name.h"
#include "common/base/status.h"
#include "deployd/log_line.h"

/* The kept output of one service, read across its files while tenantd goes on writing and moving
 * them: NAME.log is the newest, NAME.log.1 the one before, and so on. Lines come oldest first; a
 * file is known by its inode, so that moving it loses and repeats nothing. Files that were removed
 * before they were read are told of in a note: each has a number (file_number.h); without one it is
 * not known whether there were any. */

enum {
    LOG_FILES_MAX = 1024,
    LOG_BLOCK_BYTES = 64 * 1024, /* read at once; holds the longest line */
};

struct log_filter {
    uint64_t since_ns;
    bool only_output, only_errors;
};

struct log_files {
    int directory; /* owned */
    char service[NAME_BYTES_MAX + 1];
    struct log_filter filter;
    int fd; /* the file being read, owned; -1 for none */
    ino_t inode;
    off_t offset;        /* of the block's first byte */
    uint8_t *block;      /* LOG_BLOCK_BYTES, owned */
    size_t filled, read; /* bytes in the block, and those handed out */
    uint64_t last_ns;    /* time of the line that was handed out last */
    bool has_note;       /* the next line to hand out is a note, `note` its text */
    char note[96];

    /* log_files_seek_last, in progress */
    bool is_seeking;
    uint64_t wanted, counted; /* whole lines from the end */
    unsigned file_number;
};
#define LOG_FILES_NONE ((struct log_files){ .directory = -1, .fd = -1 })

/* not_found when there is no output (or no such directory). Stands before the oldest line. */
enum status log_files_open(struct log_files *files, const char *directory, const char *service,
                           const struct log_filter *filter);
void log_files_close(struct log_files *files);

/* Their folder was removed, or never was there. Then a follower is told so, by a note that is the
 * next line, and once it has read what it still can the folder is opened anew: not_found until it
 * is there again. */
bool log_files_is_lost(const struct log_files *files);
void log_files_tell_lost(struct log_files *files);
enum status log_files_reopen(struct log_files *files, const char *directory);

/* Moves to the last `count` whole lines that pass the filter, looking at no more than `bytes_max`
 * bytes of the files at a time: unavailable means call again. */
enum status log_files_seek_last(struct log_files *files, uint64_t count);
enum status log_files_seek_step(struct log_files *files, size_t bytes_max);

/* The next line that passes the filter; its text lives until the next call. not_found: no more for
 * now. unavailable: `*bytes_left` were looked at without finding one, call again. */
enum status log_files_next(struct log_files *files, size_t *bytes_left, struct log_line *line);

#endif
