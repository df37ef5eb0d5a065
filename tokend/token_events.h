#ifndef SOLO_TOKEND_TOKEN_EVENTS_H
#define SOLO_TOKEND_TOKEN_EVENTS_H

#include "common/api/event_types.h"
#include "common/rpc/server.h"
#include "tokend/token_store.h"

/* What the log is told of a token, put into the outbox of the open turn. Nothing of a token but its
 * accessor, and nothing of its metadata, gets there. */

/* Granted, renewed, revoked: `call` is who asked. Expired, expiring: `call` is NULL. `cause` for
 * revoked: the accessor of the token with which it died, "" when it was named itself. */
enum status token_event(struct token_store *store, enum event_type type,
                        const struct token_record *record, const struct rpc_call *call,
                        const char *cause);

/* Refused uses of a token in a minute; `record` NULL: of none that is known. */
enum status token_event_denied(struct token_store *store, const struct token_record *record,
                               uint64_t count, const char *method);

/* Something that tokend needs is nearly used up; in a turn of its own. unavailable: within one. */
enum status token_event_resource(struct token_store *store, const struct buffer *payload);

#endif
