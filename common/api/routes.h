/* Turns the METHOD blocks of one daemon into its routes. In <daemon>/methods.c, after the handlers:
 *
 *     static enum status handle_event_append(struct event_store *, struct rpc_call *,
 *                                            const struct event_append_request *,
 *                                            struct event_append_reply *);
 *     #define ROUTES_DEF "common/api/eventd.def"
 *     #define ROUTES_CONTEXT struct event_store
 *     #include "common/api/routes.h"      -> static const struct rpc_route routes[]
 *
 * Every method of the .def file must have a handler of the right type, or the program does not
 * compile. ROUTES_STORE, defined too, adds what daemons with a store of their own answer alike
 * (store.def). No include guard: it is included once per .c file that answers methods. The
 * methods that every daemon answers come from common/access and stand in the same array. */
#include "common/access/daemon_methods.h"
#include "common/api/api.h"
#include "common/rpc/server.h"
#ifdef ROUTES_STORE
#include "common/access/store_backup.h"
#endif

#define IN(kind, field, bound, meaning)
#define OPT(kind, field, bound, meaning)
#define OUT(kind, field, bound, meaning)
#define END(name)

#define METHOD(name, wire, permission, flags, meaning)                                             \
    static enum status route_##name(void *context, struct rpc_call *call, const void *request,     \
                                    void *reply)                                                   \
    {                                                                                              \
        ROUTES_CONTEXT *owner = context;                                                           \
        const struct name##_request *typed_request = request;                                      \
        struct name##_reply *typed_reply = reply;                                                  \
        return handle_##name(owner, call, typed_request, typed_reply);                             \
    }
#include ROUTES_DEF
#undef METHOD

#define METHOD(name, wire, permission, flags, meaning) { &method_##name, route_##name },
static const struct rpc_route routes[] = {
#include ROUTES_DEF
#ifdef ROUTES_STORE
    { &method_store_backup, store_backup_route },
#endif
    { &method_daemon_hello, daemon_hello_route },
    { &method_daemon_health, daemon_health_route },
    { &method_daemon_describe, daemon_describe_route },
    { &method_daemon_stats, daemon_stats_route },
    { &method_token_check, token_check_route },
    { NULL, NULL },
};
#undef METHOD
#undef IN
#undef OPT
#undef OUT
#undef END
