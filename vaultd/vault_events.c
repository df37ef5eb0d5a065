/* Payloads of secret_* and vault_* events: small maps. */
#include "vaultd/vault_events.h"

#include <stdio.h>
#include <string.h>

#include "common/access/access.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/wire/writer.h"

enum { PAYLOAD_BYTES_MAX = 1024 };

static enum status put(struct vault_store *store, enum event_type type, const char *tenant,
                       const char *subject, const struct buffer *payload)
{
    ensure(!payload->is_exhausted);
    const struct event_append_request event = {
        .type = event_type_name(type),
        .tenant = tenant,
        .subject = subject,
        .payload = buffer_span(payload),
    };
    return outbox_put(&store->outbox, &store->txn, &event);
}

static const char *secret_subject(char subject[EVENT_SUBJECT_BYTES_MAX + 1], const char *tenant,
                                  const char *name)
{
    if (name[0] == '\0')
        return "secret";
    snprintf(subject, EVENT_SUBJECT_BYTES_MAX + 1, "secret/%s/%s", tenant, name);
    return subject;
}

enum status secret_event(struct vault_store *store, enum event_type type, const char *tenant,
                         const char *name, uint64_t version, uint64_t destroyed,
                         const struct caller *by)
{
    AUTO(buffer_close) struct buffer payload = { .limit = PAYLOAD_BYTES_MAX };
    char subject[EVENT_SUBJECT_BYTES_MAX + 1], text[CALLER_TEXT_BYTES];
    write_map(&payload, 3 + (destroyed > 0));
    write_key_str(&payload, "name", name);
    write_key_u64(&payload, "version", version);
    if (destroyed > 0)
        write_key_u64(&payload, "destroyed", destroyed);
    write_key_str(&payload, "by", caller_text(by, text));
    return put(store, type, tenant, secret_subject(subject, tenant, name), &payload);
}

enum status secret_event_delivered(struct vault_store *store, const char *tenant, const char *name,
                                   uint64_t version, const char *service, uint64_t generation)
{
    AUTO(buffer_close) struct buffer payload = { .limit = PAYLOAD_BYTES_MAX };
    char subject[EVENT_SUBJECT_BYTES_MAX + 1];
    write_map(&payload, 4);
    write_key_str(&payload, "name", name);
    write_key_u64(&payload, "version", version);
    write_key_str(&payload, "service", service);
    write_key_u64(&payload, "generation", generation);
    return put(store, EVENT_secret_accessed, tenant, secret_subject(subject, tenant, name),
               &payload);
}

enum status secret_event_denied(struct vault_store *store, const char *tenant, const char *of,
                                const char *name, const char *method, const char *by,
                                const char *reason, uint64_t count)
{
    AUTO(buffer_close) struct buffer payload = { .limit = PAYLOAD_BYTES_MAX };
    char subject[EVENT_SUBJECT_BYTES_MAX + 1];
    bool is_own = strcmp(of, tenant) == 0;
    write_map(&payload, is_own ? 5 : 6);
    if (!is_own)
        write_key_str(&payload, "tenant", of);
    write_key_str(&payload, "name", name);
    write_key_str(&payload, "method", method);
    write_key_str(&payload, "by", by);
    write_key_str(&payload, "reason", reason);
    write_key_u64(&payload, "count", count);
    return put(store, EVENT_secret_access_denied, tenant,
               secret_subject(subject, tenant, is_own ? name : ""), &payload);
}

enum status vault_event(struct vault_store *store, enum event_type type, const char *by,
                        const char *opens_with)
{
    AUTO(buffer_close) struct buffer payload = { .limit = PAYLOAD_BYTES_MAX };
    write_map(&payload, opens_with == NULL ? 1 : 2);
    write_key_str(&payload, "by", by[0] == '\0' ? "vaultd" : by);
    if (opens_with != NULL)
        write_key_str(&payload, "opens_with", opens_with);
    return put(store, type, "", "vault", &payload);
}

enum status vault_event_rotated(struct vault_store *store, const char *tenant,
                                const struct vault_tenant *row)
{
    AUTO(buffer_close) struct buffer payload = { .limit = PAYLOAD_BYTES_MAX };
    write_map(&payload, 2);
    write_key_u64(&payload, "epoch", row->epoch);
    write_key_u64(&payload, "versions", row->versions[0] + row->versions[1]);
    return put(store, EVENT_vault_rotated, tenant, "vault", &payload);
}

enum status vault_event_resource(struct vault_store *store, const struct buffer *payload)
{
    const struct event_append_request event = {
        .type = event_type_name(EVENT_resource_usage_high),
        .tenant = "",
        .subject = "system",
        .payload = buffer_span(payload),
    };
    if (store->in_turn || !vault_store_is_vouched(store) || !outbox_has_room(&store->outbox, 1))
        return STATUS_UNAVAILABLE;
    TRY(vault_store_begin(store));
    enum status status = outbox_put(&store->outbox, &store->txn, &event);
    if (status == STATUS_OK)
        return vault_store_commit(store);
    vault_store_abort(store);
    return status;
}
