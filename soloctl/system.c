/* daemon list, daemon restart, drain and version. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/wire/reader.h"
#include "soloctl/commands.h"
#include "soloctl/output.h"
#include "soloctl/programs.h"
#include "soloctl/table.h"
#include "soloctl/text.h"
#include "soloctl/units.h"

enum { HANGS_AFTER_MS = 5000 };

static const struct column program_columns[] = {
    { "NAME", COLUMN_TEXT, false },       { "TENANT", COLUMN_TEXT, false },
    { "PID", COLUMN_NUMBER, false },      { "STATE", COLUMN_TEXT, false },
    { "RESTARTS", COLUMN_NUMBER, false }, { "READY", COLUMN_TEXT, true },
    { "REASON", COLUMN_TEXT, true },
};

int command_daemon_list(struct session *session, const struct arguments *arguments)
{
    static struct programs programs;
    AUTO(list_close) struct list_output output = { 0 };
    AUTO(table_close) struct table *table = NULL;
    struct problem problem = { 0 };
    struct rpc_client *client;
    (void)arguments;
    programs_load(&programs, session, true, LOOK_MS_MAX);
    if (programs.count == 0) {
        enum status status = session_client(session, PEER_SOLOD, &client, &problem);
        return session_fail(session, "", status == STATUS_OK ? STATUS_UNAVAILABLE : status,
                            &problem);
    }
    enum status status = list_begin(&output, session->format, "daemons", &problem);
    if (status == STATUS_OK)
        status = table_open(&table, program_columns, COUNT_OF(program_columns),
                            session->format == FORMAT_WIDE);
    for (size_t i = 0; i < programs.count && status == STATUS_OK; i++) {
        const struct program *program = &programs.items[i];
        char ready[TIME_TEXT_BYTES];
        AUTO(item_close) struct item item = ITEM_EMPTY;
        program_item(program, &item);
        list_add(&output, &item, program->name);
        table_row(table);
        table_cell(table, program->name);
        table_cell(table, program->tenant);
        table_number(table, program->pid);
        table_cell(table, program->state);
        table_cell(table, NUMBER(program->restarts));
        table_cell(table, program->ready_ns == 0 ? "" : time_text(ready, program->ready_ns));
        table_cell(table, program->reason);
    }
    if (status == STATUS_OK && !session_is_for_programs(session))
        status = table_print(table, stdout);
    if (status != STATUS_OK)
        return session_fail(session, "", status, &problem);
    list_end(&output);
    return 0;
}

int command_daemon_restart(struct session *session, const struct arguments *arguments)
{
    struct daemon_restart_request request = { .daemon = arguments->operands[0] };
    struct daemon_restart_reply reply = { 0 };
    struct problem problem = { 0 };
    uint64_t timeout_ms;
    enum status status =
        arguments_duration(arguments, FLAG_timeout, READ_TIMEOUT_MS, &timeout_ms, &problem);
    if (status == STATUS_OK && !name_is_valid(request.daemon))
        status =
            problem_set(&problem, STATUS_USAGE, "", "%s is no name of a daemon", request.daemon);
    if (status == STATUS_OK && strcmp(request.daemon, "solod") == 0)
        status = problem_set(&problem, STATUS_FAILED_PRECONDITION, "",
                             "it is the parent of all daemons: end it with SIGTERM and start it "
                             "again");
    if (status == STATUS_OK && strcmp(request.daemon, "tenantd") == 0)
        status = problem_set(&problem, STATUS_FAILED_PRECONDITION, "",
                             "a supervisor ends together with its services: restart those with "
                             "`soloctl restart TENANT/NAME`");
    if (status == STATUS_OK && units_are_used(session)) {
        struct unit unit;
        status = unit_restart(request.daemon, &unit, &problem);
        reply.pid = status == STATUS_OK ? unit.pid : 0;
    } else if (status == STATUS_OK) {
        status = session_call(session, PEER_SOLOD, &method_daemon_restart, &request, timeout_ms,
                              &reply, &problem);
    }
    if (status != STATUS_OK)
        return session_fail(session, request.daemon, status, &problem);
    if (!session_is_for_programs(session)) {
        printf(reply.pid == 0 ? "%s has run again\n" : "%s restarted: pid %" PRIu64 "\n",
               request.daemon, reply.pid);
        return 0;
    }
    AUTO(item_close) struct item item = ITEM_EMPTY;
    item_text(&item, "kind", "daemon_restart");
    item_text(&item, "name", request.daemon);
    item_number(&item, "pid", reply.pid);
    document_print(session->format, &item, request.daemon);
    return 0;
}

static void print_killed(struct span names)
{
    struct reader reader = reader_of(names);
    uint32_t count = 0;
    if (names.size == 0 || reader_array(&reader, &count) != STATUS_OK)
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct span name;
        if (reader_str(&reader, &name) != STATUS_OK)
            return;
        printf("  had to be killed: ");
        text_print_span(stdout, name, false);
        printf("\n");
    }
}

/* A deployd that hangs would be waited for as long as a drain may take. */
static enum status ask_whether_it_answers(struct session *session, struct problem *problem)
{
    const struct daemon_health_request request = {};
    struct daemon_health_reply reply = { 0 };
    return session_call(session, PEER_DEPLOYD, &method_daemon_health, &request, HANGS_AFTER_MS,
                        &reply, problem);
}

/* The last one is not asked again when its deployd dies: while everything stops no other comes, and
 * whoever waits has another way to end the services. */
static enum status drain(struct session *session, const struct system_drain_request *request,
                         struct system_drain_reply *reply, struct problem *problem)
{
    struct rpc_client *client;
    const struct rpc_call_options options = { .timeout_ms = CHANGE_TIMEOUT_MS,
                                              .request_id = &session->request_id };
    if (!request->is_last)
        return session_call(session, PEER_DEPLOYD, &method_system_drain, request,
                            request->timeout_ms + CHANGE_TIMEOUT_MS, reply, problem);
    TRY(session_client(session, PEER_DEPLOYD, &client, problem));
    return rpc_client_call_wait(client, &method_system_drain, request, &options, &session->arena,
                                reply, problem);
}

/* 1 when something had to be killed, as a shutdown of solod. */
int command_drain(struct session *session, const struct arguments *arguments)
{
    struct system_drain_request request = { 0 };
    struct system_drain_reply reply = { 0 };
    struct problem problem = { 0 };
    enum status status =
        arguments_duration(arguments, FLAG_timeout, 0, &request.timeout_ms, &problem);
    request.is_last = arguments_has(arguments, FLAG_last);
    if (status == STATUS_OK && request.is_last)
        status = ask_whether_it_answers(session, &problem);
    if (status == STATUS_OK)
        status = drain(session, &request, &reply, &problem);
    if (status != STATUS_OK)
        return session_fail(session, "", status, &problem);
    if (session_is_for_programs(session)) {
        AUTO(item_close) struct item item = ITEM_EMPTY;
        item_text(&item, "kind", "drain");
        item_number(&item, "stopped", reply.stopped);
        item_number(&item, "killed", reply.killed);
        item_object(&item, "killed_names", reply.killed_names);
        document_print(session->format, &item, "drained");
    } else {
        printf("drained: %" PRIu64 " services stopped, %" PRIu64 " had to be killed; Solo takes no "
               "new work until deployd is restarted: `soloctl daemon restart deployd` brings "
               "everything back\n",
               reply.stopped, reply.killed);
        print_killed(reply.killed_names);
    }
    return reply.killed == 0 ? 0 : 1;
}

/* Its own version always; those of the daemons where they answer. */
int command_version(struct session *session, const struct arguments *arguments)
{
    AUTO(item_close) struct item item = ITEM_EMPTY;
    bool for_programs = session_is_for_programs(session);
    (void)arguments;
    item_text(&item, "kind", "version");
    item_text(&item, "soloctl", SOLO_VERSION);
    if (!for_programs)
        printf("soloctl %s\n", SOLO_VERSION);
    static const enum peer peers[] = { PEER_SOLOD, PEER_EVENTD, PEER_TOKEND, PEER_VAULTD,
                                       PEER_DEPLOYD };
    for (size_t i = 0; i < COUNT_OF(peers); i++) {
        struct daemon_describe_request request = {};
        struct daemon_describe_reply reply = { 0 };
        struct problem problem = { 0 };
        bool is_there = session_call(session, peers[i], &method_daemon_describe, &request, 3000,
                                     &reply, &problem) == STATUS_OK;
        item_text_or_null(&item, peer_name(peers[i]), is_there ? reply.version : "");
        if (!for_programs && is_there) {
            printf("%s ", peer_name(peers[i]));
            text_print(stdout, reply.version);
            printf(" (pid %" PRIu64 ")\n", reply.pid);
        }
    }
    if (for_programs)
        document_print(session->format, &item, SOLO_VERSION);
    return 0;
}
