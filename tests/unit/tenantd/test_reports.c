/* Numbers without gaps, a bounded queue, and completions that are never lost. */
#include "tenantd/reports.h"

#include <string.h>

#include "common/base/auto.h"
#include "common/wire/reader.h"
#include "tests/support/criterion.h"

static const uint8_t empty_map[] = { 0x80 };

static struct report_content ordinary(void)
{
    return (struct report_content){ .type = "service_crashed",
                                    .name = "api",
                                    .generation = 5,
                                    .since = 6,
                                    .causation_id = 7,
                                    .payload = { empty_map, 1 } };
}

static struct report_content folding(void)
{
    struct report_content content = ordinary();
    content.type = "service_completed";
    content.is_folding = true;
    return content;
}

static void add(struct reports *reports, struct report_content content, size_t times)
{
    for (size_t i = 0; i < times; i++)
        reports_add(reports, &content);
}

static struct span packed(const struct report *report)
{
    return span_of(report->packed, report->size);
}

Test(reports, are_numbered_from_one_and_say_what_happened)
{
    AUTO(reports_close) struct reports reports = { 0 };
    char text[64];
    add(&reports, ordinary(), 3);
    uint64_t number = 0;
    for (struct report *report = reports.first; report != NULL; report = report->next) {
        cr_assert_eq(report->number, ++number);
        cr_assert_eq(map_u64(packed(report), "number", 0), number);
    }
    cr_assert_eq(number, 3);
    struct span first = packed(reports.first);
    cr_assert_str_eq(map_text(first, "type", text, sizeof text), "service_crashed");
    cr_assert_str_eq(map_text(first, "name", text, sizeof text), "api");
    cr_assert_eq(map_u64(first, "generation", 0), 5);
    cr_assert_eq(map_u64(first, "since", 0), 6);
    cr_assert_eq(map_u64(first, "causation_id", 0), 7);
}

Test(reports, are_forgotten_when_acknowledged)
{
    AUTO(reports_close) struct reports reports = { 0 };
    cr_assert_eq(reports_acknowledge(&reports, 0), STATUS_OK);
    cr_assert_eq(reports_acknowledge(&reports, 1), STATUS_INVALID_ARGUMENT);
    add(&reports, ordinary(), 5);
    cr_assert_eq(reports_acknowledge(&reports, 3), STATUS_OK);
    cr_assert_eq(reports.first->number, 4);
    cr_assert_eq(reports.count, 2);
    cr_assert_eq(reports_acknowledge(&reports, 3), STATUS_OK);
    cr_assert_eq(reports_acknowledge(&reports, 6), STATUS_INVALID_ARGUMENT);
    cr_assert_eq(reports_acknowledge(&reports, 5), STATUS_OK);
    cr_assert_null(reports.first);
    cr_assert_null(reports.last);
    add(&reports, ordinary(), 1);
    cr_assert_eq(reports.first->number, 6);
}

Test(reports, a_full_queue_counts_what_it_misses_and_leaves_no_gap)
{
    AUTO(reports_close) struct reports reports = { 0 };
    add(&reports, ordinary(), REPORTS_PLACES_ORDINARY + 7);
    cr_assert_eq(reports.count, REPORTS_PLACES_ORDINARY);
    cr_assert_eq(reports.missed, 7);
    cr_assert_eq(reports_acknowledge(&reports, 1), STATUS_OK);
    add(&reports, ordinary(), 1);
    cr_assert_eq(reports.last->number, REPORTS_PLACES_ORDINARY + 1);
    struct reader payload;
    struct span map;
    cr_assert_eq(map_find(packed(reports.last), "payload", &payload), STATUS_OK);
    cr_assert_eq(reader_any(&payload, &map), STATUS_OK);
    cr_assert_eq(map_u64(map, "reports_missed", 0), 7);
    cr_assert_eq(reports.missed, 0);
}

Test(reports, completions_find_a_place_when_others_do_not)
{
    AUTO(reports_close) struct reports reports = { 0 };
    add(&reports, ordinary(), REPORTS_PLACES_ORDINARY - 1);
    cr_assert(reports_have_room(&reports));
    add(&reports, ordinary(), 2);
    cr_assert_not(reports_have_room(&reports), "a start would not be told");
    add(&reports, folding(), SERVICES_PER_TENANT_MAX);
    cr_assert_eq(reports.count, REPORTS_UNACKNOWLEDGED_MAX);
    cr_assert_eq(reports.last->number, REPORTS_UNACKNOWLEDGED_MAX);
    cr_assert_not(reports_have_room(&reports));
}
