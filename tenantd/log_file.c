/* Lines gather in a buffer and go out in few writes. A disk that is full or broken costs lines,
 * never the service: the first failure of a batch is logged, the rest of the batch is dropped, and
 * what was dropped is counted.
 */
#include "tenantd/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "common/base/file_number.h"
#include "common/base/limits.h"
#include "common/base/log.h"

_Static_assert((int)LOG_BATCH_BYTES >= (int)LOG_HEAD_BYTES + LOG_LINE_BYTES_MAX + 1,
               "a batch holds the longest line");

enum { FILE_NAME_BYTES = 128 };

static char *file_name(char name[FILE_NAME_BYTES], const char *service, uint64_t number)
{
    if (number == 0)
        snprintf(name, FILE_NAME_BYTES, "%s.log", service);
    else
        snprintf(name, FILE_NAME_BYTES, "%s.log.%" PRIu64, service, number);
    return name;
}

static void lose(struct log_file *file, bool is_error, bool is_partial, size_t bytes)
{
    file->lost[is_error].lines += is_partial ? 0 : 1;
    file->lost[is_error].bytes += bytes;
}

/* Counts the lines whose end is in the last `size` bytes of the buffer. */
static void lose_rest(struct log_file *file, size_t size)
{
    const uint8_t *line = file->buffer, *end = file->buffer + file->used;
    for (const uint8_t *newline; line < end; line = newline + 1) {
        newline = memchr(line, '\n', (size_t)(end - line));
        if (newline + 1 <= end - size)
            continue;
        const uint8_t *columns = line + LOG_HEAD_BYTES;
        lose(file, memcmp(columns - 9, "stderr", 6) == 0, columns[-2] == 'P',
             (size_t)(newline + 1 - columns));
    }
}

static void fail(struct log_file *file, const char *what)
{
    file->error = errno;
    file->is_whole = false;
    if (!file->is_quiet)
        log_failure(status_from_errno(errno), what, "service", file->service, "reason",
                    strerror(errno));
    file->is_quiet = true;
}

/* A line that a power cut tore must not swallow the next one. */
static void end_torn_line(struct log_file *file)
{
    char last;
    bool is_whole = file->is_whole || file->size == 0;
    file->is_whole = true;
    if (is_whole || pread(file->fd, &last, 1, (off_t)file->size - 1) != 1 || last == '\n')
        return;
    if (fd_write_all(file->fd, span_of("\n", 1)) == STATUS_OK)
        file->size++;
    else
        fail(file, "write log");
}

/* A new file's number follows the one of the file that was moved away. */
static void give_number(struct log_file *file)
{
    char name[FILE_NAME_BYTES];
    if (file->number == 0) {
        AUTO(fd_close)
        int before = openat(file->folder->fd, file_name(name, file->service, 1),
                            O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        file->number = (before < 0 ? 0 : file_number_read(before)) + 1;
    }
    file_number_write(file->fd, file->number);
}

static void open_current(struct log_file *file)
{
    char name[FILE_NAME_BYTES];
    struct stat stat;
    do
        file->fd = openat(file->folder->fd, file_name(name, file->service, 0),
                          O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
    while (file->fd < 0 && errno == ENOENT && folder_renew(file->folder));
    if (file->fd < 0 || fstat(file->fd, &stat) < 0) {
        fail(file, "open log");
        return;
    }
    file->size = (uint64_t)stat.st_size;
    if (file->size == 0)
        give_number(file);
    end_torn_line(file);
}

static void flush(struct log_file *file)
{
    const uint8_t *at = file->buffer, *end = file->buffer + file->used;
    while (at < end && file->error == 0) {
        ssize_t size = write(file->fd, at, (size_t)(end - at));
        if (size >= 0)
            at += size;
        else if (errno != EINTR)
            fail(file, "write log");
    }
    if (at < end)
        lose_rest(file, (size_t)(end - at));
    file->used = 0;
}

/* The oldest one falls off the end. */
static void rotate(struct log_file *file)
{
    char from[FILE_NAME_BYTES], to[FILE_NAME_BYTES];
    flush(file);
    file->number = file->fd < 0 ? 0 : file_number_read(file->fd);
    file->number += file->number == 0 ? 0 : 1;
    fd_close(&file->fd);
    uint64_t last = file->settings.files > 0 ? file->settings.files - 1 : 0;
    if (last == 0 && unlinkat(file->folder->fd, file_name(from, file->service, 0), 0) < 0)
        fail(file, "rotate log");
    for (uint64_t number = last; number > 0; number--)
        if (renameat(file->folder->fd, file_name(from, file->service, number - 1), file->folder->fd,
                     file_name(to, file->service, number)) < 0 &&
            errno != ENOENT)
            fail(file, "rotate log");
    if (file->error == 0)
        open_current(file);
}

void log_file_begin(struct log_file *file, const struct folder *folder, const char *service,
                    const struct log_settings *settings, uint8_t *buffer)
{
    *file = (struct log_file){
        .folder = folder, .service = service, .settings = *settings, .fd = -1, .buffer = buffer
    };
}

/* The columns before the text. All lines that were read at once have one time: it is made once. */
static void make_head(struct log_file *file, uint64_t wall_ns, bool is_error, bool is_partial)
{
    char *head = file->head;
    if (file->head_ns != wall_ns) {
        time_t seconds = (time_t)(wall_ns / 1000000000u);
        struct tm utc;
        char time[LOG_HEAD_BYTES + 32];
        gmtime_r(&seconds, &utc);
        size_t size = strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%S", &utc);
        snprintf(time + size, sizeof time - size, ".%09uZ stdout F ",
                 (unsigned)(wall_ns % 1000000000u));
        memcpy(head, time, LOG_HEAD_BYTES);
        file->head_ns = wall_ns;
    }
    memcpy(head + LOG_HEAD_BYTES - 9, is_error ? "stderr" : "stdout", 6);
    head[LOG_HEAD_BYTES - 2] = is_partial ? 'P' : 'F';
    file->head_is_error = is_error;
    file->head_is_partial = is_partial;
}

void log_file_line(struct log_file *file, uint64_t wall_ns, bool is_error, bool is_partial,
                   struct span head, struct span tail)
{
    ensure(head.size + tail.size <= LOG_LINE_BYTES_MAX);
    size_t size = LOG_HEAD_BYTES + head.size + tail.size + 1;
    if (file->fd < 0 && file->error == 0)
        open_current(file);
    if (file->error == 0 && file->size > 0 && file->size + size > file->settings.max_bytes)
        rotate(file);
    if (LOG_BATCH_BYTES - file->used < size)
        flush(file);
    if (file->error != 0) {
        lose(file, is_error, is_partial, head.size + tail.size + 1);
        return;
    }
    if (file->head_ns != wall_ns || file->head_is_error != is_error ||
        file->head_is_partial != is_partial)
        make_head(file, wall_ns, is_error, is_partial);
    uint8_t *to = file->buffer + file->used;
    memcpy(to, file->head, LOG_HEAD_BYTES);
    to += LOG_HEAD_BYTES;
    if (head.size > 0)
        memcpy(to, head.data, head.size);
    if (tail.size > 0)
        memcpy(to + head.size, tail.data, tail.size);
    to[head.size + tail.size] = '\n';
    file->used += size;
    file->size += size;
}

bool log_file_flush(struct log_file *file)
{
    flush(file);
    return file->error == 0;
}

bool log_file_end(struct log_file *file)
{
    flush(file);
    fd_close(&file->fd);
    return file->error == 0;
}
