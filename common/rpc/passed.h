#ifndef SOLO_COMMON_RPC_PASSED_H
#define SOLO_COMMON_RPC_PASSED_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Descriptors that came with the bytes of a stream (SCM_RIGHTS): which of them belongs to which
 * frame. output.h sends each with bytes of its own frame and no others, so that the last byte of
 * what a read brought lies in the frame of the descriptor that it brought. Starts zeroed. */
enum { PASSED_MAX = 4 };

struct passed {
    struct {
        int fd;
        uint64_t at; /* a byte of its frame */
    } items[PASSED_MAX];
    size_t count;
    uint64_t received; /* bytes of the stream */
    uint64_t done;     /* of those, in frames that passed_take was told of */
};

/* recv, without waiting. Fails with EPROTO when there is no room for what came along. */
ssize_t passed_receive(struct passed *passed, int socket, void *room, size_t size);

/* The next frame has `bytes`: its descriptor, the caller's from now on; -1 for none. */
int passed_take(struct passed *passed, size_t bytes);

/* Closes what nobody took, and begins another stream. */
void passed_close(struct passed *passed);

#endif
