/* Identities come from the socket (SO_PEERCRED, SO_PEERGROUPS) and from daemon.hello; nothing that
 * a caller writes into a request makes it an operator. Refusals say what to do next, and never
 * whether the thing asked for exists. */
#include "common/access/access.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"

static bool is_operator(const struct access *access, const struct rpc_call *call)
{
    if (!access->is_operator_by_uid)
        return false;
    if (call->caller.uid == 0 || call->caller.uid == access->own_uid)
        return true;
    return access->has_operator_group && rpc_call_peer_in_group(call, access->operator_group);
}

static enum status refuse_stranger(const struct access *access, struct rpc_call *call)
{
    return problem_set(&call->problem, STATUS_UNAUTHENTICATED, "token",
                       access->is_operator_by_uid
                           ? "%s needs a token, or must be called as root, as Solo's own user or "
                             "as a member of group %s"
                           : "%s needs a token: operator = token gives uids and group %s no rights",
                       call->method->name, OPERATOR_GROUP);
}

/* One answer for all of them: nobody learns whether a token was ever granted, or what there is of
 * another tenant. */
static enum status refuse_token(struct problem *problem)
{
    return problem_set(problem, STATUS_UNAUTHENTICATED, "token",
                       "is not valid here: it is unknown, expired, revoked or of another tenant");
}

static enum status refuse_unverified(struct problem *problem, enum status status)
{
    if (status == STATUS_UNAUTHENTICATED)
        return refuse_token(problem);
    return problem_set(problem, status, "token", "cannot be checked: %s%s", status_text(status),
                       status == STATUS_DATA_LOSS ? "; see tokend's diagnostics" : "");
}

void access_refused(void *access_, const struct rpc_call *call, enum status status)
{
    const struct access *access = access_;
    bool is_refusal = status == STATUS_UNAUTHENTICATED || status == STATUS_PERMISSION_DENIED;
    if (access->uses != NULL && call->has_token && is_refusal)
        token_uses_note_denial(access->uses, call->caller.accessor, call->method->name);
}

bool access_token_allows(const struct caller *caller, enum permission wanted)
{
    if (wanted == PERMISSION_EVERYBODY || wanted == PERMISSION_ANY_TOKEN)
        return true;
    if ((caller->permissions & permission_bit(PERMISSION_ADMIN)) != 0)
        return wanted != PERMISSION_DAEMON;
    return (caller->permissions & permission_bit(wanted)) != 0;
}

static enum status refuse_daemons_only(struct rpc_call *call)
{
    return problem_set(&call->problem, STATUS_PERMISSION_DENIED, "",
                       "%s is for daemons of this run only", call->method->name);
}

static enum status decide_token(const struct access *access, struct rpc_call *call)
{
    struct caller *caller = &call->caller;
    enum permission wanted = call->method->permission;
    bool is_admin = (caller->permissions & permission_bit(PERMISSION_ADMIN)) != 0;
    caller->kind = is_admin ? CALLER_OPERATOR : CALLER_TOKEN;
    if (access_token_allows(caller, wanted)) {
        if (access->uses != NULL)
            token_uses_note(access->uses, caller->accessor);
        return STATUS_OK;
    }
    if (wanted == PERMISSION_DAEMON)
        return refuse_daemons_only(call);
    return problem_set(&call->problem, STATUS_PERMISSION_DENIED, "token",
                       "%s needs the permission %s, which this token does not have",
                       call->method->name,
                       permission_name(wanted == PERMISSION_OPERATOR ? PERMISSION_ADMIN : wanted));
}

static enum status decide_identity(const struct access *access, struct rpc_call *call)
{
    enum permission wanted = call->method->permission;
    if (call->caller.kind != CALLER_DAEMON)
        call->caller.kind = is_operator(access, call) ? CALLER_OPERATOR : CALLER_NOBODY;
    if (call->caller.kind == CALLER_DAEMON || wanted == PERMISSION_EVERYBODY)
        return STATUS_OK;
    if (wanted == PERMISSION_DAEMON)
        return refuse_daemons_only(call);
    return call->caller.kind == CALLER_OPERATOR ? STATUS_OK : refuse_stranger(access, call);
}

enum status access_decide(struct access *access, struct rpc_call *call, bool has_token,
                          enum status verified)
{
    if (!has_token)
        return decide_identity(access, call);
    call->caller.daemon[0] = '\0';
    if (verified == STATUS_OK)
        return decide_token(access, call);
    call->caller.kind = CALLER_NOBODY;
    return refuse_unverified(&call->problem, verified);
}

enum status access_authorise(void *access_, struct rpc_call *call, struct span token)
{
    struct access *access = access_;
    bool has_token = token.data != NULL;
    enum status verified = STATUS_UNAUTHENTICATED;
    if (has_token && access->tokens != NULL)
        verified = access->tokens->verify(access->tokens->context, token, &call->caller);
    return access_decide(access, call, has_token, verified);
}

enum status access_check_tenant(const struct caller *caller, const char *tenant,
                                struct problem *problem)
{
    if (caller->kind != CALLER_TOKEN || strcmp(caller->tenant, tenant) == 0)
        return STATUS_OK;
    return refuse_token(problem);
}

enum status access_narrow(void *access, struct rpc_call *call, void *request)
{
    (void)access;
    if (call->caller.kind != CALLER_TOKEN)
        return STATUS_OK;
    const char **tenant = fields_text(call->method->request, request, "tenant");
    if (tenant == NULL)
        return STATUS_OK;
    if (**tenant == '\0')
        *tenant = call->caller.tenant;
    return access_check_tenant(&call->caller, *tenant, &call->problem);
}

enum status access_still_allows(const struct access *access, const struct caller *caller,
                                struct problem *problem)
{
    static const struct hash no_token;
    if (hash_equal(&caller->token, &no_token))
        return STATUS_OK;
    enum status status = access->tokens == NULL
                             ? STATUS_UNAUTHENTICATED
                             : access->tokens->verify_again(access->tokens->context, caller);
    return status == STATUS_OK ? STATUS_OK : refuse_unverified(problem, status);
}

const char *caller_text(const struct caller *caller, char text[CALLER_TEXT_BYTES])
{
    if (caller->accessor[0] != '\0')
        return caller->accessor;
    if (caller->kind == CALLER_DAEMON)
        return caller->daemon;
    snprintf(text, CALLER_TEXT_BYTES, "uid %u", (unsigned)caller->uid);
    return text;
}

enum status access_hello(struct access *access, struct rpc_call *call, const char *daemon,
                         struct span key)
{
    if (strlen(daemon) >= sizeof call->caller.daemon)
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "daemon",
                           "is longer in bytes than %zu", sizeof call->caller.daemon - 1);
    bool is_known = access->has_run_key && key.size == sizeof access->run_key &&
                    sodium_memcmp(key.data, access->run_key, sizeof access->run_key) == 0;
    if (!is_known)
        return problem_set(&call->problem, STATUS_UNAUTHENTICATED, "key",
                           "is not the key of this run");
    rpc_call_set_daemon(call, daemon);
    return STATUS_OK;
}
