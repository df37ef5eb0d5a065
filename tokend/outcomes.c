/* Requests that are repeated get the outcome of the first time. */
#include "tokend/outcomes.h"

#include <stdio.h>
#include <string.h>

#include "common/api/api.h"
#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/log.h"

/* Bound to the tenant of the caller: nobody is answered with another tenant's outcome. That of a
 * revocation is bound to the token that asked for it: when it was its own, nothing else is known of
 * it by the time it asks again. */
static struct hash request_body(const struct rpc_call *call)
{
    struct hash_state state;
    const char *tenant = call->caller.kind == CALLER_TOKEN ? call->caller.tenant : "";
    hash_begin(&state);
    if (call->method == &method_token_revoke && !hash_is_zero(&call->caller.token))
        hash_add(&state, span_of(call->caller.token.bytes, HASH_BYTES));
    else
        hash_add(&state, span_of(tenant, strlen(tenant) + 1));
    hash_add(&state, span_of(call->body_hash.bytes, HASH_BYTES));
    return hash_end(&state);
}

enum status outcome_find(struct token_store *store, struct rpc_call *call, struct outcome *outcome)
{
    struct request_outcome recorded;
    if (!call->has_request_id)
        return STATUS_NOT_FOUND;
    struct hash body = request_body(call);
    TRY(requests_find(&store->txn, TOKENS_REQUESTS, &call->request_id, &body,
                      clock_wall_ns() / 1000000, &store->forgotten, &recorded, &call->problem));
    /* "token.grant tok_..." */
    const char *accessor = strchr(recorded.intent, ' ');
    snprintf(outcome->accessor, sizeof outcome->accessor, "%s",
             accessor == NULL ? "" : accessor + 1);
    outcome->number = recorded.first_id;
    store->repeats++;
    return STATUS_OK;
}

bool outcome_is_kept(struct token_store *store, const struct rpc_call *call)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct request_outcome recorded;
    struct problem problem;
    struct uuid forgotten;
    const struct hash any = { { 0 } };
    if (!call->has_request_id || db_begin_read(&store->db, &txn) != STATUS_OK ||
        requests_forgotten(&txn, &forgotten) != STATUS_OK)
        return false;
    enum status status = requests_find(&txn, TOKENS_REQUESTS, &call->request_id, &any,
                                       clock_wall_ns() / 1000000, &forgotten, &recorded, &problem);
    return status == STATUS_ABORTED; /* of which body is for outcome_find to see */
}

enum status outcome_put(struct token_store *store, struct rpc_call *call,
                        const struct outcome *outcome)
{
    char intent[INTENT_BYTES_MAX + 1];
    if (!call->has_request_id)
        return STATUS_OK;
    snprintf(intent, sizeof intent, "%s %s", call->method->name, outcome->accessor);
    const struct request_outcome recorded = {
        .body_hash = request_body(call),
        .intent = intent,
        .first_id = outcome->number,
    };
    store->requests_put++;
    return requests_put(&store->txn, TOKENS_REQUESTS, &call->request_id, &recorded);
}

enum status outcome_answer(struct rpc_call *call, const struct outcome *outcome,
                           const char **accessor)
{
    char *text = arena_alloc(call->arena, sizeof outcome->accessor);
    if (text == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "answer", "reason", "no memory");
    memcpy(text, outcome->accessor, sizeof outcome->accessor);
    *accessor = text;
    return STATUS_OK;
}
