/* What is said about a program comes from its routes and from what it sets here; there is one
 * program to a process, so this is the one place with state of its own. */
#include "common/access/daemon_methods.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/api/api.h"
#include "common/base/ensure.h"
#include "common/wire/writer.h"

/* Counts up when a method changes so that older callers cannot use it any more. */
enum { METHODS_PROTOCOL = 1 };

static struct {
    struct daemon_self self;
    const struct rpc_route *routes;
    struct buffer packed; /* of the reply that is being made */
    char state[32];
    char reason[256];
} daemon_state = {
    .packed.limit = FRAME_BYTES_SMALL,
    .state = "starting",
};

void daemon_methods_setup(const struct daemon_self *self, const struct rpc_route *routes)
{
    daemon_state.self = *self;
    daemon_state.routes = routes;
}

void daemon_health_set(const char *state, const char *format, ...)
{
    snprintf(daemon_state.state, sizeof daemon_state.state, "%s", state);
    daemon_state.reason[0] = '\0';
    if (format == NULL)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(daemon_state.reason, sizeof daemon_state.reason, format, arguments);
    va_end(arguments);
}

enum status daemon_hello_route(void *context, struct rpc_call *call, const void *request,
                               void *reply)
{
    (void)context;
    const struct daemon_hello_request *hello = request;
    struct daemon_hello_reply *answer = reply;
    ensure(daemon_state.self.access != NULL);
    TRY(access_hello(daemon_state.self.access, call, hello->daemon, hello->key));
    answer->version = SOLO_VERSION;
    return STATUS_OK;
}

enum status daemon_health_route(void *context, struct rpc_call *call, const void *request,
                                void *reply)
{
    (void)context;
    (void)call;
    (void)request;
    struct daemon_health_reply *answer = reply;
    answer->state = daemon_state.state;
    answer->reason = daemon_state.reason;
    const bool *is_short = daemon_state.self.is_short_of_space;
    const bool *has_met_damage = daemon_state.self.has_met_damage;
    const char *shortage = daemon_state.self.shortage;
    if (strcmp(answer->state, "ready") != 0)
        return STATUS_OK;
    if (has_met_damage != NULL && *has_met_damage)
        answer->reason = daemon_state.self.damage;
    else if (is_short != NULL && *is_short)
        answer->reason =
            "there is no room for its store: what grows is refused, kills and revocations "
            "go on; make room on its disk (`df`), nothing has to be restarted";
    else if (shortage != NULL && answer->reason[0] == '\0')
        answer->reason = shortage;
    return STATUS_OK;
}

/* The packed bytes live until the next of these methods; the answer is written before that. */
static enum status packed_reply(struct span *object)
{
    if (daemon_state.packed.is_exhausted)
        return STATUS_RESOURCE_EXHAUSTED;
    *object = buffer_span(&daemon_state.packed);
    return STATUS_OK;
}

enum status daemon_describe_route(void *context, struct rpc_call *call, const void *request,
                                  void *reply)
{
    (void)context;
    (void)call;
    (void)request;
    struct daemon_describe_reply *answer = reply;
    struct buffer *packed = &daemon_state.packed;
    size_t count = 0;
    while (daemon_state.routes != NULL && daemon_state.routes[count].method != NULL)
        count++;
    buffer_clear(packed);
    write_array(packed, count);
    for (size_t i = 0; i < count; i++) {
        const struct method *method = daemon_state.routes[i].method;
        write_map(packed, 3);
        write_key_str(packed, "name", method->name);
        write_key_str(packed, "permission", permission_name(method->permission));
        write_key_str(packed, "meaning", method->meaning);
    }
    answer->daemon = daemon_state.self.name;
    answer->version = SOLO_VERSION;
    answer->pid = (uint64_t)getpid();
    answer->protocol = METHODS_PROTOCOL;
    return packed_reply(&answer->methods);
}

void counters_write(struct buffer *buffer, const struct counter *counters, size_t count)
{
    write_map(buffer, count);
    for (size_t i = 0; i < count; i++)
        write_key_u64(buffer, counters[i].name, counters[i].value);
}

enum status daemon_stats_route(void *context, struct rpc_call *call, const void *request,
                               void *reply)
{
    (void)context;
    (void)call;
    (void)request;
    struct daemon_stats_reply *answer = reply;
    struct buffer *packed = &daemon_state.packed;
    buffer_clear(packed);
    if (daemon_state.self.write_counters != NULL)
        daemon_state.self.write_counters(daemon_state.self.context, packed);
    else
        write_map(packed, 0);
    return packed_reply(&answer->counters);
}

static enum status check_permission(struct rpc_call *call, const char *name)
{
    const struct caller *caller = &call->caller;
    enum permission wanted = permission_parse(name);
    if (wanted == PERMISSION_COUNT)
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "permission",
                           "there is none called \"%s\"; `soloctl token create --help` lists them",
                           name);
    if (access_token_allows(caller, wanted))
        return STATUS_OK;
    return problem_set(&call->problem, STATUS_PERMISSION_DENIED, "permission",
                       "this token does not have %s", name);
}

enum status token_check_route(void *context, struct rpc_call *call, const void *request,
                              void *reply)
{
    (void)context;
    const struct token_check_request *asked = request;
    struct token_check_reply *answer = reply;
    const struct caller *caller = &call->caller;
    size_t count = 0;
    if (caller->accessor[0] == '\0')
        return problem_set(&call->problem, STATUS_UNAUTHENTICATED, "token", "no token was sent");
    if (asked->permission[0] != '\0')
        TRY(check_permission(call, asked->permission));
    const char **names = arena_alloc(call->arena, PERMISSION_COUNT * sizeof *names);
    if (names == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    for (int i = PERMISSION_ANY_TOKEN + 1; i < PERMISSION_COUNT; i++)
        if ((caller->permissions & permission_bit((enum permission)i)) != 0)
            names[count++] = permission_name((enum permission)i);
    answer->accessor = caller->accessor;
    answer->tenant = caller->tenant;
    answer->permissions = (struct str_list){ names, count };
    return STATUS_OK;
}
