/* The rules, in the order in which a refusal helps most: was this request carried out before, may
 * the caller, does it make sense, is there room. Then the rows, the event, the outcome. */
#include "tokend/changes.h"

#include <stdio.h>
#include <string.h>

#include "common/access/token_text.h"
#include "common/api/event_types.h"
#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "tokend/outcomes.h"
#include "tokend/token_events.h"

enum { RETRY_AFTER_FULL_MS = 5000, RETRY_AFTER_COMPARING_MS = 1000 };

/* --- checks --- */

/* What would be granted could not be used yet, and an older copy of the store does not know which
 * hash was revoked. */
static enum status check_vouched(struct token_store *store, struct rpc_call *call)
{
    if (token_store_is_vouched(store))
        return STATUS_OK;
    if (store->withheld != NULL)
        return problem_set(&call->problem, STATUS_FAILED_PRECONDITION, "", "%s", store->withheld);
    problem_set(&call->problem, STATUS_UNAVAILABLE, "",
                "the token store has yet to be compared with the log: is eventd there?");
    call->problem.retry_after_ms = RETRY_AFTER_COMPARING_MS;
    return STATUS_UNAVAILABLE;
}

static enum status check_room(struct token_store *store, struct rpc_call *call)
{
    uint64_t tokens, revoked;
    const char *full = NULL;
    TRY(check_vouched(store, call));
    TRY(token_count(&store->txn, &tokens, &revoked));
    if (store->db.is_short_of_space)
        full = "the disk of the token store is full: free space";
    else if (!outbox_has_room(&store->outbox, 1))
        full = "too many events of tokens wait for eventd: see `soloctl daemon list`";
    else if (tokens + revoked >= TOKENS_MAX)
        full = "there are as many tokens as there may be: revoke some, or let them be swept";
    if (full == NULL)
        return STATUS_OK;
    problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "", "%s; revoking goes on all the while",
                full);
    call->problem.retry_after_ms = RETRY_AFTER_FULL_MS;
    return STATUS_RESOURCE_EXHAUSTED;
}

static enum status check_hash(struct token_store *store, struct rpc_call *call,
                              const struct hash *hash)
{
    struct token_record other;
    bool was_revoked;
    if (hash_is_zero(hash))
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "token_hash",
                           "must be the SHA-256 of a token");
    enum status status = token_find(&store->txn, hash, &other);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return status;
    TRY(token_was_revoked(&store->txn, hash, &was_revoked));
    return status == STATUS_NOT_FOUND && !was_revoked
               ? STATUS_OK
               : problem_set(&call->problem, STATUS_ALREADY_EXISTS, "token_hash",
                             "was granted before: draw a new token");
}

static enum status parse_permissions(struct rpc_call *call, struct str_list names, uint32_t *bits)
{
    *bits = 0;
    for (size_t i = 0; i < names.count; i++) {
        enum permission permission = permission_parse(names.items[i]);
        if (permission == PERMISSION_COUNT) {
            char field[32];
            snprintf(field, sizeof field, "permissions[%zu]", i);
            return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, field,
                               "must be one of deploy, kill, read, events:write, secrets:read, "
                               "secrets:write, tokens:grant, admin");
        }
        *bits |= permission_bit(permission);
    }
    return STATUS_OK;
}

/* Nobody hands on what they do not have. */
static enum status check_not_wider(struct rpc_call *call, uint32_t bits, uint32_t allowed,
                                   const char *than)
{
    for (int permission = PERMISSION_ANY_TOKEN + 1; permission < PERMISSION_COUNT; permission++)
        if (bits & ~allowed & permission_bit((enum permission)permission))
            return problem_set(&call->problem, STATUS_PERMISSION_DENIED, "permissions",
                               "%s does not have %s itself", than,
                               permission_name((enum permission)permission));
    return STATUS_OK;
}

/* What is counted from a time that may be years ahead would live that much longer when the clock is
 * trusted again. */
static enum status check_clock(const struct token_store *store, struct rpc_call *call,
                               uint64_t ttl_ms)
{
    return !store->turning.is_suspect || ttl_ms == 0
               ? STATUS_OK
               : problem_set(&call->problem, STATUS_FAILED_PRECONDITION, "ttl_ms",
                             "cannot be counted while the clock is suspect: set it right, or "
                             "`soloctl token trust-clock` if it is");
}

static uint32_t permissions_of(const struct caller *caller)
{
    return caller->kind == CALLER_TOKEN ? caller->permissions : (uint32_t)PERMISSION_BITS_ALL;
}

static uint64_t end_after(uint64_t now_ns, uint64_t ttl_ms)
{
    return ttl_ms == 0 ? 0 : now_ns + ttl_ms * 1000000u;
}

/* The earlier of two ends, of which 0 is none. */
static uint64_t earlier_end(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* --- granting --- */

static enum status write_new(struct token_store *store, struct rpc_call *call,
                             const struct hash *hash, const struct token_record *record,
                             struct outcome *outcome)
{
    accessor_text(outcome->accessor, &record->accessor);
    outcome->number = record->expires_ns;
    enum status status = token_add(store, hash, record);
    if (status == STATUS_OK)
        status = token_event(store, EVENT_capability_granted, record, call, "");
    if (status == STATUS_OK)
        status = outcome_put(store, call, outcome);
    if (status != STATUS_OK)
        token_store_spoil(store, status);
    else
        store->persisted++;
    return status;
}

static enum status grant(struct token_store *store, struct rpc_call *call,
                         const struct token_grant_request *request, struct outcome *outcome)
{
    uint32_t bits;
    uint64_t caller_end_ns;
    if (request->tenant[0] == '\0')
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "tenant",
                           "must say whose things the token may touch");
    TRY(parse_permissions(call, request->permissions, &bits));
    if (bits == 0)
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "permissions",
                           "must name at least one");
    TRY(check_not_wider(call, bits, permissions_of(&call->caller), "this token"));
    TRY(change_caller_end(&store->txn, call, &caller_end_ns));
    TRY(check_clock(store, call, request->ttl_ms));
    TRY(check_hash(store, call, &request->token_hash));
    TRY(check_room(store, call));
    struct token_record record = {
        .accessor = uuid_draw(),
        .permissions = bits,
        .granted_ns = store->now_ns,
        .expires_ns = earlier_end(end_after(store->now_ns, request->ttl_ms), caller_end_ns),
        .ttl_ms = request->ttl_ms,
        .metadata = request->metadata,
    };
    snprintf(record.tenant, sizeof record.tenant, "%s", request->tenant);
    return write_new(store, call, &request->token_hash, &record, outcome);
}

enum status change_grant(struct token_store *store, struct rpc_call *call,
                         const struct token_grant_request *request, struct token_grant_reply *reply)
{
    struct outcome outcome;
    enum status status = outcome_find(store, call, &outcome);
    if (status == STATUS_NOT_FOUND)
        status = grant(store, call, request, &outcome);
    TRY(status);
    reply->expires_ns = outcome.number;
    return outcome_answer(call, &outcome, &reply->accessor);
}

/* --- attenuating --- */

static enum status check_family(struct token_store *store, struct rpc_call *call,
                                const struct token_record *parent, const struct hash *root)
{
    uint64_t count;
    if (parent->depth >= TOKEN_DEPTH_MAX)
        return problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "parent",
                           "was attenuated %d times already, which is the most", TOKEN_DEPTH_MAX);
    TRY(token_count_descendants(&store->txn, root, &count));
    return count < TOKEN_DESCENDANTS_MAX
               ? STATUS_OK
               : problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "parent",
                             "has a family of %d tokens already, which is the most",
                             TOKEN_DESCENDANTS_MAX);
}

static enum status attenuate(struct token_store *store, struct rpc_call *call,
                             const struct token_attenuate_request *request, struct outcome *outcome)
{
    struct hash parent_hash;
    struct token_record parent;
    uint32_t bits;
    uint64_t caller_end_ns;
    TRY(change_target(&store->txn, call, "parent", request->parent, false, &parent_hash, &parent));
    if (token_record_is_expired(&parent, store->now_ns))
        return problem_set(&call->problem, STATUS_FAILED_PRECONDITION, "parent", "has expired");
    TRY(parse_permissions(call, request->permissions, &bits));
    if (bits == 0)
        bits = parent.permissions;
    TRY(check_not_wider(call, bits, parent.permissions, "the parent"));
    TRY(check_not_wider(call, bits, permissions_of(&call->caller), "this token"));
    TRY(check_clock(store, call, request->ttl_ms));
    TRY(check_hash(store, call, &request->token_hash));
    TRY(change_caller_end(&store->txn, call, &caller_end_ns));
    struct hash root = parent.depth == 0 ? parent_hash : parent.root;
    TRY(check_family(store, call, &parent, &root));
    TRY(check_room(store, call));
    struct token_record record = {
        .accessor = uuid_draw(),
        .permissions = bits,
        .depth = parent.depth + 1,
        .granted_ns = store->now_ns,
        .expires_ns = earlier_end(end_after(store->now_ns, request->ttl_ms),
                                  earlier_end(parent.expires_ns, caller_end_ns)),
        .ttl_ms = request->ttl_ms,
        .parent = parent_hash,
        .root = root,
        .metadata = request->metadata,
    };
    memcpy(record.tenant, parent.tenant, sizeof record.tenant);
    return write_new(store, call, &request->token_hash, &record, outcome);
}

enum status change_attenuate(struct token_store *store, struct rpc_call *call,
                             const struct token_attenuate_request *request,
                             struct token_attenuate_reply *reply)
{
    struct outcome outcome;
    enum status status = outcome_find(store, call, &outcome);
    if (status == STATUS_NOT_FOUND)
        status = attenuate(store, call, request, &outcome);
    TRY(status);
    reply->expires_ns = outcome.number;
    return outcome_answer(call, &outcome, &reply->accessor);
}

/* --- renewing --- */

/* A token without an end keeps none. An end only ever moves away, up to the parent's and up to that
 * of the token that asks. */
static enum status new_end(struct token_store *store, const struct token_record *record,
                           uint64_t ttl_ms, uint64_t caller_end_ns, uint64_t *expires_ns)
{
    *expires_ns = record->expires_ns;
    uint64_t asked =
        earlier_end(end_after(store->now_ns, ttl_ms == 0 ? record->ttl_ms : ttl_ms), caller_end_ns);
    if (record->depth > 0) {
        struct token_record parent;
        enum status status = token_find(&store->txn, &record->parent, &parent);
        if (status == STATUS_NOT_FOUND)
            return STATUS_OK;
        TRY(status);
        asked = earlier_end(asked, parent.expires_ns);
    }
    if (record->expires_ns != 0 && asked > record->expires_ns)
        *expires_ns = asked;
    return STATUS_OK;
}

static enum status check_not_itself(struct rpc_call *call, const struct token_record *record)
{
    char text[ACCESSOR_TEXT_BYTES];
    return strcmp(call->caller.accessor, accessor_text(text, &record->accessor)) != 0
               ? STATUS_OK
               : problem_set(&call->problem, STATUS_PERMISSION_DENIED, "accessor",
                             "names the token of this call: a token does not renew itself, ask "
                             "whoever granted it");
}

static enum status renew(struct token_store *store, struct rpc_call *call,
                         const struct token_renew_request *request, struct outcome *outcome)
{
    struct hash hash;
    struct token_record before;
    uint64_t caller_end_ns;
    TRY(change_target(&store->txn, call, "accessor", request->accessor, false, &hash, &before));
    if (token_record_is_expired(&before, store->now_ns))
        return problem_set(&call->problem, STATUS_FAILED_PRECONDITION, "accessor",
                           "has expired, which is for good: grant a new one");
    TRY(check_not_itself(call, &before));
    if (before.expires_ns != 0)
        TRY(check_clock(store, call, request->ttl_ms == 0 ? before.ttl_ms : request->ttl_ms));
    TRY(change_caller_end(&store->txn, call, &caller_end_ns));
    TRY(check_room(store, call));
    struct token_record after = before;
    TRY(new_end(store, &before, request->ttl_ms, caller_end_ns, &after.expires_ns));
    after.renewed_ns = store->now_ns;
    /* The record must not point into the map that is written to. */
    uint8_t metadata[TOKEN_METADATA_BYTES_MAX];
    if (before.metadata.size > 0) {
        memcpy(metadata, before.metadata.data, before.metadata.size);
        after.metadata = span_of(metadata, before.metadata.size);
    }
    accessor_text(outcome->accessor, &after.accessor);
    outcome->number = after.expires_ns;
    enum status status = token_replace(store, &hash, &before, &after);
    if (status == STATUS_OK)
        status = token_event(store, EVENT_capability_renewed, &after, call, "");
    if (status == STATUS_OK)
        status = outcome_put(store, call, outcome);
    if (status != STATUS_OK)
        token_store_spoil(store, status);
    else
        store->renewed++;
    return status;
}

enum status change_renew(struct token_store *store, struct rpc_call *call,
                         const struct token_renew_request *request, struct token_renew_reply *reply)
{
    struct outcome outcome;
    enum status status = outcome_find(store, call, &outcome);
    if (status == STATUS_NOT_FOUND)
        status = renew(store, call, request, &outcome);
    TRY(status);
    reply->expires_ns = outcome.number;
    return STATUS_OK;
}
