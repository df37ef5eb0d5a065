/* The names of permissions as tokens and refusals spell them. */
#include "common/rpc/method.h"

#include <string.h>

#include "common/base/ensure.h"

static const char *const permission_names[PERMISSION_COUNT] = {
    [PERMISSION_EVERYBODY] = "everybody",
    [PERMISSION_OPERATOR] = "operator",
    [PERMISSION_DAEMON] = "daemon",
    [PERMISSION_ANY_TOKEN] = "any-token",
#define PERMISSION(name, wire, meaning) [PERMISSION_##name] = wire,
#include "common/rpc/permissions.def"
#undef PERMISSION
};

const char *permission_name(enum permission permission)
{
    ensure((unsigned)permission < PERMISSION_COUNT);
    return permission_names[permission];
}

uint32_t permission_bit(enum permission permission)
{
    ensure((unsigned)permission < PERMISSION_COUNT);
    return permission <= PERMISSION_ANY_TOKEN ? 0 : 1u << (permission - PERMISSION_ANY_TOKEN - 1);
}

enum permission permission_parse(const char *name)
{
    for (int permission = PERMISSION_ANY_TOKEN + 1; permission < PERMISSION_COUNT; permission++)
        if (strcmp(permission_names[permission], name) == 0)
            return (enum permission)permission;
    return PERMISSION_COUNT;
}
