#ifndef SOLO_TOKEND_OUTCOMES_H
#define SOLO_TOKEND_OUTCOMES_H

#include "common/access/token_text.h"
#include "common/rpc/server.h"
#include "tokend/token_store.h"

/* What a change became: an accessor and a number (when it expires; how many were revoked). */
struct outcome {
    char accessor[ACCESSOR_TEXT_BYTES];
    uint64_t number;
};

/* Within the turn, by the request's id: not_found when it is new. */
enum status outcome_find(struct token_store *store, struct rpc_call *call, struct outcome *outcome);
/* Whether there is one for the request's id, before its body was read. Not bound to the turn. */
bool outcome_is_kept(struct token_store *store, const struct rpc_call *call);
enum status outcome_put(struct token_store *store, struct rpc_call *call,
                        const struct outcome *outcome);
/* The text of an answer lives until it is packed. */
enum status outcome_answer(struct rpc_call *call, const struct outcome *outcome,
                           const char **accessor);

#endif
