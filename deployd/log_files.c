/* Reading forwards is a block, its lines, the next block; at the end of a file that has been moved
 * away, the next newer one, found by this one's inode. Seeking the last lines reads whole blocks
 * backwards, newest file first, and counts line ends; where the count is reached, forwards begins.
 */
#include "deployd/log_files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/file_number.h"
#include "common/base/limits.h"
#include "common/base/log.h"

_Static_assert((int)LOG_BLOCK_BYTES > (int)LOG_LINE_BYTES_MAX + 64,
               "a block holds the longest line");

enum { FILE_NAME_BYTES = NAME_BYTES_MAX + 32, FILE_ATTEMPTS = 8 };

static char *file_name(const struct log_files *files, unsigned number, char name[FILE_NAME_BYTES])
{
    if (number == 0)
        snprintf(name, FILE_NAME_BYTES, "%s.log", files->service);
    else
        snprintf(name, FILE_NAME_BYTES, "%s.log.%u", files->service, number);
    return name;
}

static ino_t file_inode(const struct log_files *files, unsigned number)
{
    char name[FILE_NAME_BYTES];
    struct stat stat;
    return fstatat(files->directory, file_name(files, number, name), &stat, AT_SYMLINK_NOFOLLOW) < 0
               ? 0
               : stat.st_ino;
}

/* While files are moved on, one number after another is free for a moment: there is an end where
 * two in a row are. */
enum { ABSENT_MAX = 2 };

/* Where the file of this inode stands now; LOG_FILES_MAX when it is gone. */
static unsigned file_place(const struct log_files *files, ino_t inode)
{
    for (unsigned number = 0, absent = 0; number < LOG_FILES_MAX && absent < ABSENT_MAX; number++) {
        ino_t found = file_inode(files, number);
        if (found == inode)
            return number;
        absent = found != 0 ? 0 : absent + 1;
    }
    return LOG_FILES_MAX;
}

static unsigned file_oldest(const struct log_files *files)
{
    unsigned oldest = 0;
    for (unsigned number = 1, absent = 0; number < LOG_FILES_MAX && absent < ABSENT_MAX; number++) {
        bool is_there = file_inode(files, number) != 0;
        absent = is_there ? 0 : absent + 1;
        oldest = is_there ? number : oldest;
    }
    return oldest;
}

static bool is_removed(int fd)
{
    struct stat stat;
    return fstat(fd, &stat) == 0 && stat.st_nlink == 0;
}

static void block_reset(struct log_files *files, off_t offset)
{
    files->offset = offset;
    files->filled = files->read = 0;
}

static enum status file_open(struct log_files *files, unsigned number)
{
    char name[FILE_NAME_BYTES];
    struct stat stat;
    fd_close(&files->fd);
    files->fd = openat(files->directory, file_name(files, number, name),
                       O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (files->fd < 0 && errno == ENOENT)
        return STATUS_NOT_FOUND;
    if (files->fd < 0 || fstat(files->fd, &stat) < 0 || !S_ISREG(stat.st_mode))
        return log_failure(STATUS_INTERNAL, "open a service's output", "file", name, "reason",
                           strerror(errno));
    files->inode = stat.st_ino;
    block_reset(files, 0);
    return STATUS_OK;
}

/* Opens the oldest file; retried, because tenantd may move it while we look. */
static enum status open_oldest(struct log_files *files)
{
    enum status status = STATUS_NOT_FOUND;
    for (int attempt = 0; attempt < FILE_ATTEMPTS && status == STATUS_NOT_FOUND; attempt++)
        status = file_open(files, file_oldest(files));
    return status;
}

static enum status directory_open(struct log_files *files, const char *directory)
{
    files->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (files->directory < 0)
        return errno == ENOENT ? STATUS_NOT_FOUND
                               : log_failure(status_from_errno(errno), "open a tenant's output",
                                             "path", directory, "reason", strerror(errno));
    return STATUS_OK;
}

enum status log_files_open(struct log_files *files, const char *directory, const char *service,
                           const struct log_filter *filter)
{
    *files = LOG_FILES_NONE;
    files->filter = *filter;
    snprintf(files->service, sizeof files->service, "%s", service);
    files->block = malloc(LOG_BLOCK_BYTES);
    if (files->block == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    TRY(directory_open(files, directory));
    return open_oldest(files);
}

bool log_files_is_lost(const struct log_files *files)
{
    return files->directory < 0 || is_removed(files->directory);
}

void log_files_tell_lost(struct log_files *files)
{
    files->has_note = true;
    snprintf(files->note, sizeof files->note,
             "solo: the folder of its output was removed; this goes on when it writes again");
}

enum status log_files_reopen(struct log_files *files, const char *directory)
{
    fd_close(&files->fd);
    fd_close(&files->directory);
    block_reset(files, 0);
    return directory_open(files, directory);
}

void log_files_close(struct log_files *files)
{
    fd_close(&files->fd);
    fd_close(&files->directory);
    free(files->block);
    *files = LOG_FILES_NONE;
}

static bool passes(const struct log_files *files, const struct log_line *line)
{
    const struct log_filter *filter = &files->filter;
    return line->wall_ns >= filter->since_ns && !(filter->only_output && line->is_error) &&
           !(filter->only_errors && !line->is_error);
}

/* ---- forwards ---- */

/* The file with the number `last` was read to its end and is gone; this one is the oldest left. */
static void note_missing(struct log_files *files, uint64_t last, uint64_t number)
{
    if (last != 0 && number == last + 1)
        return;
    files->has_note = true;
    if (last == 0 || number <= last)
        snprintf(files->note, sizeof files->note,
                 "solo: lines may be missing here: files were removed before they were read");
    else
        snprintf(files->note, sizeof files->note,
                 "solo: lines are missing here: %" PRIu64 " of its files %s removed before %s read",
                 number - last - 1, number - last == 2 ? "was" : "were",
                 number - last == 2 ? "it was" : "they were");
}

/* The next newer file, once this one has been read to its end and been moved away. */
static enum status file_next(struct log_files *files)
{
    for (int attempt = 0; attempt < FILE_ATTEMPTS; attempt++) {
        ino_t inode = files->inode;
        unsigned place = file_place(files, inode);
        if (place == 0)
            return STATUS_NOT_FOUND;
        if (place == LOG_FILES_MAX && !is_removed(files->fd))
            continue; /* it was moved while we looked */
        /* Fallen off the end: the oldest that is left is the next one. */
        unsigned next = place == LOG_FILES_MAX ? file_oldest(files) : place - 1;
        struct log_files opened = *files;
        opened.fd = -1;
        if (file_open(&opened, next) != STATUS_OK)
            continue; /* moved meanwhile, or not made again yet */
        if (place != LOG_FILES_MAX && file_place(files, inode) != place) {
            fd_close(&opened.fd);
            continue;
        }
        uint64_t last = file_number_read(files->fd), number = file_number_read(opened.fd);
        if (last != 0 && number == 0 && attempt + 1 < FILE_ATTEMPTS) {
            fd_close(&opened.fd);
            continue; /* it is just being made */
        }
        fd_close(&files->fd);
        *files = opened;
        if (place == LOG_FILES_MAX)
            note_missing(files, last, number);
        return STATUS_OK;
    }
    return STATUS_NOT_FOUND;
}

/* Reads more behind what is left of the block. *count is 0 at the end of the file. */
static enum status block_fill(struct log_files *files, size_t *count)
{
    size_t left = files->filled - files->read;
    if (left > 0 && files->read > 0)
        memmove(files->block, files->block + files->read, left);
    files->offset += (off_t)files->read;
    files->read = 0;
    files->filled = left;
    if (left == LOG_BLOCK_BYTES) {
        /* No newline in a whole block: not a file of ours any more; go on behind it. */
        files->offset += (off_t)left;
        files->filled = left = 0;
    }
    ssize_t size;
    do
        size = pread(files->fd, files->block + left, LOG_BLOCK_BYTES - left,
                     files->offset + (off_t)left);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return log_failure(status_from_errno(errno), "read a service's output", "service",
                           files->service, "reason", strerror(errno));
    files->filled += (size_t)size;
    *count = (size_t)size;
    return STATUS_OK;
}

/* At the end of what the block's file holds: more of it, or the next file. */
static enum status read_on(struct log_files *files)
{
    size_t count;
    if (files->directory < 0)
        return STATUS_NOT_FOUND;
    if (files->fd < 0)
        TRY(open_oldest(files));
    TRY(block_fill(files, &count));
    if (count > 0)
        return STATUS_OK;
    if (file_place(files, files->inode) == 0)
        return STATUS_NOT_FOUND;
    /* It was moved away, so nobody writes to it any more; but somebody may have since we looked. */
    TRY(block_fill(files, &count));
    return count > 0 ? STATUS_OK : file_next(files);
}

enum status log_files_next(struct log_files *files, size_t *bytes_left, struct log_line *line)
{
    for (;;) {
        if (files->has_note) {
            files->has_note = false;
            *line = (struct log_line){ .wall_ns = files->last_ns,
                                       .is_note = true,
                                       .text = span_of_text(files->note) };
            return STATUS_OK;
        }
        uint8_t *start = files->block + files->read;
        uint8_t *end = memchr(start, '\n', files->filled - files->read);
        if (end == NULL) {
            TRY(read_on(files));
            continue;
        }
        size_t size = (size_t)(end - start);
        files->read += size + 1;
        *bytes_left -= size < *bytes_left ? size : *bytes_left;
        if (log_line_parse(span_of(start, size), line) && passes(files, line)) {
            files->last_ns = line->wall_ns;
            return STATUS_OK;
        }
        if (*bytes_left == 0)
            return STATUS_UNAVAILABLE;
    }
}

/* ---- the last lines ---- */

enum status log_files_seek_last(struct log_files *files, uint64_t count)
{
    struct stat stat;
    files->is_seeking = true;
    files->wanted = count;
    files->counted = 0;
    enum status status = file_open(files, 0);
    if (status == STATUS_NOT_FOUND)
        status = file_open(files, 1); /* the newest was moved and is not made again yet */
    TRY(status);
    if (fstat(files->fd, &stat) < 0)
        return log_failure(STATUS_INTERNAL, "stat", "reason", strerror(errno));
    files->offset = stat.st_size;
    return STATUS_OK;
}

/* Counts the lines of a block that ends where counted lines begin. True when enough were found:
 * *start is where reading begins. *head is what must be looked at again with the block before. */
static bool count_lines(struct log_files *files, size_t size, off_t at, off_t *start, size_t *head)
{
    size_t end = size;
    /* From the last line to the first one that is whole; the first of the file is whole. */
    while (end > 0) {
        /* block[end - 1] is the newline that ends this line (or the torn end of the file) */
        uint8_t *before = end < 2 ? NULL : memrchr(files->block, '\n', end - 1);
        size_t begin = before == NULL ? 0 : (size_t)(before - files->block) + 1;
        if (before == NULL && at > 0)
            break;
        struct log_line line;
        size_t line_size = end - begin - (files->block[end - 1] == '\n' ? 1 : 0);
        if (log_line_parse(span_of(files->block + begin, line_size), &line) &&
            passes(files, &line) && !line.is_partial) {
            if (files->counted == files->wanted) {
                *start = at + (off_t)end;
                return true;
            }
            files->counted++;
        }
        end = begin;
    }
    *head = end;
    return false;
}

static enum status seek_block(struct log_files *files, bool *is_found)
{
    size_t size = files->offset < LOG_BLOCK_BYTES ? (size_t)files->offset : LOG_BLOCK_BYTES;
    off_t at = files->offset - (off_t)size, start;
    size_t head = 0;
    ssize_t got;
    do
        got = pread(files->fd, files->block, size, at);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return log_failure(status_from_errno(errno), "read a service's output", "service",
                           files->service, "reason", strerror(errno));
    *is_found = count_lines(files, (size_t)got, at, &start, &head);
    if (*is_found)
        block_reset(files, start);
    else
        files->offset = head == size && at > 0 ? at : at + (off_t)head;
    return STATUS_OK;
}

/* The next older file, from its end; not_found when this was the oldest. */
static enum status seek_older(struct log_files *files)
{
    struct stat stat;
    unsigned place = file_place(files, files->inode);
    if (place == LOG_FILES_MAX || place + 1 >= LOG_FILES_MAX || file_inode(files, place + 1) == 0)
        return STATUS_NOT_FOUND;
    struct log_files older = *files;
    older.fd = -1;
    TRY(file_open(&older, place + 1));
    if (fstat(older.fd, &stat) < 0) {
        fd_close(&older.fd);
        return log_failure(STATUS_INTERNAL, "stat", "reason", strerror(errno));
    }
    fd_close(&files->fd);
    *files = older;
    files->offset = stat.st_size;
    return STATUS_OK;
}

enum status log_files_seek_step(struct log_files *files, size_t bytes_max)
{
    for (size_t seen = 0; files->is_seeking; seen += LOG_BLOCK_BYTES) {
        if (seen >= bytes_max)
            return STATUS_UNAVAILABLE;
        bool is_found = false;
        enum status status = STATUS_OK;
        if (files->offset > 0)
            TRY(seek_block(files, &is_found));
        else
            status = seek_older(files);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND)
            return status;
        if (is_found || status == STATUS_NOT_FOUND) {
            files->is_seeking = false;
            if (!is_found)
                block_reset(files, 0); /* fewer lines than wanted: from the very first */
        }
    }
    return STATUS_OK;
}
