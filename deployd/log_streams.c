/* A stream works in slices: each seeks or sends a bounded piece and comes back in the next turn of
 * the loop, or when the caller has read what was sent, or (follow) when inotify sees the directory
 * change. Where somebody has removed that, a follower is told so once and looks now and then
 * whether the supervisor has made it anew. */
#include "deployd/log_streams.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>
#include <utlist.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/wire/writer.h"
#include "deployd/log_files.h"

enum {
    SLICE_BYTES = 256 * 1024,
    SEEK_BYTES = 1024 * 1024,
    BATCH_BYTES_MAX = 128 * 1024, /* of text in one notification */
    UNREAD_BYTES_PAUSE = 512 * 1024,
    LOST_LOOK_MS = 500,
};

struct log_stream {
    struct log_stream *previous, *next;
    struct deployd *owner;
    struct rpc_call *call;
    struct share *share;
    char tenant[NAME_BYTES_MAX + 1];
    struct log_files files;
    struct ev_timer turn;
    struct ev_io changes; /* inotify, owned; follow only */
    bool is_following;
    bool is_lost;   /* the folder is gone, and the caller was told */
    bool has_begun; /* a batch was sent */
    bool is_paused; /* until the caller has read */
    uint64_t sent;
};

static struct log_stream *streams;

static void stream_step(struct log_stream *stream);

static void stream_free(struct log_stream *stream)
{
    ev_timer_stop(stream->owner->loop, &stream->turn);
    if (stream->is_following) {
        ev_io_stop(stream->owner->loop, &stream->changes);
        close(stream->changes.fd);
    }
    log_files_close(&stream->files);
    shares_give(&stream->owner->log_streams, stream->share);
    DL_DELETE2(streams, stream, previous, next);
    free(stream);
}

static void stream_end(struct log_stream *stream, enum status status)
{
    struct problem problem = { 0 };
    if (status == STATUS_OK) {
        const struct service_logs_reply reply = { .sent = stream->sent };
        rpc_call_reply(stream->call, &reply);
    } else {
        problem_set(&problem, status, "", "the output cannot be read on: %s", status_text(status));
        rpc_call_fail(stream->call, status, &problem);
    }
    stream_free(stream);
}

static void on_gone(struct rpc_call *call)
{
    struct log_stream *stream = call->user;
    rpc_call_drop(call);
    stream_free(stream);
}

static void on_drained(struct rpc_call *call)
{
    struct log_stream *stream = call->user;
    stream->is_paused = false;
    stream_step(stream);
}

static void on_turn(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    stream_step(timer->data);
}

static void on_changes(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)loop, (void)events;
    struct log_stream *stream = io->data;
    char ignored[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    while (read(io->fd, ignored, sizeof ignored) > 0)
        ;
    if (!stream->is_paused)
        stream_step(stream);
}

static void again_after(struct log_stream *stream, unsigned delay_ms)
{
    ev_timer_stop(stream->owner->loop, &stream->turn);
    ev_timer_set(&stream->turn, delay_ms / 1e3, 0);
    ev_timer_start(stream->owner->loop, &stream->turn);
}

static void again(struct log_stream *stream)
{
    again_after(stream, 0);
}

/* Text goes out as text where it is UTF-8, as bytes otherwise. */
static void line_write(struct buffer *lines, const struct log_line *line)
{
    write_map(lines, line->is_note ? 5 : 4);
    if (line->is_note) {
        write_str(lines, "note");
        write_bool(lines, true);
    }
    write_str(lines, "time");
    write_u64(lines, line->wall_ns);
    write_str(lines, "stream");
    write_str(lines, line->is_error ? "stderr" : "stdout");
    write_str(lines, "partial");
    write_bool(lines, line->is_partial);
    write_str(lines, "text");
    if (utf8_is_valid(line->text))
        write_text(lines, line->text);
    else
        write_bin(lines, line->text);
}

static enum status batch_send(struct log_stream *stream, const struct buffer *lines, size_t count)
{
    AUTO(buffer_close) struct buffer batch = { .limit = FRAME_BYTES_MAX };
    write_map(&batch, 1);
    write_str(&batch, "lines");
    write_array(&batch, count);
    buffer_append(&batch, lines->data, lines->size);
    stream->sent += count;
    return rpc_call_notify(stream->call, "log.batch", buffer_span(&batch));
}

/* Sends one batch. OK: there is more; not_found: no more for now; unavailable: nothing found yet.
 */
static enum status slice_send(struct log_stream *stream)
{
    AUTO(buffer_close) struct buffer lines = { .limit = FRAME_BYTES_MAX / 2 };
    size_t count = 0, bytes_left = SLICE_BYTES;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && lines.size < BATCH_BYTES_MAX && count < LIST_COUNT_MAX &&
           bytes_left > 0) {
        struct log_line line;
        status = log_files_next(&stream->files, &bytes_left, &line);
        if (status == STATUS_OK) {
            line_write(&lines, &line);
            count++;
        }
    }
    /* A follower learns from the first batch that it has been heard, there being lines or not. */
    bool is_due =
        count > 0 || (stream->is_following && !stream->has_begun && status == STATUS_NOT_FOUND);
    enum status sent = is_due ? batch_send(stream, &lines, count) : STATUS_OK;
    stream->has_begun |= is_due;
    return sent == STATUS_OK ? status : sent;
}

/* False when its token does not allow it any more: then it has ended and is gone. */
static bool may_go_on(struct log_stream *stream)
{
    struct problem problem = { 0 };
    enum status status =
        access_still_allows(&stream->owner->access, &stream->call->caller, &problem);
    if (status == STATUS_OK)
        return true;
    rpc_call_fail(stream->call, status, &problem);
    stream_free(stream);
    return false;
}

static enum status folder_path(const struct deployd *deployd, const char *tenant, char path[4096])
{
    char folder[NAME_BYTES_MAX + 8];
    snprintf(folder, sizeof folder, "logs/%s", tenant);
    return path_join(path, deployd->settings.data_dir, folder);
}

static enum status folder_watch(const struct log_stream *stream, const char *path)
{
    return inotify_add_watch(stream->changes.fd, path, IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0
               ? status_from_errno(errno)
               : STATUS_OK;
}

/* Everything that was there has been sent; inotify says when there is more, or that the folder was
 * removed. */
static void follow_on(struct log_stream *stream)
{
    char path[4096];
    if (!log_files_is_lost(&stream->files))
        return;
    if (!stream->is_lost) {
        stream->is_lost = true;
        log_files_tell_lost(&stream->files);
        again(stream);
        return;
    }
    enum status status = folder_path(stream->owner, stream->tenant, path);
    if (status == STATUS_OK)
        status = log_files_reopen(&stream->files, path);
    if (status == STATUS_OK)
        status = folder_watch(stream, path);
    stream->is_lost = status != STATUS_OK;
    if (status == STATUS_NOT_FOUND)
        again_after(stream, LOST_LOOK_MS);
    else if (status == STATUS_OK)
        again(stream);
    else
        stream_end(stream, status);
}

static void stream_step(struct log_stream *stream)
{
    enum status status = STATUS_OK;
    if (!may_go_on(stream))
        return;
    if (stream->files.is_seeking)
        status = log_files_seek_step(&stream->files, SEEK_BYTES);
    if (status == STATUS_OK)
        status = slice_send(stream);
    if (status == STATUS_NOT_FOUND && stream->is_following) {
        follow_on(stream);
        return;
    }
    if (status == STATUS_NOT_FOUND) {
        stream_end(stream, STATUS_OK);
        return;
    }
    if (status != STATUS_OK && status != STATUS_UNAVAILABLE) {
        stream_end(stream, status);
        return;
    }
    if (rpc_call_unread(stream->call) > UNREAD_BYTES_PAUSE) {
        stream->is_paused = true;
        rpc_call_on_drained(stream->call, on_drained);
        return;
    }
    again(stream);
}

/* Of a folder that others hold open only the one above it says that it was removed. */
static enum status follow(struct log_stream *stream, const char *path)
{
    char above[4096];
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0)
        return log_failure(status_from_errno(errno), "watch a tenant's output", "path", path,
                           "reason", strerror(errno));
    ev_io_init(&stream->changes, on_changes, fd, EV_READ);
    stream->changes.data = stream;
    ev_io_start(stream->owner->loop, &stream->changes);
    stream->is_following = true;
    snprintf(above, sizeof above, "%.*s", (int)(strrchr(path, '/') - path), path);
    inotify_add_watch(fd, above, IN_DELETE);
    enum status status = folder_watch(stream, path);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status stream_open(struct log_stream *stream,
                               const struct service_logs_request *request, struct problem *problem)
{
    char path[4096];
    const struct log_filter filter = {
        .since_ns = request->since_ns,
        .only_output = strcmp(request->stream, "stdout") == 0,
        .only_errors = strcmp(request->stream, "stderr") == 0,
    };
    TRY(folder_path(stream->owner, request->tenant, path));
    if (request->follow) {
        enum status status = follow(stream, path);
        if (status != STATUS_OK)
            return problem_set(problem, status, "follow",
                               "the output cannot be watched now (%s); ask without follow",
                               status_text(status));
    }
    enum status status = log_files_open(&stream->files, path, request->name, &filter);
    if (status == STATUS_OK && (request->lines > 0 || request->only_new))
        status = log_files_seek_last(&stream->files, request->only_new ? 0 : request->lines);
    return status;
}

enum status log_stream_begin(struct deployd *deployd, struct rpc_call *call,
                             const struct service_logs_request *request,
                             struct service_logs_reply *reply)
{
    if (request->stream[0] != '\0' && strcmp(request->stream, "stdout") != 0 &&
        strcmp(request->stream, "stderr") != 0)
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "stream",
                           "must be stdout or stderr, is \"%s\"", request->stream);
    TRY(shares_check(&deployd->log_streams, LOG_STREAMS_MAX, "readers of output", call));
    struct log_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "", "out of memory");
    stream->owner = deployd;
    stream->call = call;
    snprintf(stream->tenant, sizeof stream->tenant, "%s", request->tenant);
    stream->files = LOG_FILES_NONE;
    stream->share = shares_take(&deployd->log_streams, &call->caller);
    DL_APPEND2(streams, stream, previous, next);
    ev_timer_init(&stream->turn, on_turn, 0, 0);
    stream->turn.data = stream;
    enum status status = stream_open(stream, request, &call->problem);
    bool exists =
        service_exists(catalog_service(&deployd->catalog, request->tenant, request->name));
    if (status == STATUS_NOT_FOUND && exists && !request->follow) {
        stream_free(stream); /* it has written nothing */
        *reply = (struct service_logs_reply){ 0 };
        return STATUS_OK;
    }
    if (status == STATUS_NOT_FOUND && exists)
        status = STATUS_OK; /* followed from its first line on */
    if (status != STATUS_OK) {
        stream_free(stream);
        if (status == STATUS_NOT_FOUND)
            problem_set(&call->problem, status, "name",
                        "there is no service %s/%s and no output of it", request->tenant,
                        request->name);
        return status;
    }
    call->user = stream;
    call->on_gone = on_gone;
    rpc_call_defer(call);
    again(stream);
    return STATUS_OK;
}

void log_streams_check_tokens(void)
{
    for (struct log_stream *after, *stream = streams; stream != NULL; stream = after) {
        after = stream->next;
        (void)may_go_on(stream); /* it may be gone afterwards */
    }
}

void log_streams_end(struct deployd *deployd, const struct problem *problem)
{
    (void)deployd;
    while (streams != NULL) {
        rpc_call_fail(streams->call, problem->code, problem);
        stream_free(streams);
    }
}
