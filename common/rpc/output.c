/* Sent bytes are dropped when they are the greater part, so each byte is moved at most once. A
 * descriptor goes with bytes of its own message only: passed.h relies on that. */
#include "common/rpc/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/log.h"

enum { IDLE_BYTES_KEPT = 1024 };

enum status output_attach(struct output *output, size_t bytes, int fd)
{
    struct output_file *files = output->files;
    if (output->file_count == output->file_capacity) {
        size_t capacity = output->file_capacity == 0 ? 4 : 2 * output->file_capacity;
        files = output->file_count == OUTPUT_FILES_MAX
                    ? NULL
                    : realloc(output->files, capacity * sizeof *files);
        if (files == NULL) {
            fd_close(&fd);
            return STATUS_RESOURCE_EXHAUSTED;
        }
        output->files = files;
        output->file_capacity = capacity;
    }
    uint64_t end = output->sent_total + output_unsent(output);
    files[output->file_count++] = (struct output_file){ end - bytes, end, fd };
    return STATUS_OK;
}

/* How much may go with the next send, and which descriptor with it. */
static size_t next_part(const struct output *output, int *fd)
{
    size_t all = output_unsent(output);
    *fd = -1;
    if (output->file_count == 0)
        return all;
    const struct output_file *file = &output->files[0];
    if (file->begin > output->sent_total)
        return (size_t)(file->begin - output->sent_total);
    *fd = file->fd;
    return (size_t)(file->end - output->sent_total);
}

static ssize_t send_part(const struct output *output, int fd, size_t size, int file)
{
    union {
        struct cmsghdr header; /* aligns */
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { .bytes = { 0 } };
    uint8_t *from = output->buffer.data + output->start;
    if (file < 0)
        return send(fd, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    control.header = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof(int)),
        .cmsg_level = SOL_SOCKET,
        .cmsg_type = SCM_RIGHTS,
    };
    memcpy(CMSG_DATA(&control.header), &file, sizeof file);
    struct iovec vector = { from, size };
    const struct msghdr message = {
        .msg_iov = &vector,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void drop_first_file(struct output *output)
{
    fd_close(&output->files[0].fd);
    output->file_count--;
    memmove(output->files, output->files + 1, output->file_count * sizeof output->files[0]);
}

enum status output_send(struct output *output, int fd)
{
    struct buffer *buffer = &output->buffer;
    while (output_unsent(output) > 0) {
        int file;
        size_t part = next_part(output, &file);
        ssize_t sent = send_part(output, fd, part, file);
        if (sent < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
                return STATUS_OK;
            if (errno == EPIPE || errno == ECONNRESET)
                return STATUS_UNAVAILABLE;
            return log_failure(status_from_errno(errno), "send", "reason", strerror(errno));
        }
        output->start += (size_t)sent;
        output->sent_total += (uint64_t)sent;
        if (file >= 0)
            drop_first_file(output);
        if ((size_t)sent < part)
            break;
    }
    if (output_unsent(output) == 0) {
        buffer_clear(buffer);
        buffer_shrink(buffer, IDLE_BYTES_KEPT);
        output->start = 0;
    } else if (output->start > buffer->size / 2) {
        buffer_consume(buffer, output->start);
        output->start = 0;
    }
    return STATUS_OK;
}

void output_drop(struct output *output)
{
    buffer_clear(&output->buffer);
    output->start = 0;
    while (output->file_count > 0)
        drop_first_file(output);
}

void output_close(struct output *output)
{
    output_drop(output);
    buffer_close(&output->buffer);
    free(output->files);
    output->files = NULL;
    output->file_capacity = 0;
    output->sent_total = 0;
}
