#include "soloctl/service_view.h"

#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/wire/writer.h"
#include "soloctl/output.h"
#include "tests/support/criterion.h"
#include "tests/unit/soloctl/captured.h"

static struct service_row example(struct buffer *exits)
{
    struct exit_row crashed = { .wall_ns = 1795294697123456789u,
                                .ran_ms = 1500,
                                .signal = 9,
                                .reason = "killed",
                                .output = "last words\n" };
    struct exit_row ended = {
        .wall_ns = 1795294690000000000u, .ran_ms = 20, .code = 3, .reason = "", .output = ""
    };
    write_array(exits, 2);
    fields_encode(&record_exit_row, &crashed, exits);
    fields_encode(&record_exit_row, &ended, exits);
    return (struct service_row){ .tenant = "demo",
                                 .name = "web",
                                 .state = "backoff",
                                 .reason = "crashed, next start in 2s",
                                 .generation = 12,
                                 .since = 12,
                                 .restarts = 2,
                                 .due_ns = 1795294699000000000u,
                                 .spec_hash = { { 1 } },
                                 .instance = "",
                                 .boot_id = "",
                                 .exits = buffer_span(exits) };
}

Test(service_view, item_has_what_the_command_line_promises)
{
    AUTO(buffer_close) struct buffer exits_bytes = { .limit = 4096 };
    AUTO(arena_close) struct arena arena = { .limit = 1 << 16 };
    AUTO(item_close) struct item item = ITEM_EMPTY;
    struct service_row row = example(&exits_bytes);
    struct exit_list exits;
    struct problem problem = { 0 };
    cr_assert_eq(service_exits(&row, &arena, &exits, &problem), STATUS_OK);
    cr_assert_eq(exits.count, 2);
    service_item(&row, &exits, &item);
    capture(STDOUT_FILENO);
    document_print(FORMAT_JSON, &item, "");
    json_t *json = captured_json();
    cr_assert_str_eq(json_string_value(json_object_get(json, "tenant")), "demo");
    cr_assert_str_eq(json_string_value(json_object_get(json, "name")), "web");
    cr_assert_str_eq(json_string_value(json_object_get(json, "state")), "backoff");
    cr_assert_str_eq(json_string_value(json_object_get(json, "reason")),
                     "crashed, next start in 2s");
    cr_assert_eq(json_integer_value(json_object_get(json, "generation")), 12);
    cr_assert_eq(json_integer_value(json_object_get(json, "since")), 12);
    cr_assert(json_is_null(json_object_get(json, "pid")));
    cr_assert_eq(json_integer_value(json_object_get(json, "restarts")), 2);
    cr_assert(json_is_null(json_object_get(json, "started_at")));
    cr_assert_str_eq(json_string_value(json_object_get(json, "next_due")),
                     "2026-11-21T20:58:19.000Z");
    cr_assert_eq(json_string_length(json_object_get(json, "spec_hash")), 64);
    json_t *last = json_object_get(json, "last_exit");
    cr_assert_str_eq(json_string_value(json_object_get(last, "signal")), "KILL");
    cr_assert(json_is_null(json_object_get(last, "code")));
    cr_assert_str_eq(json_string_value(json_object_get(last, "output")), "last words\n");
    json_decref(json);
}

Test(service_view, a_service_that_never_ended_has_no_last_exit)
{
    AUTO(item_close) struct item item = ITEM_EMPTY;
    struct service_row row = { .tenant = "demo",
                               .name = "web",
                               .state = "running",
                               .reason = "",
                               .pid = 5,
                               .started_ns = 1795294697123456789u };
    service_item(&row, &(struct exit_list){ 0 }, &item);
    capture(STDOUT_FILENO);
    document_print(FORMAT_JSON, &item, "");
    json_t *json = captured_json();
    cr_assert(json_is_null(json_object_get(json, "last_exit")));
    cr_assert_eq(json_integer_value(json_object_get(json, "pid")), 5);
    cr_assert_str_eq(json_string_value(json_object_get(json, "started_at")),
                     "2026-11-21T20:58:17.123Z");
    json_decref(json);
}

Test(service_view, exits_read_as_people_say_them)
{
    char text[EXIT_TEXT_BYTES];
    cr_assert_str_eq(exit_text(text, &(struct exit_row){ .code = 3 }), "exit code 3");
    cr_assert_str_eq(exit_text(text, &(struct exit_row){ .code = 0 }), "exit code 0");
    cr_assert_str_eq(exit_text(text, &(struct exit_row){ .signal = 15 }), "killed by SIGTERM");
    cr_assert_str_eq(exit_text(text, &(struct exit_row){ .signal = 126 }), "killed by signal 126");
}

Test(service_view, a_row_is_a_line_of_the_table)
{
    AUTO(buffer_close) struct buffer exits_bytes = { .limit = 4096 };
    AUTO(arena_close) struct arena arena = { .limit = 1 << 16 };
    AUTO(table_close) struct table *table = NULL;
    struct service_row row = example(&exits_bytes);
    struct exit_list exits;
    struct problem problem = { 0 };
    cr_assert_eq(service_exits(&row, &arena, &exits, &problem), STATUS_OK);
    cr_assert_eq(table_open(&table, service_columns, service_column_count, false), STATUS_OK);
    service_table_row(table, &row, &exits, 1795294700000000000u);
    capture(STDOUT_FILENO);
    cr_assert_eq(table_print(table, stdout), STATUS_OK);
    cr_assert_str_eq(captured_text(),
                     "NAME     STATE   GENERATION PID RESTARTS AGE REASON\n"
                     "demo/web backoff         12   -        2   - crashed, next start in 2s\n");
}

Test(service_view, only_what_a_watcher_sees_counts_as_a_change)
{
    struct service_row a = { .state = "running", .reason = "", .generation = 1, .pid = 5 }, b = a;
    b.due_ns = 7;
    cr_assert(service_looks_equal(&a, &b));
    b.pid = 6;
    cr_assert_not(service_looks_equal(&a, &b));
    b = a;
    b.reason = "other";
    cr_assert_not(service_looks_equal(&a, &b));
}
