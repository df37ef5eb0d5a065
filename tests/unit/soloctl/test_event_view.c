#include "soloctl/event_view.h"

#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/wire/writer.h"
#include "soloctl/output.h"
#include "tests/support/criterion.h"
#include "tests/unit/soloctl/captured.h"

static struct event_item example(struct buffer *payload)
{
    write_map(payload, 5);
    write_str(payload, "generation");
    write_u64(payload, 12);
    write_str(payload, "reason");
    write_str(payload, "killed by hand");
    write_str(payload, "path");
    write_str(payload, "a\x1b[2J");
    write_str(payload, "spec");
    write_map(payload, 0);
    write_str(payload, "ok");
    write_bool(payload, true);
    return (struct event_item){ .id = 15,
                                .wall_ns = 1795294697123456789u,
                                .type = "service_killed",
                                .tenant = "demo",
                                .subject = "service/demo/web",
                                .causation_id = 12,
                                .request_id = "",
                                .payload = buffer_span(payload) };
}

Test(event_view, item_has_what_the_command_line_promises)
{
    AUTO(buffer_close) struct buffer payload = { .limit = 4096 };
    AUTO(item_close) struct item item = ITEM_EMPTY;
    struct event_item event = example(&payload);
    event_item_build(&event, &item);
    capture(STDOUT_FILENO);
    document_print(FORMAT_JSON, &item, "");
    json_t *json = captured_json();
    cr_assert_eq(json_integer_value(json_object_get(json, "id")), 15);
    cr_assert_str_eq(json_string_value(json_object_get(json, "time")), "2026-11-21T20:58:17.123Z");
    cr_assert_str_eq(json_string_value(json_object_get(json, "type")), "service_killed");
    cr_assert_str_eq(json_string_value(json_object_get(json, "tenant")), "demo");
    cr_assert_str_eq(json_string_value(json_object_get(json, "subject")), "service/demo/web");
    cr_assert_eq(json_integer_value(json_object_get(json, "causation_id")), 12);
    json_t *details = json_object_get(json, "payload");
    cr_assert_eq(json_integer_value(json_object_get(details, "generation")), 12);
    cr_assert(json_is_object(json_object_get(details, "spec")));
    json_decref(json);
}

Test(event_view, a_line_shows_plain_values_and_no_control_characters)
{
    AUTO(buffer_close) struct buffer payload = { .limit = 4096 };
    struct event_item event = example(&payload);
    capture(STDOUT_FILENO);
    event_print(stdout, &event, false);
    cr_assert_str_eq(captured_text(),
                     "      15  2026-11-21T20:58:17.123Z  service_killed             "
                     "service/demo/web        <-12 generation=12 reason=\"killed by hand\" "
                     "path=a\\x1b[2J ok=true\n");
}

Test(event_view, an_event_without_a_payload_is_a_line_too)
{
    struct event_item event = { .id = 1,
                                .wall_ns = 0,
                                .type = "system_started",
                                .tenant = "",
                                .subject = "",
                                .request_id = "" };
    capture(STDOUT_FILENO);
    event_print(stdout, &event, false);
    payload_print(stdout, span_of("\x01", 1), false);
    cr_assert_not_null(strstr(captured_text(), "system_started             -"));
}

static enum status count(void *context, const struct event_item *event)
{
    ++*(int *)context;
    return event->id == 3 ? STATUS_CANCELLED : STATUS_OK;
}

Test(event_view, lists_are_walked_until_somebody_has_enough)
{
    AUTO(buffer_close) struct buffer list = { .limit = 4096 };
    AUTO(arena_close) struct arena arena = { .limit = 1 << 16 };
    struct problem problem = { 0 };
    int calls = 0;
    write_array(&list, 4);
    for (uint64_t id = 1; id <= 4; id++) {
        struct event_item event = {
            .id = id, .wall_ns = 1, .type = "app.x", .tenant = "", .subject = "", .request_id = ""
        };
        fields_encode(&record_event_item, &event, &list);
    }
    cr_assert_eq(events_each(buffer_span(&list), &arena, count, &calls, &problem),
                 STATUS_CANCELLED);
    cr_assert_eq(calls, 3);
    cr_assert_eq(events_each((struct span){ 0 }, &arena, count, &calls, &problem), STATUS_OK);
    cr_assert_eq(calls, 3);
}
