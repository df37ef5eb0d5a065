/* get tenants: whose services there are, and how much of what each is allowed they use. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/wire/reader.h"
#include "soloctl/commands.h"
#include "soloctl/output.h"
#include "soloctl/table.h"
#include "soloctl/totals.h"

static const struct column tenant_columns[] = {
    { "TENANT", COLUMN_TEXT, false },      { "UID", COLUMN_NUMBER, false },
    { "SERVICES", COLUMN_NUMBER, false },  { "RUNNING", COLUMN_NUMBER, false },
    { "SUPERVISOR", COLUMN_NUMBER, true }, { "USED OF ALLOWED", COLUMN_TEXT, false },
};

static enum status print_tenants(struct session *session, const struct arguments *arguments,
                                 struct span list, struct list_output *output, size_t *found,
                                 struct problem *problem)
{
    AUTO(table_close) struct table *table = NULL;
    struct reader reader = reader_of(list);
    uint32_t count = 0;
    if (table_open(&table, tenant_columns, COUNT_OF(tenant_columns),
                   session->format == FORMAT_WIDE) != STATUS_OK)
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "", "out of memory");
    if (list.size > 0)
        TRY(reader_array(&reader, &count));
    for (uint32_t i = 0; i < count; i++) {
        struct span map;
        char tenant[NAME_BYTES_MAX + 1], text[TOTALS_TEXT_BYTES];
        struct reader totals;
        struct span packed = { 0 };
        TRY(reader_any(&reader, &map));
        map_text(map, "tenant", tenant, sizeof tenant);
        bool is_wanted = arguments->operand_count == 0 &&
                         (session->tenant[0] == '\0' || strcmp(session->tenant, tenant) == 0);
        for (size_t k = 0; k < arguments->operand_count; k++)
            is_wanted = is_wanted || strcmp(arguments->operands[k], tenant) == 0;
        if (!is_wanted)
            continue;
        ++*found;
        uint64_t services = map_u64(map, "services", 0), running = map_u64(map, "running", 0);
        uint64_t uid = map_u64(map, "uid", 0), supervisor = map_u64(map, "supervisor_pid", 0);
        AUTO(item_close) struct item item = ITEM_EMPTY;
        item_text(&item, "tenant", tenant);
        item_number(&item, "uid", uid);
        item_number(&item, "services", services);
        item_number(&item, "running", running);
        item_number_or_null(&item, "supervisor_pid", supervisor);
        if (map_find(map, "totals", &totals) == STATUS_OK &&
            reader_any(&totals, &packed) == STATUS_OK)
            item_object(&item, "totals", packed);
        TRY(totals_text(packed, text));
        list_add(output, &item, tenant);
        table_row(table);
        table_cell(table, tenant);
        table_cell(table, NUMBER(uid));
        table_cell(table, NUMBER(services));
        table_cell(table, NUMBER(running));
        table_number(table, supervisor);
        table_cell(table, text);
    }
    if (!session_is_for_programs(session) && *found > 0 && table_print(table, stdout) != STATUS_OK)
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "", "out of memory");
    return STATUS_OK;
}

int command_get_tenants(struct session *session, const struct arguments *arguments)
{
    AUTO(list_close) struct list_output output = { 0 };
    struct problem problem = { 0 };
    struct tenant_list_request request = {};
    struct tenant_list_reply reply = { 0 };
    size_t found = 0;
    enum status status = session_call(session, PEER_DEPLOYD, &method_tenant_list, &request,
                                      READ_TIMEOUT_MS, &reply, &problem);
    if (status == STATUS_OK)
        status = list_begin(&output, session->format, "tenants", &problem);
    if (status == STATUS_OK)
        status = print_tenants(session, arguments, reply.tenants, &output, &found, &problem);
    if (status == STATUS_OK && found < arguments->operand_count)
        status = problem_set(&problem, STATUS_NOT_FOUND, "", "there is no such tenant");
    if (status != STATUS_OK)
        return session_fail(session, arguments->operand_count == 1 ? arguments->operands[0] : "",
                            status, &problem);
    list_end(&output);
    if (found == 0 && !session_is_for_programs(session))
        fprintf(stderr, "no tenants\n");
    return 0;
}
