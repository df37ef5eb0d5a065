/* kill and restart: one service, one call each. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "soloctl/commands.h"
#include "soloctl/output.h"
#include "soloctl/target.h"

static enum status read_target(const struct session *session, const struct arguments *arguments,
                               struct target *target, uint64_t *timeout_ms, struct problem *problem)
{
    TRY(target_parse(arguments->operands[0], session->tenant, target, problem));
    return arguments_duration(arguments, FLAG_timeout, CHANGE_TIMEOUT_MS, timeout_ms, problem);
}

static void begin_document(struct item *item, const char *kind, const struct target *target,
                           uint64_t generation)
{
    item_text(item, "kind", kind);
    item_text(item, "tenant", target->tenant);
    item_text(item, "name", target->name);
    item_number(item, "generation", generation);
}

int command_kill(struct session *session, const struct arguments *arguments)
{
    struct problem problem = { 0 };
    struct target target = { 0 };
    struct service_kill_reply reply = { 0 };
    uint64_t timeout_ms = 0;
    enum status status = read_target(session, arguments, &target, &timeout_ms, &problem);
    if (status == STATUS_OK) {
        struct service_kill_request request = { .tenant = target.tenant,
                                                .name = target.name,
                                                .force = arguments_has(arguments, FLAG_force) };
        status = session_call(session, PEER_DEPLOYD, &method_service_kill, &request, timeout_ms,
                              &reply, &problem);
    }
    if (status != STATUS_OK)
        return session_fail(session, arguments->operands[0], status, &problem);
    if (!session_is_for_programs(session) && reply.generation == 0) {
        printf("%s killed: its build was ended, it never ran (event %" PRIu64 ")\n", target.key,
               reply.event_id);
        return 0;
    }
    if (!session_is_for_programs(session)) {
        printf("%s killed: generation %" PRIu64 " (event %" PRIu64 ")\n", target.key,
               reply.generation, reply.event_id);
        return 0;
    }
    AUTO(item_close) struct item item = ITEM_EMPTY;
    begin_document(&item, "kill", &target, reply.generation);
    item_number(&item, "event_id", reply.event_id);
    document_print(session->format, &item, target.key);
    return 0;
}

int command_restart(struct session *session, const struct arguments *arguments)
{
    struct problem problem = { 0 };
    struct target target = { 0 };
    struct service_restart_reply reply = { 0 };
    uint64_t timeout_ms = 0;
    enum status status = read_target(session, arguments, &target, &timeout_ms, &problem);
    if (status == STATUS_OK) {
        struct service_restart_request request = { .tenant = target.tenant, .name = target.name };
        status = session_call(session, PEER_DEPLOYD, &method_service_restart, &request, timeout_ms,
                              &reply, &problem);
    }
    if (status != STATUS_OK)
        return session_fail(session, arguments->operands[0], status, &problem);
    if (!session_is_for_programs(session)) {
        printf("%s restarted: generation %" PRIu64 ", %s", target.key, reply.generation,
               reply.state);
        if (reply.pid != 0)
            printf(", pid %" PRIu64, reply.pid);
        printf("\n");
        return 0;
    }
    AUTO(item_close) struct item item = ITEM_EMPTY;
    begin_document(&item, "restart", &target, reply.generation);
    item_text(&item, "state", reply.state);
    item_number_or_null(&item, "pid", reply.pid);
    document_print(session->format, &item, target.key);
    return 0;
}
