/* Identities come from the socket (SO_PEERCRED, SO_PEERGROUPS) and from daemon.hello; nothing that
 * a caller writes into a request makes it an operator. Refusals say what to do next, and never
 * whether the thing asked for exists. */
#include "common/access/access.h"

#include <errno.h>
#include <sodium.h>
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

enum status access_authorise(void *access_, struct rpc_call *call, struct span token)
{
    const struct access *access = access_;
    if (call->caller.kind != CALLER_DAEMON)
        call->caller.kind = is_operator(access, call) ? CALLER_OPERATOR : CALLER_NOBODY;
    enum permission permission = call->method->permission;
    if (permission == PERMISSION_EVERYBODY)
        return STATUS_OK;
    /* A token that is sent decides alone, so one that nobody has granted ends the matter. */
    if (token.size > 0)
        return problem_set(&call->problem, STATUS_UNAUTHENTICATED, "token", "is not a valid token");
    if (call->caller.kind == CALLER_DAEMON)
        return STATUS_OK;
    if (permission == PERMISSION_DAEMON)
        return problem_set(&call->problem, STATUS_PERMISSION_DENIED, "",
                           "%s is for daemons of this run only", call->method->name);
    return call->caller.kind == CALLER_OPERATOR ? STATUS_OK : refuse_stranger(access, call);
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
