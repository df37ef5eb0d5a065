/* The names of permissions as tokens and refusals spell them. */
#include "common/rpc/method.h"

#include "common/base/ensure.h"

static const char *const permission_names[PERMISSION_COUNT] = {
    [PERMISSION_EVERYBODY] = "everybody",
    [PERMISSION_OPERATOR] = "operator",
    [PERMISSION_DAEMON] = "daemon",
#define PERMISSION(name, wire, meaning) [PERMISSION_##name] = wire,
#include "common/rpc/permissions.def"
#undef PERMISSION
};

const char *permission_name(enum permission permission)
{
    ensure((unsigned)permission < PERMISSION_COUNT);
    return permission_names[permission];
}
