/* The end of a token and of all that descends from it, because somebody asks for it or because the
 * log has told it. */
#include <stdlib.h>

#include "common/access/token_text.h"
#include "common/api/api.h"
#include "common/api/event_types.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "tokend/changes.h"
#include "tokend/outcomes.h"
#include "tokend/token_events.h"

/* A token and all that descend from it, parents first. */
struct family {
    struct hash hashes[1 + TOKEN_DESCENDANTS_MAX];
    size_t count;
};

static enum status find_family(struct db_txn *txn, const struct hash *hash, struct family *family)
{
    family->hashes[0] = *hash;
    family->count = 1;
    for (size_t i = 0; i < family->count; i++) {
        struct hash parent = family->hashes[i];
        TRY(token_children(txn, &parent, family->hashes, COUNT_OF(family->hashes), &family->count));
    }
    return STATUS_OK;
}

static enum status revoke_one(struct token_store *store, struct rpc_call *call,
                              const struct hash *hash, const char *with)
{
    struct token_record record;
    enum status status = token_find(&store->txn, hash, &record);
    /* A damaged descendant is refused by who verifies, and does not keep the others. */
    if (status == STATUS_DATA_LOSS && with[0] != '\0')
        return token_mark_revoked(store, hash);
    TRY(status);
    TRY(token_event(store, EVENT_capability_revoked, &record, call, with));
    TRY(token_remove(store, hash, &record));
    return token_mark_revoked(store, hash);
}

static enum status write_revocation(struct token_store *store, struct rpc_call *call,
                                    const struct family *family, struct outcome *outcome)
{
    for (size_t i = 0; i < family->count; i++)
        TRY(revoke_one(store, call, &family->hashes[i], i == 0 ? "" : outcome->accessor));
    outcome->number = family->count;
    return outcome_put(store, call, outcome);
}

static enum status revoke_family(struct token_store *store, struct rpc_call *call,
                                 const struct token_revoke_request *request,
                                 struct outcome *outcome)
{
    struct hash hash;
    struct token_record record;
    TRY(change_target(&store->txn, call, "accessor", request->accessor, true, &hash, &record));
    accessor_text(outcome->accessor, &record.accessor);
    struct family *family = malloc(sizeof *family);
    if (family == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "revoke", "reason", "no memory");
    enum status status = find_family(&store->txn, &hash, family);
    if (status == STATUS_OK)
        status = write_revocation(store, call, family, outcome);
    if (status != STATUS_OK)
        token_store_spoil(store, status);
    else
        store->revoked += family->count;
    free(family);
    return status;
}

bool change_may_ask_again(struct token_store *store, struct rpc_call *call, struct span token)
{
    if (call->method != &method_token_revoke || token.data == NULL || !token_text_is_valid(token) ||
        !outcome_is_kept(store, call))
        return false;
    call->caller.kind = CALLER_NOBODY;
    call->caller.token = token_text_hash(token);
    return true;
}

/* As it was refused before, unless it is the request that ended it. */
static enum status find_own_end(struct token_store *store, struct rpc_call *call,
                                struct outcome *outcome)
{
    const struct problem refusal = call->problem;
    enum status status = outcome_find(store, call, outcome);
    if (status == STATUS_OK || status == STATUS_DATA_LOSS)
        return status;
    call->problem = refusal;
    return STATUS_UNAUTHENTICATED;
}

enum status change_revoke(struct token_store *store, struct rpc_call *call,
                          const struct token_revoke_request *request,
                          struct token_revoke_reply *reply)
{
    struct outcome outcome;
    enum status status = call->caller.kind == CALLER_NOBODY ? find_own_end(store, call, &outcome)
                                                            : outcome_find(store, call, &outcome);
    if (status == STATUS_NOT_FOUND)
        status = revoke_family(store, call, request, &outcome);
    TRY(status);
    reply->revoked = outcome.number;
    return STATUS_OK;
}

/* --- by the word of the log --- */

static enum status remove_family(struct token_store *store, const struct family *family,
                                 const char *with)
{
    for (size_t i = 0; i < family->count; i++) {
        struct token_record record;
        enum status status = token_find(&store->txn, &family->hashes[i], &record);
        if (status == STATUS_NOT_FOUND || status == STATUS_DATA_LOSS)
            continue; /* it is refused as it is */
        TRY(status);
        if (i > 0)
            TRY(token_event(store, EVENT_capability_revoked, &record, NULL, with));
        TRY(token_remove(store, &family->hashes[i], &record));
        TRY(token_mark_revoked(store, &family->hashes[i]));
    }
    return STATUS_OK;
}

enum status change_remove_ended(struct token_store *store, const struct hash *hash,
                                const struct token_record *record)
{
    char with[ACCESSOR_TEXT_BYTES];
    accessor_text(with, &record->accessor);
    struct family *family = malloc(sizeof *family);
    if (family == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "revoke", "reason", "no memory");
    enum status status = find_family(&store->txn, hash, family);
    if (status == STATUS_OK)
        status = remove_family(store, family, with);
    free(family);
    return status;
}
