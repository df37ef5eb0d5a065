#ifndef SOLO_TESTS_SUPPORT_CALLER_H
#define SOLO_TESTS_SUPPORT_CALLER_H

#include <jansson.h>

#include "common/base/buffer.h"
#include "common/base/problem.h"

/* MessagePack-RPC by hand over a blocking socket: independent of common/rpc, so that a mistake made
 * there in client and server alike still shows. One thread, one call at a time. */
struct caller {
    int fd;
    uint64_t msgid;
    struct buffer in;
    char path[4096];
};
#define CALLER_NONE ((struct caller){ .fd = -1 })

/* not_found or unavailable when nobody listens. */
enum status caller_open(struct caller *caller, const char *path);
void caller_close(struct caller *caller);

/* Sends `method` with the members of `params` (borrowed; NULL for none) and waits for the answer.
 * OK: *result is the answer, owned by the caller of this function; may be NULL when not wanted.
 * A refusal: its status, with `problem` (may be NULL) filled. unavailable: nothing was sent;
 * unknown: the connection broke after sending; deadline_exceeded: no answer in time, the connection
 * is closed. */
enum status caller_call(struct caller *caller, const char *method, const json_t *params,
                        int timeout_ms, json_t **result, struct problem *problem);

/* Raw bytes, for what no honest client sends. False when the other side has closed. */
bool caller_send(struct caller *caller, struct span bytes);
/* The next whole message as JSON; NULL when the connection ended or nothing came in time
 * (*is_closed tells which; may be NULL). */
json_t *caller_receive(struct caller *caller, int timeout_ms, bool *is_closed);

/* A request as bytes: [0, msgid, method, [params]] appended to `frame`. */
void caller_pack(struct buffer *frame, uint64_t msgid, const char *method, const json_t *params);

#endif
