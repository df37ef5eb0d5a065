#ifndef SOLO_COMMON_RPC_OUTPUT_H
#define SOLO_COMMON_RPC_OUTPUT_H

#include "common/base/buffer.h"

/* Bytes on their way out of a socket: messages are appended to `buffer`, sends take from its front.
 * Starts as { .buffer.limit = BYTES }. */
struct output {
    struct buffer buffer;
    size_t start; /* of what has not been sent yet */
    uint64_t sent_total;
};

static inline size_t output_unsent(const struct output *output)
{
    return output->buffer.size - output->start;
}

/* One send of what there is, as far as the socket takes it. `unavailable` when the other side is
 * gone (not logged: peers come and go). */
enum status output_send(struct output *output, int fd);
void output_close(struct output *output);

#endif
