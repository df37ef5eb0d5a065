#ifndef SOLO_COMMON_RPC_SHARES_H
#define SOLO_COMMON_RPC_SHARES_H

#include "common/rpc/server.h"

/* Places for what lasts: calls without an answer, and of these streams, watches and waits. One
 * tenant, or one uid without a token that is no operator, has a quarter of them at most, and all of
 * these together three quarters: the last one is for operators and daemons. */
struct shares {
    size_t taken;
    size_t taken_by_others; /* than operators and daemons */
    struct share *holders;
};

/* Whether the caller may have one more of `most` places; `what` they are, in the plural, is told
 * with the refusal (resource_exhausted). */
enum status shares_check(const struct shares *shares, size_t most, const char *what,
                         struct rpc_call *call);

/* Takes it; what is returned (NULL for operators and daemons) gives it back. */
struct share *shares_take(struct shares *shares, const struct caller *caller);
void shares_give(struct shares *shares, struct share *share);

#endif
