/* Gathers from several daemons; one that does not answer costs only what it alone knows. */
#include "soloctl/programs.h"

#include <stdio.h>
#include <string.h>

#include "common/api/api.h"
#include "common/wire/reader.h"
#include "soloctl/units.h"

static struct program *add(struct programs *programs)
{
    if (programs->count == PROGRAMS_MAX)
        return NULL;
    struct program *program = &programs->items[programs->count++];
    *program = (struct program){ .pid = 0 };
    return program;
}

static struct program *find(struct programs *programs, const char *name)
{
    for (size_t i = 0; i < programs->count; i++)
        if (strcmp(programs->items[i].name, name) == 0)
            return &programs->items[i];
    return NULL;
}

static void ask_solod(struct programs *programs, struct session *session, uint64_t timeout_ms)
{
    struct daemon_list_request request = {};
    struct daemon_list_reply reply = { 0 };
    struct problem problem = { 0 };
    if (session_call(session, PEER_SOLOD, &method_daemon_list, &request, timeout_ms, &reply,
                     &problem) != STATUS_OK)
        return;
    programs->has_solod = true;
    programs->recovery_exit_code = reply.recovery_exit_code;
    snprintf(programs->state, sizeof programs->state, "%s", reply.state);
    snprintf(programs->reason, sizeof programs->reason, "%s", reply.reason);
    if (reply.verification.size <= sizeof programs->verification) {
        memcpy(programs->verification, reply.verification.data, reply.verification.size);
        programs->verification_bytes = reply.verification.size;
    }
    struct reader reader = reader_of(reply.daemons);
    uint32_t count = 0;
    if (reader_array(&reader, &count) != STATUS_OK)
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct span map;
        struct program *program = add(programs);
        if (program == NULL || reader_any(&reader, &map) != STATUS_OK)
            return;
        map_text(map, "name", program->name, sizeof program->name);
        map_text(map, "state", program->state, sizeof program->state);
        program->pid = map_u64(map, "pid", 0);
        program->restarts = map_u64(map, "restarts", 0);
        program->ready_ns = map_u64(map, "ready_ns", 0);
    }
}

/* recoveryd is no daemon: it is listed while it runs. */
static void ask_systemd(struct programs *programs, const struct session *session)
{
    struct units units;
    programs->has_units = units_are_used(session);
    if (!programs->has_units)
        return;
    units_load(&units);
    for (size_t i = 0; i < units.count; i++) {
        const struct unit *unit = &units.items[i];
        bool is_recovery = strcmp(unit->name, "recoveryd") == 0;
        bool runs = strcmp(unit->state, "starting") == 0;
        if (is_recovery && !runs)
            programs->recovery_exit_code = unit->exit_code;
        struct program *program = is_recovery && !runs ? NULL : add(programs);
        if (program == NULL)
            continue;
        snprintf(program->name, sizeof program->name, "%s", unit->name);
        snprintf(program->state, sizeof program->state, "%s", unit->state);
        program->pid = unit->pid;
        program->restarts = unit->restarts;
        program->ready_ns = unit->ready_ns;
    }
}

/* Whoever started it knows whether it runs; how it is, it says itself. */
static void ask_health(struct program *program, struct session *session, enum peer peer,
                       uint64_t timeout_ms)
{
    const struct daemon_health_request request = {};
    struct daemon_health_reply reply = { 0 };
    struct problem problem;
    if (session_call(session, peer, &method_daemon_health, &request, timeout_ms, &reply,
                     &problem) != STATUS_OK)
        return;
    snprintf(program->state, sizeof program->state, "%s", reply.state);
    snprintf(program->reason, sizeof program->reason, "%s", reply.reason);
}

static void ask_itself(struct programs *programs, struct session *session, enum peer peer,
                       uint64_t timeout_ms)
{
    struct daemon_describe_request describe_request = {};
    struct daemon_describe_reply description = { 0 };
    struct problem problem = { 0 };
    if (session_call(session, peer, &method_daemon_describe, &describe_request, timeout_ms,
                     &description, &problem) != STATUS_OK)
        return;
    struct program *program = find(programs, peer_name(peer));
    if (program == NULL)
        program = add(programs);
    if (program == NULL)
        return;
    snprintf(program->name, sizeof program->name, "%s", peer_name(peer));
    program->pid = description.pid;
    program->state[0] = '\0';
    ask_health(program, session, peer, timeout_ms);
}

static void ask_for_supervisors(struct programs *programs, struct session *session,
                                uint64_t timeout_ms)
{
    struct tenant_list_request request = {};
    struct tenant_list_reply reply = { 0 };
    struct problem problem = { 0 };
    if (session_call(session, PEER_DEPLOYD, &method_tenant_list, &request, timeout_ms, &reply,
                     &problem) != STATUS_OK)
        return;
    struct reader reader = reader_of(reply.tenants);
    uint32_t count = 0;
    if (reader_array(&reader, &count) != STATUS_OK)
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct span map;
        if (reader_any(&reader, &map) != STATUS_OK)
            return;
        uint64_t pid = map_u64(map, "supervisor_pid", 0);
        bool is_silent = map_bool(map, "is_silent", false);
        struct program *program = pid == 0 && !is_silent ? NULL : add(programs);
        if (program == NULL)
            continue;
        snprintf(program->name, sizeof program->name, "tenantd");
        snprintf(program->state, sizeof program->state, is_silent ? "silent" : "ready");
        map_text(map, "tenant", program->tenant, sizeof program->tenant);
        program->pid = pid;
    }
}

void programs_load(struct programs *programs, struct session *session, bool with_supervisors,
                   uint64_t timeout_ms)
{
    programs->count = 0;
    programs->has_solod = false;
    programs->verification_bytes = 0;
    programs->recovery_exit_code = -1;
    ask_solod(programs, session, timeout_ms);
    programs->has_units = false;
    if (!programs->has_solod)
        ask_systemd(programs, session);
    static const enum peer peers[] = { PEER_EVENTD, PEER_TOKEND, PEER_VAULTD, PEER_DEPLOYD };
    for (size_t i = 0; i < sizeof peers / sizeof peers[0]; i++) {
        struct program *program = find(programs, peer_name(peers[i]));
        if (program == NULL)
            ask_itself(programs, session, peers[i], timeout_ms);
        /* To its parent it is ready when it answers, also when it has nothing but bad news. */
        else if (strcmp(program->state, "ready") == 0)
            ask_health(program, session, peers[i], timeout_ms);
    }
    if (with_supervisors)
        ask_for_supervisors(programs, session, timeout_ms);
}

void program_item(const struct program *program, struct item *item)
{
    item_text(item, "name", program->name);
    item_number_or_null(item, "pid", program->pid);
    item_text(item, "state", program->state);
    item_text_or_null(item, "reason", program->reason);
    item_text_or_null(item, "tenant", program->tenant);
    item_number(item, "restarts", program->restarts);
    item_time(item, "ready_at", program->ready_ns);
}
