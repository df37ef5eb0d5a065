#ifndef SOLO_COMMON_ACCESS_ACCESS_H
#define SOLO_COMMON_ACCESS_ACCESS_H

#include "common/access/token_uses.h"
#include "common/daemon/settings.h"
#include "common/rpc/server.h"

#define OPERATOR_GROUP "solo"
#define STORE_GROUP    "solo-store" /* daemons that run as users of their own */

/* How a program looks tokens up. Both answer OK, `unauthenticated` (unknown, expired, revoked or
 * malformed: nobody learns which), or what keeps them from knowing: data_loss, io, unavailable. */
struct token_verifier {
    /* Fills tenant, permissions, accessor and token of `caller`; of a token that is known but not
     * valid the accessor alone, so that its refusals can be counted. */
    enum status (*verify)(void *context, struct span text, struct caller *caller);
    /* The token of an earlier call once more, for what lasts: streams and waits. */
    enum status (*verify_again)(void *context, const struct caller *caller);
    void *context;
};

/* Who is calling, and may they? The operator is root, Solo's own uid and the members of group
 * `solo` (not with `operator = token`); a daemon is who presented the run's key in daemon.hello.
 * Everybody else needs a token. A token that is sent decides alone, also for root and for daemons;
 * with the permission `admin` it makes an operator. */
struct access {
    bool is_operator_by_uid; /* settings: operator = uid */
    uid_t own_uid;
    gid_t operator_group;
    bool has_operator_group;
    struct rpc_groups privileged; /* for struct rpc_service: operators' and daemons' */
    uint8_t run_key[32];
    bool has_run_key; /* without one (a daemon started by hand) nobody is a daemon */
    const struct token_verifier *tokens; /* NULL: every token is refused */
    struct token_uses *uses;             /* counts what tokens do; may be NULL */
};

/* For struct rpc_service: fills call->caller, compares with call->method->permission. A daemon of
 * this run may do everything that an operator may. Refuses with unauthenticated or
 * permission_denied. */
enum status access_authorise(void *access, struct rpc_call *call, struct span token);

/* The second half of access_authorise, for who had the token verified elsewhere: what `verified`
 * says of the caller's token, then the method's permission. */
enum status access_decide(struct access *access, struct rpc_call *call, bool has_token,
                          enum status verified);

/* For struct rpc_service: a request of a token's caller that names a tenant must name its own; one
 * that may leave it out is about its own. */
enum status access_narrow(void *access, struct rpc_call *call, void *request);

/* For struct rpc_service: counts what was refused to a token, whoever refused it and why. */
void access_refused(void *access, const struct rpc_call *call, enum status status);

/* The same for a tenant that stands elsewhere (in a spec, in an item of a list). Another tenant's
 * things are refused as a bad token is, whether they exist or not. */
enum status access_check_tenant(const struct caller *caller, const char *tenant,
                                struct problem *problem);

/* Whether the token that a call came with allows this; with `admin` it allows everything. */
bool access_token_allows(const struct caller *caller, enum permission wanted);

/* Whether a call that lasts may go on: OK, or the refusal it ends with. Costs a look-up when the
 * call came with a token, nothing otherwise. */
enum status access_still_allows(const struct access *access, const struct caller *caller,
                                struct problem *problem);

/* Who called, for events: "tok_...", "deployd", "uid 0". */
enum { CALLER_TEXT_BYTES = 32 };
const char *caller_text(const struct caller *caller, char text[CALLER_TEXT_BYTES]);

/* daemon.hello: compares in constant time and marks the connection. */
enum status access_hello(struct access *access, struct rpc_call *call, const char *daemon,
                         struct span key);

#endif
