/* Text is cut into lines, gathered in a log_file for one batch, and what that could not take is
 * counted. */
#include "tenantd/capture_lines.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/ensure.h"

static struct span partial_span(const struct capture_stream *stream)
{
    return span_of(stream->partial, stream->partial_size);
}

static void forget_partial(struct capture_stream *stream)
{
    free(stream->partial);
    stream->partial = NULL;
    stream->partial_size = 0;
}

/* What the log could not take is told when it can. */
static void note_lost(struct capture *capture, struct capture_stream *stream,
                      const struct log_lost *lost, int error)
{
    if (lost->bytes == 0)
        return;
    if (capture->streams[0].lost.bytes + capture->streams[1].lost.bytes == 0)
        capture->lost_since_ns = clock_wall_ns();
    stream->lost.lines += lost->lines;
    stream->lost.bytes += lost->bytes;
    capture->lost_error = error;
}

/* Adds to the unfinished line; together they are shorter than LOG_LINE_BYTES_MAX. */
static void keep_partial(struct capture *capture, struct capture_stream *stream, struct span data)
{
    uint8_t *bigger = realloc(stream->partial, stream->partial_size + data.size);
    if (bigger == NULL) {
        note_lost(capture, stream, &(struct log_lost){ .bytes = data.size }, ENOMEM);
        return;
    }
    memcpy(bigger + stream->partial_size, data.data, data.size);
    stream->partial = bigger;
    stream->partial_size += (uint32_t)data.size;
}

/* What is dropped is told at a tick, when it has ended. */
static void note_dropped(struct capture *capture, struct capture_stream *stream, size_t bytes,
                         bool is_whole)
{
    if (capture->streams[0].dropped.bytes + capture->streams[1].dropped.bytes == 0)
        capture->dropped_since_ns = clock_wall_ns();
    stream->dropped.bytes += bytes;
    stream->dropped.lines += is_whole ? 1 : 0;
}

/* The line that was begun in pieces ends here. */
static void end_open_line(struct capture_stream *stream, struct log_file *file)
{
    if (stream->is_open_line)
        log_file_line(file, clock_wall_ns(), stream->is_error, false, span_of(NULL, 0),
                      span_of(NULL, 0));
    stream->is_open_line = false;
}

static void drop_text(struct capture *capture, struct capture_stream *stream, struct log_file *file,
                      struct span text, bool is_whole)
{
    note_dropped(capture, stream, stream->partial_size + text.size + (is_whole ? 1 : 0), is_whole);
    forget_partial(stream);
    end_open_line(stream, file);
    stream->is_skipping = !is_whole;
}

/* The rest of a dropped line; returns what follows it. */
static struct span skip_line(struct capture *capture, struct capture_stream *stream,
                             struct span data)
{
    const uint8_t *newline = memchr(data.data, '\n', data.size);
    size_t size = newline == NULL ? data.size : (size_t)(newline - data.data) + 1;
    note_dropped(capture, stream, size, newline != NULL);
    stream->is_skipping = newline == NULL;
    return span_of(data.data + size, data.size - size);
}

static bool may_write(struct capture *capture, size_t bytes)
{
    if (!capture->is_dropping)
        capture->is_dropping = !log_rate_take(&capture->rate, LOG_HEAD_BYTES + bytes + 1);
    return !capture->is_dropping;
}

/* One line, or the rest of one: whatever is longer than a line may be goes out in pieces. */
static void put_text(struct capture *capture, struct capture_stream *stream, struct log_file *file,
                     uint64_t wall_ns, struct span text, bool is_whole)
{
    size_t size = stream->partial_size + text.size;
    if (!is_whole && size < LOG_LINE_BYTES_MAX) {
        if (text.size > 0)
            keep_partial(capture, stream, text);
        return;
    }
    if (!may_write(capture, size)) {
        drop_text(capture, stream, file, text, is_whole);
        return;
    }
    while (stream->partial_size + text.size > LOG_LINE_BYTES_MAX ||
           (!is_whole && stream->partial_size + text.size == LOG_LINE_BYTES_MAX)) {
        size_t take = LOG_LINE_BYTES_MAX - stream->partial_size;
        log_file_line(file, wall_ns, stream->is_error, true, partial_span(stream),
                      span_of(text.data, take));
        forget_partial(stream);
        stream->is_open_line = true;
        text = span_of(text.data + take, text.size - take);
    }
    if (is_whole) {
        log_file_line(file, wall_ns, stream->is_error, false, partial_span(stream), text);
        forget_partial(stream);
        stream->is_open_line = false;
    } else if (text.size > 0) {
        keep_partial(capture, stream, text);
    }
}

/* A line of ours, the first of its batch. False when it could not be written: then it is not among
 * what was lost. */
static bool say(struct capture_stream *stream, struct log_file *file, struct span text)
{
    bool was_open_line = stream->is_open_line;
    ensure(file->used == 0);
    if (file->error != 0)
        return false;
    end_open_line(stream, file);
    log_file_line(file, clock_wall_ns(), stream->is_error, false, span_of(NULL, 0), text);
    if (log_file_flush(file))
        return true;
    memset(file->lost, 0, sizeof file->lost);
    stream->is_open_line = was_open_line;
    return false;
}

static bool say_missing(struct capture_stream *stream, struct log_file *file,
                        const struct log_lost *missing, uint64_t since_ns, const char *why)
{
    char since[32], text[256];
    time_t seconds = (time_t)(since_ns / 1000000000u);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    strftime(since, sizeof since, "%Y-%m-%dT%H:%M:%SZ", &utc);
    int size = snprintf(text, sizeof text,
                        "solo: %" PRIu64 " lines (%" PRIu64 " bytes) were dropped since %s: %s",
                        missing->lines, missing->bytes, since, why);
    return say(stream, file, span_of(text, (size_t)size));
}

/* What was lost before is said before anything else. */
static void begin(struct capture *capture, struct log_file *file)
{
    char why[128];
    log_file_begin(file, capture->hub->folder, capture->service, &capture->settings,
                   capture->hub->write_buffer);
    file->is_quiet = capture->is_disk_failing;
    file->is_whole = capture->is_log_whole;
    if (capture->streams[0].lost.bytes + capture->streams[1].lost.bytes == 0)
        return;
    snprintf(why, sizeof why, "the log could not be written (%s)", strerror(capture->lost_error));
    for (int i = 0; i < 2; i++) {
        struct capture_stream *stream = &capture->streams[i];
        if (stream->lost.bytes > 0 &&
            say_missing(stream, file, &stream->lost, capture->lost_since_ns, why))
            stream->lost = (struct log_lost){ 0 };
    }
}

static void end(struct capture *capture, struct log_file *file)
{
    capture->is_disk_failing = !log_file_end(file);
    capture->is_log_whole = file->is_whole;
    if (!capture->is_disk_failing)
        return;
    capture->retry_ns = clock_boottime_ns() + CAPTURE_RETRY_MS * 1000000ull;
    for (int i = 0; i < 2; i++)
        note_lost(capture, &capture->streams[i], &file->lost[i], file->error);
}

void capture_put(struct capture *capture, struct capture_stream *stream, struct span data)
{
    struct log_file file;
    uint64_t wall_ns = clock_wall_ns();
    output_tail_keep(&capture->tail, data);
    log_rate_fill(&capture->rate, clock_boottime_ns());
    begin(capture, &file);
    if (stream->is_skipping)
        data = skip_line(capture, stream, data);
    while (data.size > 0) {
        const uint8_t *newline = memchr(data.data, '\n', data.size);
        size_t size = newline == NULL ? data.size : (size_t)(newline - data.data);
        put_text(capture, stream, &file, wall_ns, span_of(data.data, size), newline != NULL);
        size += newline == NULL ? 0 : 1;
        data = span_of(data.data + size, data.size - size);
    }
    end(capture, &file);
    capture->unfinished_ticks = 0;
}

void capture_put_unfinished(struct capture *capture)
{
    struct log_file file;
    begin(capture, &file);
    for (int i = 0; i < 2; i++) {
        struct capture_stream *stream = &capture->streams[i];
        if (stream->partial == NULL)
            continue;
        if (!may_write(capture, stream->partial_size)) {
            drop_text(capture, stream, &file, span_of(NULL, 0), false);
            continue;
        }
        log_file_line(&file, clock_wall_ns(), stream->is_error, true, partial_span(stream),
                      span_of(NULL, 0));
        forget_partial(stream);
        stream->is_open_line = true;
    }
    end(capture, &file);
}

void capture_tell_missing(struct capture *capture)
{
    struct log_file file;
    char why[64];
    snprintf(why, sizeof why, "more than %" PRIu64 " bytes a second",
             capture->rate.settings.bytes_per_s);
    capture->is_dropping = false;
    begin(capture, &file);
    for (int i = 0; i < 2; i++) {
        struct capture_stream *stream = &capture->streams[i];
        if (stream->dropped.bytes > 0 &&
            say_missing(stream, &file, &stream->dropped, capture->dropped_since_ns, why))
            stream->dropped = (struct log_lost){ 0 };
    }
    end(capture, &file);
}

void capture_put_end(struct capture *capture, struct capture_stream *stream)
{
    if (stream->is_skipping)
        stream->dropped.lines++;
    stream->is_skipping = false;
    if (stream->partial == NULL && !stream->is_open_line)
        return;
    struct log_file file;
    begin(capture, &file);
    put_text(capture, stream, &file, clock_wall_ns(), span_of(NULL, 0), true);
    end(capture, &file);
}

bool capture_is_missing(const struct capture *capture)
{
    const struct capture_stream *streams = capture->streams;
    return streams[0].dropped.bytes + streams[1].dropped.bytes + streams[0].lost.bytes +
               streams[1].lost.bytes >
           0;
}
