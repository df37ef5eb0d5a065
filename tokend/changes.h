#ifndef SOLO_TOKEND_CHANGES_H
#define SOLO_TOKEND_CHANGES_H

#include "common/api/api.h"
#include "common/rpc/server.h"
#include "tokend/token_store.h"

/* The four things that are done to tokens, within a turn. Everything is checked first and written
 * last, the event with the rest: a refusal (call->problem) has changed nothing. A request that was
 * committed before is answered with what it became then. */
enum status change_grant(struct token_store *store, struct rpc_call *call,
                         const struct token_grant_request *request,
                         struct token_grant_reply *reply);
enum status change_attenuate(struct token_store *store, struct rpc_call *call,
                             const struct token_attenuate_request *request,
                             struct token_attenuate_reply *reply);
enum status change_renew(struct token_store *store, struct rpc_call *call,
                         const struct token_renew_request *request,
                         struct token_renew_reply *reply);
enum status change_revoke(struct token_store *store, struct rpc_call *call,
                          const struct token_revoke_request *request,
                          struct token_revoke_reply *reply);

/* Of a caller whose token was refused: whether this is a request to revoke whose id was used. Then
 * it is let through, as the nobody that it is, to change_revoke, which answers it when it is the
 * one that revoked the token, repeated because its answer was lost, and otherwise refuses it with
 * the problem that it came with. Nothing is looked up by the token: an unknown one and one that was
 * revoked cost the same, and no turn. */
bool change_may_ask_again(struct token_store *store, struct rpc_call *call, struct span token);

/* In a turn: the log has told the end of this token already. It is removed as a revoked one; the
 * ends of what descends from it are told. */
enum status change_remove_ended(struct token_store *store, const struct hash *hash,
                                const struct token_record *record);

/* The token that a request is about: the one that is named, or the caller's own for "". not_found
 * also for what exists but is not this caller's to see. `may_be_descendant`: a token may name what
 * descends from it, without the permission tokens:grant. */
enum status change_target(struct db_txn *txn, struct rpc_call *call, const char *field,
                          const char *accessor, bool may_be_descendant, struct hash *hash,
                          struct token_record *record);

/* Whether a caller with the permission tokens:grant may see and manage this token: of its own
 * tenant, and no wider than its own. */
bool change_is_within(const struct caller *caller, const struct token_record *record);

/* When the token that the call came with ends; 0 for never, and without a token. unauthenticated
 * when it was revoked in this very turn. */
enum status change_caller_end(struct db_txn *txn, struct rpc_call *call, uint64_t *expires_ns);

#endif
