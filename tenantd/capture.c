/* Bytes arrive in on_readable, are cut into lines, and leave through a log_file within the same
 * turn. */
#include "tenantd/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/log.h"

enum { DRAIN_BYTES_MAX = 1024 * 1024, PIPE_BYTES_MANY = 48 * 1024 };

static void write_unfinished(struct capture *capture);
static void tell_dropped(struct capture *capture);

/* They may read on. */
static void release_waiting(struct capture_hub *hub)
{
    struct capture *waiting = hub->waiting;
    hub->waiting = NULL;
    for (struct capture *next; waiting != NULL; waiting = next) {
        next = waiting->next_waiting;
        waiting->is_waiting = false;
        waiting->bytes_this_tick = 0;
        for (int i = 0; i < 2; i++)
            if (waiting->streams[i].on_readable.fd >= 0)
                ev_io_start(hub->loop, &waiting->streams[i].on_readable);
    }
}

static void age_unfinished(struct capture_hub *hub)
{
    for (struct capture **link = &hub->unfinished; *link != NULL;) {
        struct capture *capture = *link;
        if (++capture->unfinished_ticks < CAPTURE_PARTIAL_TICKS) {
            link = &capture->next_unfinished;
            continue;
        }
        *link = capture->next_unfinished;
        capture->is_unfinished = false;
        write_unfinished(capture);
    }
}

/* Those that may write again do, and say what they have lost. */
static void end_dropping(struct capture_hub *hub)
{
    uint64_t now_ns = clock_boottime_ns();
    for (struct capture **link = &hub->dropping; *link != NULL;) {
        struct capture *capture = *link;
        log_rate_fill(&capture->rate, now_ns);
        if (capture->is_dropping && !log_rate_is_open(&capture->rate)) {
            link = &capture->next_dropping;
            continue;
        }
        *link = capture->next_dropping;
        tell_dropped(capture);
    }
}

static void on_tick(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct capture_hub *hub = OWNER_OF(timer, struct capture_hub, tick);
    release_waiting(hub);
    end_dropping(hub);
    age_unfinished(hub);
    if (hub->unfinished == NULL && hub->dropping == NULL)
        ev_timer_stop(hub->loop, &hub->tick);
}

void capture_hub_open(struct capture_hub *hub, struct ev_loop *loop, int directory)
{
    hub->loop = loop;
    hub->directory = directory;
    hub->rate = (struct log_rate_settings){ 0 };
    hub->waiting = hub->unfinished = hub->dropping = NULL;
    ev_timer_init(&hub->tick, on_tick, CAPTURE_TICK_MS / 1000.0, CAPTURE_TICK_MS / 1000.0);
}

void capture_hub_close(struct capture_hub *hub)
{
    if (hub->loop != NULL)
        ev_timer_stop(hub->loop, &hub->tick);
}

static void tick_start(struct capture_hub *hub)
{
    if (!ev_is_active(&hub->tick))
        ev_timer_again(hub->loop, &hub->tick);
}

/* Joins those that wait for the next tick, if this tick's share is used up. */
static void count(struct capture *capture, size_t bytes)
{
    struct capture_hub *hub = capture->hub;
    ev_tstamp now = ev_now(hub->loop);
    if (now - capture->tick_began >= CAPTURE_TICK_MS / 1e3) {
        capture->tick_began = now;
        capture->bytes_this_tick = 0;
    }
    capture->bytes_this_tick += (uint32_t)bytes;
    if (capture->bytes_this_tick < CAPTURE_BYTES_PER_TICK || capture->is_waiting)
        return;
    capture->is_waiting = true;
    capture->next_waiting = hub->waiting;
    hub->waiting = capture;
    for (int i = 0; i < 2; i++)
        if (capture->streams[i].on_readable.fd >= 0)
            ev_io_stop(hub->loop, &capture->streams[i].on_readable);
    tick_start(hub);
}

static void stop_waiting(struct capture *capture)
{
    if (!capture->is_waiting)
        return;
    struct capture **link = &capture->hub->waiting;
    while (*link != capture)
        link = &(*link)->next_waiting;
    *link = capture->next_waiting;
    capture->is_waiting = false;
}

static void note_unfinished(struct capture *capture)
{
    bool has_partial = capture->streams[0].partial != NULL || capture->streams[1].partial != NULL;
    capture->unfinished_ticks = 0;
    if (!has_partial || capture->is_unfinished)
        return;
    capture->is_unfinished = true;
    capture->next_unfinished = capture->hub->unfinished;
    capture->hub->unfinished = capture;
    tick_start(capture->hub);
}

static void forget_unfinished(struct capture *capture)
{
    if (!capture->is_unfinished)
        return;
    struct capture **link = &capture->hub->unfinished;
    while (*link != capture)
        link = &(*link)->next_unfinished;
    *link = capture->next_unfinished;
    capture->is_unfinished = false;
}

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

/* Adds to the unfinished line; together they are shorter than LOG_LINE_BYTES_MAX. Without memory
 * these bytes are lost from the log. */
static void keep_partial(struct capture_stream *stream, struct span data)
{
    uint8_t *bigger = realloc(stream->partial, stream->partial_size + data.size);
    if (bigger == NULL)
        return;
    memcpy(bigger + stream->partial_size, data.data, data.size);
    stream->partial = bigger;
    stream->partial_size += (uint32_t)data.size;
}

/* What is dropped is told at a tick, when it has ended. */
static void note_dropped(struct capture *capture, struct capture_stream *stream, size_t bytes,
                         bool is_whole)
{
    stream->dropped_bytes += bytes;
    stream->dropped_lines += is_whole ? 1 : 0;
    if (capture->has_dropped)
        return;
    capture->has_dropped = true;
    capture->dropped_since_ns = clock_wall_ns();
    capture->next_dropping = capture->hub->dropping;
    capture->hub->dropping = capture;
    tick_start(capture->hub);
}

static void forget_dropped(struct capture *capture)
{
    struct capture **link = &capture->hub->dropping;
    while (*link != capture)
        link = &(*link)->next_dropping;
    *link = capture->next_dropping;
}

/* The line that was begun in pieces ends here. */
static void end_open_line(struct capture_stream *stream, struct log_file *file)
{
    if (stream->is_open_line)
        log_file_line(file, clock_wall_ns(), stream->name, false, span_of(NULL, 0),
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
            keep_partial(stream, text);
        return;
    }
    if (!may_write(capture, size)) {
        drop_text(capture, stream, file, text, is_whole);
        return;
    }
    while (stream->partial_size + text.size > LOG_LINE_BYTES_MAX ||
           (!is_whole && stream->partial_size + text.size == LOG_LINE_BYTES_MAX)) {
        size_t take = LOG_LINE_BYTES_MAX - stream->partial_size;
        log_file_line(file, wall_ns, stream->name, true, partial_span(stream),
                      span_of(text.data, take));
        forget_partial(stream);
        stream->is_open_line = true;
        text = span_of(text.data + take, text.size - take);
    }
    if (is_whole) {
        log_file_line(file, wall_ns, stream->name, false, partial_span(stream), text);
        forget_partial(stream);
        stream->is_open_line = false;
    } else if (text.size > 0) {
        keep_partial(stream, text);
    }
}

static void begin(struct capture *capture, struct log_file *file)
{
    log_file_begin(file, capture->hub->directory, capture->service, &capture->settings,
                   capture->hub->write_buffer, capture->is_disk_failing);
}

static void end(struct capture *capture, struct log_file *file)
{
    capture->is_disk_failing = !log_file_end(file);
}

static void put_bytes(struct capture *capture, struct capture_stream *stream, struct span data)
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
    note_unfinished(capture);
}

/* What is left of lines goes out as pieces. */
static void write_unfinished(struct capture *capture)
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
        log_file_line(&file, clock_wall_ns(), stream->name, true, partial_span(stream),
                      span_of(NULL, 0));
        forget_partial(stream);
        stream->is_open_line = true;
    }
    end(capture, &file);
}

/* Says what was dropped and writes again; the capture is in no list of dropping ones any more. */
static void tell_dropped(struct capture *capture)
{
    struct log_file file;
    char since[32], text[160];
    time_t seconds = (time_t)(capture->dropped_since_ns / 1000000000u);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    strftime(since, sizeof since, "%Y-%m-%dT%H:%M:%SZ", &utc);
    capture->has_dropped = capture->is_dropping = false;
    begin(capture, &file);
    for (int i = 0; i < 2; i++) {
        struct capture_stream *stream = &capture->streams[i];
        if (stream->dropped_bytes == 0)
            continue;
        int size = snprintf(text, sizeof text,
                            "solo: %" PRIu64 " lines (%" PRIu64 " bytes) were dropped since %s: "
                            "more than %" PRIu64 " bytes a second",
                            stream->dropped_lines, stream->dropped_bytes, since,
                            capture->rate.settings.bytes_per_s);
        end_open_line(stream, &file);
        log_file_line(&file, clock_wall_ns(), stream->name, false, span_of(NULL, 0),
                      span_of(text, (size_t)size));
        stream->dropped_lines = stream->dropped_bytes = 0;
    }
    end(capture, &file);
}

/* The last line of an instance ends with it. */
static void close_stream(struct capture *capture, struct capture_stream *stream)
{
    if (stream->on_readable.fd < 0)
        return;
    ev_io_stop(capture->hub->loop, &stream->on_readable);
    close(stream->on_readable.fd);
    ev_io_set(&stream->on_readable, -1, EV_READ);
    if (stream->is_skipping)
        stream->dropped_lines++;
    stream->is_skipping = false;
    if (stream->partial == NULL && !stream->is_open_line)
        return;
    struct log_file file;
    begin(capture, &file);
    put_text(capture, stream, &file, clock_wall_ns(), span_of(NULL, 0), true);
    end(capture, &file);
}

/* One read; 0 when there is nothing (any more). */
static size_t read_stream(struct capture *capture, struct capture_stream *stream)
{
    if (stream->on_readable.fd < 0)
        return 0;
    uint8_t *buffer = capture->hub->read_buffer;
    ssize_t size;
    do {
        size = read(stream->on_readable.fd, buffer, CAPTURE_READ_BYTES);
    } while (size < 0 && errno == EINTR);
    if (size >= PIPE_BYTES_MANY && !stream->is_widened) {
        /* Fewer, bigger reads; where the kernel's own bounds do not allow it, it goes on as is. */
        stream->is_widened = true;
        (void)fcntl(stream->on_readable.fd, F_SETPIPE_SZ, CAPTURE_PIPE_BYTES);
    }
    if (size > 0)
        put_bytes(capture, stream, span_of(buffer, (size_t)size));
    else if (size == 0 || errno != EAGAIN)
        close_stream(capture, stream);
    return size > 0 ? (size_t)size : 0;
}

static void on_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop, (void)events;
    struct capture *capture = watcher->data;
    struct capture_stream *stream = OWNER_OF(watcher, struct capture_stream, on_readable);
    count(capture, read_stream(capture, stream));
}

void capture_init(struct capture *capture, struct capture_hub *hub, const char *service)
{
    *capture = (struct capture){ .hub = hub, .service = service };
    for (int i = 0; i < 2; i++) {
        ev_io_init(&capture->streams[i].on_readable, on_readable, -1, EV_READ);
        capture->streams[i].on_readable.data = capture;
        capture->streams[i].name = i == 0 ? "stdout" : "stderr";
    }
    log_rate_init(&capture->rate, &hub->rate, clock_boottime_ns());
}

enum status capture_open(struct capture *capture, const struct log_settings *settings,
                         int write_ends[2])
{
    int pipes[2][2];
    for (int i = 0; i < 2; i++) {
        if (pipe2(pipes[i], O_CLOEXEC) == 0 && fcntl(pipes[i][0], F_SETFL, O_NONBLOCK) == 0)
            continue;
        int error = errno;
        if (i == 1) {
            close(pipes[0][0]);
            close(pipes[0][1]);
        }
        return log_failure(status_from_errno(error), "make pipe", "service", capture->service,
                           "reason", strerror(error));
    }
    capture->settings = *settings;
    capture->bytes_this_tick = 0;
    output_tail_reset(&capture->tail);
    for (int i = 0; i < 2; i++) {
        ev_io_set(&capture->streams[i].on_readable, pipes[i][0], EV_READ);
        ev_io_start(capture->hub->loop, &capture->streams[i].on_readable);
        capture->streams[i].is_widened = false;
        write_ends[i] = pipes[i][1];
    }
    return STATUS_OK;
}

void capture_drain(struct capture *capture)
{
    for (int i = 0; i < 2; i++)
        for (size_t total = 0, size; total < DRAIN_BYTES_MAX; total += size)
            if ((size = read_stream(capture, &capture->streams[i])) == 0)
                break;
}

void capture_close(struct capture *capture)
{
    if (capture->hub == NULL)
        return;
    capture_drain(capture);
    stop_waiting(capture);
    forget_unfinished(capture);
    for (int i = 0; i < 2; i++)
        close_stream(capture, &capture->streams[i]);
    if (capture->has_dropped) {
        forget_dropped(capture);
        tell_dropped(capture);
    }
}

void capture_free(struct capture *capture)
{
    capture_close(capture);
    for (int i = 0; i < 2; i++)
        forget_partial(&capture->streams[i]);
    output_tail_reset(&capture->tail);
}
