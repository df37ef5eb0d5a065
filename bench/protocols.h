#ifndef SOLO_BENCH_PROTOCOLS_H
#define SOLO_BENCH_PROTOCOLS_H

#include "bench/load.h"

enum { BENCH_PAYLOAD_BYTES = 256 };

/* event.append of an app.bench event with BENCH_PAYLOAD_BYTES of payload, a tenant, a subject and a
 * request_id: every table of the store is written. */
extern const struct load_protocol protocol_event_append, protocol_token_grant,
    protocol_token_revoke;
/* What is revoked by it, one after the other; the caller keeps it. */
enum { REVOKED_TEXT_BYTES = 40 };
void protocol_revoke_these(const char (*accessors)[REVOKED_TEXT_BYTES], size_t count);
/* XADD of the same number of bytes. */
extern const struct load_protocol protocol_redis_xadd;

/* A new UUIDv7 as text, cheap and unique in this process: the load generator must not be what is
 * measured. */
char *protocol_request_id(char text[37], uint64_t number);

#endif
