/* Sent bytes are dropped when they are the greater part, so each byte is moved at most once. */
#include "common/rpc/output.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/log.h"

enum { IDLE_BYTES_KEPT = 1024 };

enum status output_send(struct output *output, int fd)
{
    struct buffer *buffer = &output->buffer;
    if (output_unsent(output) == 0)
        return STATUS_OK;
    ssize_t sent =
        send(fd, buffer->data + output->start, output_unsent(output), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
            return STATUS_OK;
        if (errno == EPIPE || errno == ECONNRESET)
            return STATUS_UNAVAILABLE;
        return log_failure(status_from_errno(errno), "send", "reason", strerror(errno));
    }
    output->start += (size_t)sent;
    output->sent_total += (uint64_t)sent;
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

void output_close(struct output *output)
{
    buffer_close(&output->buffer);
    output->start = 0;
    output->sent_total = 0;
}
