/* Bytes arrive in on_readable and leave as lines (capture_lines.h) within the same turn. A tick
 * looks at those of whom something is to be written later. */
#include "tenantd/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "tenantd/capture_lines.h"

enum { DRAIN_BYTES_MAX = 1024 * 1024, PIPE_BYTES_MANY = 48 * 1024 };

static void tick_start(struct capture_hub *hub)
{
    if (!ev_is_active(&hub->tick))
        ev_timer_again(hub->loop, &hub->tick);
}

/* After anything was put: the tick has to look at it again. */
static void settle(struct capture *capture)
{
    struct capture_hub *hub = capture->hub;
    bool is_unfinished = capture->streams[0].partial != NULL || capture->streams[1].partial != NULL;
    bool is_missing = capture_is_missing(capture);
    if (is_unfinished && !capture->is_unfinished)
        LL_PREPEND2(hub->unfinished, capture, next_unfinished);
    if (is_missing && !capture->is_missing)
        LL_PREPEND2(hub->missing, capture, next_missing);
    capture->is_unfinished |= is_unfinished;
    capture->is_missing |= is_missing;
    if (is_unfinished || is_missing)
        tick_start(hub);
}

static void leave_lists(struct capture *capture)
{
    struct capture_hub *hub = capture->hub;
    if (capture->is_waiting)
        LL_DELETE2(hub->waiting, capture, next_waiting);
    if (capture->is_unfinished)
        LL_DELETE2(hub->unfinished, capture, next_unfinished);
    if (capture->is_missing)
        LL_DELETE2(hub->missing, capture, next_missing);
    capture->is_waiting = capture->is_unfinished = capture->is_missing = false;
}

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
    struct capture *capture, *next;
    LL_FOREACH_SAFE2(hub->unfinished, capture, next, next_unfinished)
    {
        if (++capture->unfinished_ticks < CAPTURE_PARTIAL_TICKS)
            continue;
        LL_DELETE2(hub->unfinished, capture, next_unfinished);
        capture->is_unfinished = false;
        capture_put_unfinished(capture);
        settle(capture);
    }
}

/* Those that may write again do, and say what is missing. */
static void tell_missing(struct capture_hub *hub)
{
    struct capture *capture, *next;
    uint64_t now_ns = clock_boottime_ns();
    LL_FOREACH_SAFE2(hub->missing, capture, next, next_missing)
    {
        log_rate_fill(&capture->rate, now_ns);
        if ((capture->is_dropping && !log_rate_is_open(&capture->rate)) ||
            (capture->is_disk_failing && now_ns < capture->retry_ns))
            continue;
        LL_DELETE2(hub->missing, capture, next_missing);
        capture->is_missing = false;
        capture_tell_missing(capture);
        settle(capture);
    }
}

static void on_tick(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct capture_hub *hub = OWNER_OF(timer, struct capture_hub, tick);
    release_waiting(hub);
    tell_missing(hub);
    age_unfinished(hub);
    if (hub->unfinished == NULL && hub->missing == NULL)
        ev_timer_stop(hub->loop, &hub->tick);
}

void capture_hub_open(struct capture_hub *hub, struct ev_loop *loop, const struct folder *folder)
{
    hub->loop = loop;
    hub->folder = folder;
    hub->rate = (struct log_rate_settings){ 0 };
    hub->waiting = hub->unfinished = hub->missing = NULL;
    ev_timer_init(&hub->tick, on_tick, CAPTURE_TICK_MS / 1000.0, CAPTURE_TICK_MS / 1000.0);
}

void capture_hub_close(struct capture_hub *hub)
{
    if (hub->loop != NULL)
        ev_timer_stop(hub->loop, &hub->tick);
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
    LL_PREPEND2(hub->waiting, capture, next_waiting);
    for (int i = 0; i < 2; i++)
        if (capture->streams[i].on_readable.fd >= 0)
            ev_io_stop(hub->loop, &capture->streams[i].on_readable);
    tick_start(hub);
}

/* The last line of an instance ends with it. */
static void close_stream(struct capture *capture, struct capture_stream *stream)
{
    if (stream->on_readable.fd < 0)
        return;
    ev_io_stop(capture->hub->loop, &stream->on_readable);
    close(stream->on_readable.fd);
    ev_io_set(&stream->on_readable, -1, EV_READ);
    capture_put_end(capture, stream);
    settle(capture);
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
    if (size > 0) {
        capture_put(capture, stream, span_of(buffer, (size_t)size));
        settle(capture);
        return (size_t)size;
    }
    if (size == 0 || errno != EAGAIN)
        close_stream(capture, stream);
    return 0;
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
        capture->streams[i].is_error = i == 1;
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
    for (int i = 0; i < 2; i++)
        close_stream(capture, &capture->streams[i]);
    leave_lists(capture);
    if (capture_is_missing(capture))
        capture_tell_missing(capture);
    settle(capture);
}

void capture_free(struct capture *capture)
{
    capture_close(capture);
    if (capture->hub != NULL)
        leave_lists(capture);
    output_tail_reset(&capture->tail);
}
