/* Gathers from several daemons; one that does not answer costs only what it alone knows. Whoever
 * started a daemon knows whether it runs; how it is, it says itself. */
#include "soloctl/programs.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/run_folder.h"
#include "common/base/unix_socket.h"
#include "common/wire/reader.h"
#include "soloctl/units.h"

static const enum peer peers[PROGRAMS_ASKED] = { PEER_EVENTD, PEER_TOKEND, PEER_VAULTD,
                                                 PEER_DEPLOYD };

struct found {
    struct programs *programs;
    const char *run_dir;
};

static struct program *add(struct programs *programs)
{
    if (programs->count == PROGRAMS_DAEMONS_MAX)
        return NULL;
    struct program *program = &programs->items[programs->count++];
    *program = (struct program){ .pid = 0 };
    return program;
}

struct program *programs_find(struct programs *programs, const char *name)
{
    for (size_t i = 0; i < programs->count; i++)
        if (strcmp(programs->items[i].name, name) == 0)
            return &programs->items[i];
    return NULL;
}

static void take_list(void *context, const void *answer)
{
    struct programs *programs = context;
    const struct daemon_list_reply *reply = answer;
    programs->has_solod = true;
    programs->recovery_exit_code = reply->recovery_exit_code;
    snprintf(programs->state, sizeof programs->state, "%s", reply->state);
    snprintf(programs->reason, sizeof programs->reason, "%s", reply->reason);
    if (reply->verification.size <= sizeof programs->verification) {
        memcpy(programs->verification, reply->verification.data, reply->verification.size);
        programs->verification_bytes = reply->verification.size;
    }
    struct reader reader = reader_of(reply->daemons);
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

static void take_description(void *context, const void *answer)
{
    struct itself *itself = context;
    itself->pid = ((const struct daemon_describe_reply *)answer)->pid;
}

static void take_health(void *context, const void *answer)
{
    struct itself *itself = context;
    const struct daemon_health_reply *reply = answer;
    snprintf(itself->state, sizeof itself->state, "%s", reply->state);
    snprintf(itself->reason, sizeof itself->reason, "%s", reply->reason);
}

static void take_supervisors(void *context, const void *answer)
{
    struct programs *programs = context;
    const struct tenant_list_reply *reply = answer;
    struct reader reader = reader_of(reply->tenants);
    uint32_t count = 0;
    if (reader_array(&reader, &count) != STATUS_OK)
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct span map;
        if (reader_any(&reader, &map) != STATUS_OK)
            return;
        uint64_t pid = map_u64(map, "supervisor_pid", 0);
        bool is_silent = map_bool(map, "is_silent", false);
        if ((pid == 0 && !is_silent) || programs->supervisor_count == TENANTS_MAX)
            continue;
        struct program *program =
            &programs->items[PROGRAMS_DAEMONS_MAX + programs->supervisor_count++];
        *program = (struct program){ .pid = pid };
        snprintf(program->name, sizeof program->name, "tenantd");
        snprintf(program->state, sizeof program->state, is_silent ? "silent" : "ready");
        map_text(map, "tenant", program->tenant, sizeof program->tenant);
    }
}

size_t programs_ask(struct programs *programs, bool with_supervisors,
                    struct question questions[PROGRAMS_QUESTIONS])
{
    static const struct daemon_list_request list_request;
    static const struct daemon_describe_request describe_request;
    static const struct daemon_health_request health_request;
    static const struct tenant_list_request tenants_request;
    size_t count = 0;
    programs->count = programs->supervisor_count = 0;
    programs->has_solod = programs->has_units = false;
    programs->state[0] = programs->reason[0] = '\0';
    programs->verification_bytes = 0;
    programs->recovery_exit_code = -1;
    programs->questions = questions;
    programs->asks_supervisors = with_supervisors;
    questions[count++] = (struct question){ .peer = PEER_SOLOD,
                                            .method = &method_daemon_list,
                                            .request = &list_request,
                                            .take = take_list,
                                            .context = programs };
    for (size_t i = 0; i < PROGRAMS_ASKED; i++) {
        programs->themselves[i] = (struct itself){ .pid = 0 };
        questions[count++] = (struct question){ .peer = peers[i],
                                                .method = &method_daemon_health,
                                                .request = &health_request,
                                                .take = take_health,
                                                .context = &programs->themselves[i] };
        questions[count++] = (struct question){ .peer = peers[i],
                                                .method = &method_daemon_describe,
                                                .request = &describe_request,
                                                .take = take_description,
                                                .context = &programs->themselves[i] };
    }
    if (with_supervisors)
        questions[count++] = (struct question){ .peer = PEER_DEPLOYD,
                                                .method = &method_tenant_list,
                                                .request = &tenants_request,
                                                .take = take_supervisors,
                                                .context = programs };
    return count;
}

/* While deployd does not answer: each supervisor holds its lock, and the kernel names who listens
 * at its socket. */
static enum status find_supervisor(void *context, const char *tenant)
{
    struct found *found = context;
    struct programs *programs = found->programs;
    char path[4096];
    AUTO(fd_close) int connection = -1;
    struct ucred peer = { 0 };
    socklen_t size = sizeof peer;
    if (programs->supervisor_count == TENANTS_MAX ||
        tenant_socket_path(path, found->run_dir, tenant) != STATUS_OK)
        return STATUS_OK;
    if (unix_socket_connect(path, &connection) != STATUS_OK ||
        getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        peer.pid = 0;
    struct program *program = &programs->items[PROGRAMS_DAEMONS_MAX + programs->supervisor_count++];
    *program = (struct program){ .pid = (uint64_t)peer.pid };
    snprintf(program->name, sizeof program->name, "tenantd");
    snprintf(program->state, sizeof program->state, "unknown");
    snprintf(program->tenant, sizeof program->tenant, "%s", tenant);
    return STATUS_OK;
}

/* Nobody but Solo's own user may look there. */
static void find_supervisors(struct programs *programs, const struct session *session)
{
    char folder[4096];
    struct found found = { programs, session->run_dir };
    if (run_internal_path(folder, session->run_dir, "tenants") == STATUS_OK &&
        access(folder, R_OK | X_OK) == 0)
        tenants_locked_each(session->run_dir, find_supervisor, &found);
}

static void be_silent(struct program *program, const char *name)
{
    snprintf(program->name, sizeof program->name, "%s", name);
    snprintf(program->state, sizeof program->state, "silent");
    snprintf(program->reason, sizeof program->reason, "does not answer");
}

/* To its parent it is ready when it has said so, also when it has nothing but bad news. */
static void join(struct programs *programs, size_t index)
{
    const struct itself *itself = &programs->themselves[index];
    const char *name = peer_name(peers[index]);
    bool is_silent = programs->questions[1 + 2 * index].status == STATUS_DEADLINE_EXCEEDED;
    struct program *program = programs_find(programs, name);
    bool is_known = program != NULL;
    if (!is_known && (is_silent || itself->pid != 0))
        program = add(programs);
    if (program == NULL || (is_known && strcmp(program->state, "ready") != 0))
        return;
    if (itself->pid != 0)
        program->pid = itself->pid;
    if (is_silent) {
        be_silent(program, name);
    } else if (itself->state[0] != '\0' || !is_known) {
        snprintf(program->name, sizeof program->name, "%s", name);
        snprintf(program->state, sizeof program->state, "%s", itself->state);
        snprintf(program->reason, sizeof program->reason, "%s", itself->reason);
    }
}

void programs_join(struct programs *programs, const struct session *session)
{
    if (!programs->has_solod && programs->questions[0].status == STATUS_DEADLINE_EXCEEDED)
        be_silent(add(programs), peer_name(PEER_SOLOD));
    else if (!programs->has_solod)
        ask_systemd(programs, session);
    for (size_t i = 0; i < PROGRAMS_ASKED; i++)
        join(programs, i);
    const struct question *supervisors = &programs->questions[PROGRAMS_QUESTIONS - 1];
    if (programs->asks_supervisors && supervisors->status != STATUS_OK)
        find_supervisors(programs, session);
    memmove(&programs->items[programs->count], &programs->items[PROGRAMS_DAEMONS_MAX],
            programs->supervisor_count * sizeof programs->items[0]);
    programs->count += programs->supervisor_count;
}

void programs_load(struct programs *programs, struct session *session, bool with_supervisors,
                   uint64_t timeout_ms)
{
    struct question questions[PROGRAMS_QUESTIONS];
    size_t count = programs_ask(programs, with_supervisors, questions);
    questions_ask(session, questions, count, timeout_ms);
    programs_join(programs, session);
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
