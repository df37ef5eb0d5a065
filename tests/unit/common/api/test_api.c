#include "common/api/api.h"

#include "common/base/auto.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"

/* Two versions meet during an upgrade: what a newer program adds to its answers is passed over,
 * what is asked for is understood or refused. */
Test(api, every_request_is_closed_and_every_answer_is_open)
{
    size_t count = 0;
    for (const struct method *const *method = all_methods; *method != NULL; method++, count++) {
        cr_expect_not((*method)->request->is_open, "%s", (*method)->name);
        cr_expect((*method)->reply->is_open, "%s", (*method)->name);
    }
    cr_assert_gt(count, 20);
}

Test(api, items_of_answers_are_open_and_rows_of_stores_are_not)
{
    cr_expect(record_event_item.is_open);
    cr_expect(record_service_row.is_open);
    cr_expect(record_exit_row.is_open);
    cr_expect(record_token_item.is_open);
    cr_expect_not(record_token_use.is_open, "it is part of a request");
    cr_expect_not(record_live_row.is_open);
    cr_expect_not(record_tenant_row.is_open);
}

Test(api, a_row_of_a_newer_daemon_is_read)
{
    AUTO(buffer_close) struct buffer map = { .limit = 1024 };
    AUTO(arena_close) struct arena arena = { .limit = 4096 };
    struct service_row row = { .tenant = "acme", .name = "api", .state = "running", .reason = "" };
    struct service_row read = { 0 };
    struct problem problem = { 0 };
    fields_encode(&record_service_row, &row, &map);
    cr_assert_eq(map.data[0] & 0xf0, 0x80, "a small map");
    map.data[0]++;
    write_str(&map, "of_tomorrow");
    write_u64(&map, 7);
    cr_assert_eq(fields_decode(&record_service_row, buffer_span(&map), &arena, &read, &problem),
                 STATUS_OK, "%s %s", problem.field, problem.message);
    cr_expect_str_eq(read.state, "running");
}
