#ifndef SOLO_COMMON_ACCESS_ACCESS_H
#define SOLO_COMMON_ACCESS_ACCESS_H

#include "common/daemon/settings.h"
#include "common/rpc/server.h"

#define OPERATOR_GROUP "solo"

/* Who is calling, and may they? The operator is root, Solo's own uid and the members of group
 * `solo` (not with `operator = token`); a daemon is who presented the run's key in daemon.hello (or
 * has a daemon's own uid, where the package's users exist). Everybody else needs a token. */
struct access {
    bool is_operator_by_uid; /* settings: operator = uid */
    uid_t own_uid;
    gid_t operator_group;
    bool has_operator_group;
    uint8_t run_key[32];
    bool has_run_key; /* without one (a daemon started by hand) nobody is a daemon */
};

/* For struct rpc_service: fills call->caller, compares with call->method->permission. A daemon of
 * this run may do everything that an operator may. Refuses with unauthenticated or
 * permission_denied. */
enum status access_authorise(void *access, struct rpc_call *call, struct span token);

/* daemon.hello: compares in constant time and marks the connection. */
enum status access_hello(struct access *access, struct rpc_call *call, const char *daemon,
                         struct span key);

#endif
