#ifndef SOLO_COMMON_RPC_OUTPUT_H
#define SOLO_COMMON_RPC_OUTPUT_H

#include "common/base/buffer.h"

/* Bytes on their way out of a socket: messages are appended to `buffer`, sends take from its front.
 * Starts as { .buffer.limit = BYTES }. */
struct output {
    struct buffer buffer;
    size_t start; /* of what has not been sent yet */
    uint64_t sent_total;
    struct output_file *files; /* that go with some of it, oldest first */
    size_t file_count, file_capacity;
};

/* A descriptor that goes with one message: its bytes from `begin` to `end`, counted like
 * sent_total. */
struct output_file {
    uint64_t begin, end;
    int fd;
};

static inline size_t output_unsent(const struct output *output)
{
    return output->buffer.size - output->start;
}

/* One send of what there is, as far as the socket takes it. `unavailable` when the other side is
 * gone (not logged: peers come and go). */
enum status output_send(struct output *output, int fd);
/* Gives a descriptor to the message that was appended last and has `bytes`; it is closed when it
 * was sent, and on failure. resource_exhausted past OUTPUT_FILES_MAX that wait. */
enum status output_attach(struct output *output, size_t bytes, int fd);
/* Forgets what was not sent. */
void output_drop(struct output *output);
void output_close(struct output *output);

#endif
