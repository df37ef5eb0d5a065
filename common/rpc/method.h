#ifndef SOLO_COMMON_RPC_METHOD_H
#define SOLO_COMMON_RPC_METHOD_H

#include "common/wire/fields.h"

/* What a caller must be allowed to do. The first three are not granted by tokens: EVERYBODY is
 * whoever can connect, OPERATOR and DAEMON are identities. */
enum permission {
    PERMISSION_EVERYBODY,
    PERMISSION_OPERATOR,
    PERMISSION_DAEMON,
#define PERMISSION(name, wire, meaning) PERMISSION_##name,
#include "common/rpc/permissions.def"
#undef PERMISSION
    PERMISSION_COUNT
};

/* The wire name ("events:write"; "operator", "daemon", "everybody" for the identities). */
const char *permission_name(enum permission permission);

enum method_flag {
    METHOD_READS = 0,
    METHOD_WRITES = 1 << 0,  /* runs inside the turn's transaction, is answered after its commit */
    METHOD_MUTATES = 1 << 1, /* takes a request_id */
    METHOD_BIG = 1 << 2,     /* requests up to FRAME_BYTES_MAX instead of FRAME_BYTES_SMALL */
    METHOD_STREAMS = 1 << 3, /* sends notifications until the call ends */
    METHOD_URGENT = 1 << 4,  /* kill, status, health: may use the slots kept free */
};

/* One method as both sides see it; made from a METHOD block of common/api. */
struct method {
    const char *name; /* "event.append" */
    enum permission permission;
    unsigned flags;
    const struct field_table *request;
    const struct field_table *reply;
    const char *meaning;
};

#endif
