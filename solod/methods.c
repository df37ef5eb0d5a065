/* The handlers of solod.def. Nothing here waits: what is not true yet becomes a waiter. */
#include "solod/methods.h"

#include <string.h>
#include <unistd.h>

#include "common/api/api.h"
#include "common/wire/writer.h"

enum { WAIT_MS_DEFAULT = 60000, RESTART_MS = 60000 };

struct row {
    const char *name, *state;
    pid_t pid;
    uint64_t restarts, ready_wall_ns;
};

static void row_write(struct buffer *buffer, const struct row *row)
{
    write_map(buffer, 5);
    write_key_str(buffer, "name", row->name);
    write_key_u64(buffer, "pid", (uint64_t)row->pid);
    write_key_str(buffer, "state", row->state);
    write_key_u64(buffer, "restarts", row->restarts);
    write_key_u64(buffer, "ready_ns", row->ready_wall_ns);
}

static void rows_write(struct buffer *buffer, const struct solod *solod, const char *state)
{
    bool recovers = solod->recovery.child.pid != 0;
    bool verifies = solod->verification.child.pid != 0;
    write_array(buffer, 1 + DAEMONS + recovers + verifies);
    row_write(buffer, &(struct row){ "solod", state, getpid(), 0, solod->ready_wall_ns });
    for (size_t i = 0; i < DAEMONS; i++) {
        const struct daemon *daemon = &solod->daemons.items[i];
        row_write(buffer, &(struct row){ daemon->name, daemon_state_name(daemon), daemon->child.pid,
                                         daemon->restarts, daemon->ready_wall_ns });
    }
    if (recovers)
        row_write(buffer, &(struct row){ "recoveryd", "running", solod->recovery.child.pid, 0, 0 });
    if (verifies)
        row_write(buffer,
                  &(struct row){ "recoveryd", "verifying", solod->verification.child.pid, 0, 0 });
}

static enum status keep(struct rpc_call *call, const struct buffer *packed, struct span *kept)
{
    uint8_t *copy = arena_alloc(call->arena, packed->size);
    if (packed->is_exhausted || copy == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    memcpy(copy, packed->data, packed->size);
    *kept = span_of(copy, packed->size);
    return STATUS_OK;
}

static enum status handle_daemon_list(struct solod *solod, struct rpc_call *call,
                                      const struct daemon_list_request *request,
                                      struct daemon_list_reply *reply)
{
    (void)request;
    char *reason = arena_alloc(call->arena, REASON_TEXT_BYTES);
    AUTO(buffer_close) struct buffer rows = { .limit = 4096 };
    if (reason == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    reply->state = solod_state(solod, reason);
    reply->reason = reason;
    reply->recovery_exit_code = solod->recovery.exit_code;
    rows_write(&rows, solod, reply->state);
    TRY(keep(call, &rows, &reply->daemons));
    buffer_clear(&rows);
    if (call->caller.kind == CALLER_OPERATOR)
        verification_write(&solod->verification, &rows);
    else
        write_map(&rows, 0); /* it counts the services of all */
    return keep(call, &rows, &reply->verification);
}

static bool restart_try(void *context, struct waiter *waiter)
{
    struct solod *solod = context;
    const struct daemon *daemon = &solod->daemons.items[waiter->index];
    if (daemon->state != DAEMON_READY || daemon->restarts == waiter->old_restarts)
        return false;
    const struct daemon_restart_reply reply = { .pid = (uint64_t)daemon->child.pid };
    rpc_call_reply(waiter->call, &reply);
    return true;
}

static void restart_explain(void *context, const struct waiter *waiter, struct problem *problem)
{
    const struct solod *solod = context;
    const struct daemon *daemon = &solod->daemons.items[waiter->index];
    problem_set(problem, STATUS_DEADLINE_EXCEEDED, "",
                "%s is %s; its diagnostics say why it is not ready", daemon->name,
                daemon_state_name(daemon));
}

static enum status handle_daemon_restart(struct solod *solod, struct rpc_call *call,
                                         const struct daemon_restart_request *request,
                                         struct daemon_restart_reply *reply)
{
    (void)reply;
    struct daemon *daemon = daemons_find(&solod->daemons, request->daemon);
    if (daemon == NULL)
        return problem_set(&call->problem, STATUS_NOT_FOUND, "daemon",
                           "no daemon \"%s\"; `soloctl daemon list` names them", request->daemon);
    if (solod->lifecycle->is_stopping)
        return shutting_down_fill(&call->problem);
    if (daemon->started_ns == 0)
        return problem_set(
            &call->problem, STATUS_FAILED_PRECONDITION, "daemon",
            "%s has not been started yet; it follows when the daemon before it is ready",
            daemon->name);
    const struct waiter waiter = {
        .try = restart_try,
        .explain = restart_explain,
        .index = (size_t)(daemon - solod->daemons.items),
        .old_restarts = daemon->restarts,
    };
    TRY(waiters_add(&solod->waiters, call, &waiter, RESTART_MS));
    daemon_stop(daemon, true);
    return STATUS_OK;
}

static bool wait_try(void *context, struct waiter *waiter)
{
    struct solod *solod = context;
    char reason[REASON_TEXT_BYTES];
    if (!solod_is_settled(solod))
        return false;
    const struct system_wait_reply reply = { .state = solod_state(solod, reason),
                                             .reason = reason };
    rpc_call_reply(waiter->call, &reply);
    return true;
}

static void wait_explain(void *context, const struct waiter *waiter, struct problem *problem)
{
    (void)waiter;
    char reason[REASON_TEXT_BYTES];
    const char *state = solod_state(context, reason);
    problem_set(problem, STATUS_DEADLINE_EXCEEDED, "", "Solo is still %s: %s", state, reason);
}

static enum status handle_system_wait(struct solod *solod, struct rpc_call *call,
                                      const struct system_wait_request *request,
                                      struct system_wait_reply *reply)
{
    if (solod->lifecycle->is_stopping)
        return shutting_down_fill(&call->problem);
    if (solod_is_settled(solod)) {
        char *reason = arena_alloc(call->arena, REASON_TEXT_BYTES);
        if (reason == NULL)
            return STATUS_RESOURCE_EXHAUSTED;
        reply->state = solod_state(solod, reason);
        reply->reason = reason;
        return STATUS_OK;
    }
    const struct waiter waiter = { .try = wait_try, .explain = wait_explain };
    return waiters_add(&solod->waiters, call, &waiter,
                       request->timeout_ms == 0 ? WAIT_MS_DEFAULT : request->timeout_ms);
}

/* While our own one runs, its end decides. */
static enum status handle_system_recovered(struct solod *solod, struct rpc_call *call,
                                           const struct system_recovered_request *request,
                                           struct system_recovered_reply *reply)
{
    (void)call, (void)reply;
    if (solod->recovery.has_ended) {
        solod->recovery.exit_code = (int)request->exit_code;
        solod->recovery.changed(solod->recovery.context);
    }
    return STATUS_OK;
}

static enum status handle_system_verified(struct solod *solod, struct rpc_call *call,
                                          const struct system_verified_request *request,
                                          struct system_verified_reply *reply)
{
    (void)call, (void)reply;
    verification_told(&solod->verification, request);
    return STATUS_OK;
}

#define ROUTES_DEF     "common/api/solod.def"
#define ROUTES_CONTEXT struct solod
#include "common/api/routes.h"

static void write_counters(void *context, struct buffer *buffer)
{
    const struct solod *solod = context;
    struct counter counters[DAEMONS];
    char names[DAEMONS][48];
    for (size_t i = 0; i < DAEMONS; i++) {
        const struct daemon *daemon = &solod->daemons.items[i];
        snprintf(names[i], sizeof names[i], "%s_restarts", daemon->name);
        counters[i] = (struct counter){ names[i], daemon->restarts };
    }
    counters_write(buffer, counters, DAEMONS);
}

struct rpc_service solod_service(struct solod *solod)
{
    const struct daemon_self self = {
        .name = "solod",
        .access = &solod->tokens.access,
        .write_counters = write_counters,
        .context = solod,
    };
    daemon_methods_setup(&self, routes);
    return (struct rpc_service){
        .routes = routes,
        .context = solod,
        .privileged = &solod->tokens.access.privileged,
        .authorise = token_asker_authorise,
        .refused = token_asker_refused,
        .access = &solod->tokens,
    };
}
