#ifndef SOLO_COMMON_RPC_MESSAGE_H
#define SOLO_COMMON_RPC_MESSAGE_H

#include "common/base/buffer.h"
#include "common/base/problem.h"
#include "common/wire/fields.h"

/* The three shapes of MessagePack-RPC: [0, msgid, method, params], [1, msgid, error, result] and
 * [2, method, params]. msgid 0 is never a request of ours: an error with it speaks of the
 * connection. */
enum message_kind { MESSAGE_REQUEST, MESSAGE_REPLY, MESSAGE_NOTIFY };

struct message {
    enum message_kind kind;
    uint64_t msgid;
    struct span method;
    struct span params; /* packed, of a request or notification */
    struct span error;  /* packed, of a reply; empty when it was nil */
    struct span result; /* packed, of a reply */
};

/* Reads a frame that the scanner has accepted. Spans point into it. */
enum status message_parse(struct span frame, struct message *message);

/* Msgid and method of a request whose params have not arrived yet; false when these have not
 * either, or it is none. */
bool message_peek_request(struct span data, uint64_t *msgid, struct span *method);

/* What one notification says about one call: params are [msgid, map]. */
enum status message_parse_notify(struct span params, uint64_t *msgid, struct span *map);

/* The error map of a reply; a reply without a code we know is `unknown`. */
enum status message_parse_error(struct span error, struct problem *problem);

void message_write_reply(struct buffer *buffer, uint64_t msgid, const struct field_table *table,
                         const void *reply);
void message_write_error(struct buffer *buffer, uint64_t msgid, const struct problem *problem);
void message_write_notify(struct buffer *buffer, const char *method, uint64_t msgid,
                          struct span map);
/* A request whose params are the packed `map` and, when not empty, request_id and token. */
void message_write_request(struct buffer *buffer, uint64_t msgid, const char *method,
                           struct span map, struct span request_id, struct span token);

#endif
