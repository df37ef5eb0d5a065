/* A client of a few lines. */
#include "tests/support/caller.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/unix_socket.h"
#include "common/wire/frame_scanner.h"
#include "common/wire/writer.h"
#include "tests/support/wire_json.h"

enum { CALLER_BYTES_MAX = 4 * FRAME_BYTES_MAX };

enum status caller_open(struct caller *caller, const char *path)
{
    *caller = (struct caller){ .fd = -1, .in = { .limit = CALLER_BYTES_MAX } };
    snprintf(caller->path, sizeof caller->path, "%s", path);
    return unix_socket_connect(path, &caller->fd);
}

void caller_close(struct caller *caller)
{
    if (caller->fd > 0)
        fd_close(&caller->fd);
    caller->fd = -1;
    buffer_close(&caller->in);
}

static bool caller_await(struct caller *caller, short events, int timeout_ms)
{
    struct pollfd wait = { .fd = caller->fd, .events = events };
    int ready;
    do
        ready = poll(&wait, 1, timeout_ms);
    while (ready < 0 && errno == EINTR);
    return ready == 1;
}

bool caller_send(struct caller *caller, struct span bytes)
{
    while (bytes.size > 0) {
        ssize_t size = send(caller->fd, bytes.data, bytes.size, MSG_NOSIGNAL);
        if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (!caller_await(caller, POLLOUT, 10000))
                return false;
            continue;
        }
        if (size < 0 && errno != EINTR)
            return false;
        if (size > 0)
            bytes = span_of(bytes.data + size, bytes.size - (size_t)size);
    }
    return true;
}

/* Takes one whole message off the buffer, if there is one. */
static json_t *caller_next(struct caller *caller)
{
    struct frame_scanner scanner = { 0 };
    const char *rule;
    bool is_complete = false;
    if (caller->in.size == 0 ||
        frame_scan(&scanner, buffer_span(&caller->in), CALLER_BYTES_MAX, &is_complete, &rule) !=
            STATUS_OK ||
        !is_complete)
        return NULL;
    json_t *message = json_of_wire(span_of(caller->in.data, scanner.position));
    buffer_consume(&caller->in, scanner.position);
    return message;
}

json_t *caller_receive(struct caller *caller, int timeout_ms, bool *is_closed)
{
    uint64_t end_ns = clock_boottime_ns() + (uint64_t)timeout_ms * 1000000;
    if (is_closed != NULL)
        *is_closed = false;
    for (;;) {
        json_t *message = caller_next(caller);
        if (message != NULL)
            return message;
        uint64_t now_ns = clock_boottime_ns();
        int left_ms = now_ns >= end_ns ? 0 : (int)((end_ns - now_ns) / 1000000) + 1;
        if (left_ms == 0 || !caller_await(caller, POLLIN, left_ms))
            return NULL;
        uint8_t *room = buffer_reserve(&caller->in, 65536);
        ssize_t size = room == NULL ? 0 : recv(caller->fd, room, 65536, 0);
        if (size > 0) {
            caller->in.size += (size_t)size;
        } else if (size == 0 || (errno != EINTR && errno != EAGAIN)) {
            if (is_closed != NULL)
                *is_closed = true;
            return NULL;
        }
    }
}

void caller_pack(struct buffer *frame, uint64_t msgid, const char *method, const json_t *params)
{
    write_array(frame, 4);
    write_u64(frame, 0);
    write_u64(frame, msgid);
    write_str(frame, method);
    write_array(frame, 1);
    if (params == NULL)
        write_map(frame, 0);
    else
        json_to_wire(params, frame);
}

static enum status take_answer(json_t *answer, json_t **result, struct problem *problem)
{
    json_t *error = json_array_get(answer, 2);
    if (json_is_null(error)) {
        if (result != NULL)
            *result = json_incref(json_array_get(answer, 3));
        return STATUS_OK;
    }
    const char *code = json_string_value(json_object_get(error, "code"));
    const char *field = json_string_value(json_object_get(error, "field"));
    const char *message = json_string_value(json_object_get(error, "message"));
    enum status status =
        problem_set(problem, status_from_name(code == NULL ? "" : code), field == NULL ? "" : field,
                    "%s", message == NULL ? "" : message);
    if (problem != NULL)
        problem->retry_after_ms =
            (uint64_t)json_integer_value(json_object_get(error, "retry_after_ms"));
    return status;
}

enum status caller_call(struct caller *caller, const char *method, const json_t *params,
                        int timeout_ms, json_t **result, struct problem *problem)
{
    if (result != NULL)
        *result = NULL;
    if (caller->fd < 0)
        return problem_set(problem, STATUS_UNAVAILABLE, "", "not connected");
    AUTO(buffer_close) struct buffer frame = { .limit = CALLER_BYTES_MAX };
    uint64_t msgid = ++caller->msgid;
    caller_pack(&frame, msgid, method, params);
    if (!caller_send(caller, buffer_span(&frame))) {
        fd_close(&caller->fd);
        return problem_set(problem, STATUS_UNKNOWN, "", "the connection broke while sending");
    }
    for (;;) {
        bool is_closed;
        json_t *answer = caller_receive(caller, timeout_ms, &is_closed);
        if (answer == NULL) {
            fd_close(&caller->fd);
            return problem_set(problem, is_closed ? STATUS_UNKNOWN : STATUS_DEADLINE_EXCEEDED, "",
                               is_closed ? "the connection ended before the answer"
                                         : "no answer in time");
        }
        enum status status = STATUS_OK;
        bool is_ours = json_integer_value(json_array_get(answer, 0)) == 1 &&
                       (uint64_t)json_integer_value(json_array_get(answer, 1)) == msgid;
        if (is_ours)
            status = take_answer(answer, result, problem);
        json_decref(answer);
        if (is_ours)
            return status;
    }
}
