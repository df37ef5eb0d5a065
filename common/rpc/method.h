#ifndef SOLO_COMMON_RPC_METHOD_H
#define SOLO_COMMON_RPC_METHOD_H

#include "common/wire/fields.h"

/* What a caller must be allowed to do. The first four are not granted by tokens: EVERYBODY is
 * whoever can connect, OPERATOR and DAEMON are identities, ANY_TOKEN is who has a valid token,
 * whatever it allows (and the identities): its method decides about the rest. */
enum permission {
    PERMISSION_EVERYBODY,
    PERMISSION_OPERATOR,
    PERMISSION_DAEMON,
    PERMISSION_ANY_TOKEN,
#define PERMISSION(name, wire, meaning) PERMISSION_##name,
#include "common/rpc/permissions.def"
#undef PERMISSION
    PERMISSION_COUNT
};

/* The wire name ("events:write"; "operator", "daemon", "everybody", "any-token" for the others). */
const char *permission_name(enum permission permission);

/* Permissions of a token as a set of bits. The bits lie in stores: bit N is row N of
 * permissions.def, so rows are added at its end only. 0 for what no token grants. */
enum { PERMISSION_BITS_ALL = (1 << (PERMISSION_COUNT - PERMISSION_ANY_TOKEN - 1)) - 1 };
uint32_t permission_bit(enum permission permission);

/* By its wire name; PERMISSION_COUNT when no token can have it. */
enum permission permission_parse(const char *name);

enum method_flag {
    METHOD_READS = 0,
    METHOD_WRITES = 1 << 0,  /* runs inside the turn's transaction, is answered after its commit */
    METHOD_MUTATES = 1 << 1, /* takes a request_id */
    METHOD_BIG = 1 << 2,     /* requests up to FRAME_BYTES_MAX instead of FRAME_BYTES_SMALL */
    METHOD_STREAMS = 1 << 3, /* sends notifications until the call ends */
    METHOD_URGENT = 1 << 4,  /* kill, status, health: may use the slots kept free */
    METHOD_SECRET = 1 << 5,  /* its params hold a secret: no hash of them is made, the handler makes
                              * one  with a key */
    METHOD_COMMON = 1 << 6,  /* of every daemon: served whatever state its store is in */
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
