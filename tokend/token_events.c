/* Payloads of capability_* events: small maps. */
#include "tokend/token_events.h"

#include <stdio.h>
#include <string.h>

#include "common/access/access.h"
#include "common/access/token_text.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/wire/writer.h"

enum { PAYLOAD_BYTES_MAX = 1024 };

static void write_permissions(struct buffer *payload, uint32_t bits)
{
    write_str(payload, "permissions");
    write_array(payload, (size_t)__builtin_popcount(bits));
    for (int permission = PERMISSION_ANY_TOKEN + 1; permission < PERMISSION_COUNT; permission++)
        if (bits & permission_bit((enum permission)permission))
            write_str(payload, permission_name((enum permission)permission));
}

static enum status put(struct token_store *store, enum event_type type, const char *tenant,
                       const char *accessor, const struct buffer *payload)
{
    char subject[EVENT_SUBJECT_BYTES_MAX + 1];
    snprintf(subject, sizeof subject, "token/%s", accessor);
    ensure(!payload->is_exhausted);
    const struct event_append_request event = {
        .type = event_type_name(type),
        .tenant = tenant,
        .subject = subject,
        .payload = buffer_span(payload),
    };
    return outbox_put(&store->outbox, &store->txn, &event);
}

enum status token_event(struct token_store *store, enum event_type type,
                        const struct token_record *record, const struct rpc_call *call,
                        const char *cause)
{
    AUTO(buffer_close) struct buffer payload = { .limit = PAYLOAD_BYTES_MAX };
    char accessor[ACCESSOR_TEXT_BYTES], text[CALLER_TEXT_BYTES];
    accessor_text(accessor, &record->accessor);
    write_map(&payload, 5 + (call != NULL) + (cause[0] != '\0') + store->is_of_boot);
    write_key_str(&payload, "accessor", accessor);
    write_permissions(&payload, record->permissions);
    write_key_u64(&payload, "granted_ns", record->granted_ns);
    write_key_u64(&payload, "expires_ns", record->expires_ns);
    write_key_u64(&payload, "depth", record->depth);
    if (call != NULL)
        write_key_str(&payload, "by", caller_text(&call->caller, text));
    if (cause[0] != '\0')
        write_key_str(&payload, "with", cause);
    if (store->is_of_boot)
        write_key_bool(&payload, TOKEN_IS_OF_BOOT, true);
    return put(store, type, record->tenant, accessor, &payload);
}

enum status token_event_denied(struct token_store *store, const struct token_record *record,
                               uint64_t count, const char *method)
{
    AUTO(buffer_close) struct buffer payload = { .limit = PAYLOAD_BYTES_MAX };
    char accessor[ACCESSOR_TEXT_BYTES] = "unknown";
    if (record != NULL)
        accessor_text(accessor, &record->accessor);
    write_map(&payload, 3);
    write_key_str(&payload, "accessor", accessor);
    write_key_u64(&payload, "count", count);
    write_key_str(&payload, "method", method);
    return put(store, EVENT_capability_denied, record == NULL ? "" : record->tenant, accessor,
               &payload);
}

enum status token_event_resource(struct token_store *store, const struct buffer *payload)
{
    const struct event_append_request event = {
        .type = event_type_name(EVENT_resource_usage_high),
        .tenant = "",
        .subject = "system",
        .payload = buffer_span(payload),
    };
    if (store->in_turn || !token_store_is_vouched(store) || !outbox_has_room(&store->outbox, 1))
        return STATUS_UNAVAILABLE;
    TRY(token_store_begin(store));
    enum status status = outbox_put(&store->outbox, &store->txn, &event);
    if (status == STATUS_OK)
        return token_store_commit(store);
    token_store_abort(store);
    return status;
}
