/* Bytes arrive in on_readable, are cut into lines, and leave through a log_file within the same
 * turn. */
#include "tenantd/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/name.h"

enum { DRAIN_BYTES_MAX = 1024 * 1024 };

static void write_unfinished(struct capture *capture);

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

static void on_tick(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct capture_hub *hub = OWNER_OF(timer, struct capture_hub, tick);
    release_waiting(hub);
    age_unfinished(hub);
    if (hub->unfinished == NULL)
        ev_timer_stop(hub->loop, &hub->tick);
}

void capture_hub_open(struct capture_hub *hub, struct ev_loop *loop, int directory)
{
    hub->loop = loop;
    hub->directory = directory;
    hub->waiting = hub->unfinished = NULL;
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

static void keep_tail(struct capture *capture, struct span data)
{
    if (capture->tail == NULL && (capture->tail = malloc(EXIT_OUTPUT_BYTES_MAX)) == NULL)
        return;
    if (data.size > EXIT_OUTPUT_BYTES_MAX)
        data = span_of(data.data + data.size - EXIT_OUTPUT_BYTES_MAX, EXIT_OUTPUT_BYTES_MAX);
    size_t excess = capture->tail_size + data.size > EXIT_OUTPUT_BYTES_MAX
                        ? capture->tail_size + data.size - EXIT_OUTPUT_BYTES_MAX
                        : 0;
    memmove(capture->tail, capture->tail + excess, capture->tail_size - excess);
    memcpy(capture->tail + capture->tail_size - excess, data.data, data.size);
    capture->tail_size = (uint32_t)(capture->tail_size - excess + data.size);
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

/* One line, or the rest of one: whatever is longer than a line may be goes out in pieces. */
static void put_text(struct capture_stream *stream, struct log_file *file, uint64_t wall_ns,
                     struct span text, bool is_whole)
{
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
    keep_tail(capture, data);
    begin(capture, &file);
    while (data.size > 0) {
        const uint8_t *newline = memchr(data.data, '\n', data.size);
        size_t size = newline == NULL ? data.size : (size_t)(newline - data.data);
        put_text(stream, &file, wall_ns, span_of(data.data, size), newline != NULL);
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
        log_file_line(&file, clock_wall_ns(), stream->name, true, partial_span(stream),
                      span_of(NULL, 0));
        forget_partial(stream);
        stream->is_open_line = true;
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
    if (stream->partial == NULL && !stream->is_open_line)
        return;
    struct log_file file;
    begin(capture, &file);
    put_text(stream, &file, clock_wall_ns(), span_of(NULL, 0), true);
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
    free(capture->tail);
    capture->tail = NULL;
    capture->tail_size = 0;
    for (int i = 0; i < 2; i++) {
        ev_io_set(&capture->streams[i].on_readable, pipes[i][0], EV_READ);
        ev_io_start(capture->hub->loop, &capture->streams[i].on_readable);
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
}

void capture_free(struct capture *capture)
{
    capture_close(capture);
    for (int i = 0; i < 2; i++)
        forget_partial(&capture->streams[i]);
    free(capture->tail);
    capture->tail = NULL;
    capture->tail_size = 0;
}

/* The bytes of a valid UTF-8 sequence that begins here, 0 for none. */
static size_t sequence_bytes(const uint8_t *data, size_t size)
{
    for (size_t length = 1; length <= 4 && length <= size; length++)
        if (utf8_is_valid(span_of(data, length)))
            return length;
    return 0;
}

char *capture_tail_text(const struct capture *capture, char text[EXIT_OUTPUT_BYTES_MAX + 1])
{
    size_t used = 0;
    for (size_t at = 0; at < capture->tail_size;) {
        const uint8_t *byte = capture->tail + at;
        size_t length = sequence_bytes(byte, capture->tail_size - at);
        bool is_control = (*byte < ' ' && *byte != '\n' && *byte != '\t') || *byte == 0x7f;
        if (length == 0 || is_control) {
            text[used++] = '?';
            at++;
            continue;
        }
        memcpy(text + used, byte, length);
        used += length;
        at += length;
    }
    text[used] = '\0';
    return text;
}
