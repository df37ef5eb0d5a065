#include "common/base/clock.h"

#include "common/base/auto.h"
#include "tests/support/criterion.h"

Test(clock, time_is_written_in_utc_with_milliseconds)
{
    char text[TIME_TEXT_BYTES];
    cr_assert_str_eq(time_text(text, 0), "1970-01-01T00:00:00.000Z");
    cr_assert_str_eq(time_text(text, 1795294697123456789u), "2026-11-21T20:58:17.123Z");
    cr_assert_str_eq(time_text(text, UINT64_MAX), "2554-07-21T23:34:33.709Z");
}

Test(clock, boottime_does_not_go_back)
{
    uint64_t first = clock_boottime_ns();
    cr_assert_geq(clock_boottime_ns(), first);
    cr_assert_gt(clock_wall_ns(), 1700000000u * 1000000000ull);
}

Test(clock, boot_id_is_a_uuid_that_stays)
{
    char first[BOOT_ID_BYTES], second[BOOT_ID_BYTES];
    cr_assert_eq(clock_boot_id(first), STATUS_OK);
    cr_assert_eq(clock_boot_id(second), STATUS_OK);
    cr_assert_eq(strlen(first), 36);
    cr_assert_str_eq(first, second);
}

Test(clock, durations_are_read_with_their_unit)
{
    static const struct {
        const char *text;
        uint64_t milliseconds;
    } good[] = {
        { "0", 0 },          { "250ms", 250 },          { "5s", 5000 },      { "5", 5000 },
        { "2m", 120000 },    { "1h", 3600000 },         { "7d", 604800000 }, { "1.5s", 1500 },
        { "0.5h", 1800000 }, { "3660d", 316224000000 },
    };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        uint64_t milliseconds = 1;
        cr_assert_eq(duration_parse(good[i].text, &milliseconds), STATUS_OK, "%s", good[i].text);
        cr_assert_eq(milliseconds, good[i].milliseconds, "%s", good[i].text);
    }
}

Test(clock, what_is_no_duration_is_refused)
{
    static const char *const bad[] = {
        "",     "-1s", "+1s",    " 1s",   "1 s",
        "s",    "1w",  "1.2.3s", "0x10",  "1e3",
        "inf",  "nan", "1ss",    "3661d", "1sec",
        "5sms", ".5s", "1,5s",   "1s ",   "99999999999999999999",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        uint64_t milliseconds = 7;
        cr_assert_eq(duration_parse(bad[i], &milliseconds), STATUS_INVALID_ARGUMENT, "%s", bad[i]);
        cr_assert_eq(milliseconds, 7, "written only on success");
    }
}

Test(clock, durations_are_written_as_they_are_read)
{
    static const uint64_t values[] = { 0,     1,       999,     1000,     1500,     59999,
                                       60000, 3600000, 5400000, 86400000, 90000000, 316224000000 };
    char text[DURATION_TEXT_BYTES];
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        uint64_t again;
        cr_assert_eq(duration_parse(duration_text(text, values[i]), &again), STATUS_OK, "%s", text);
        cr_assert_eq(again, values[i], "%s", text);
    }
    cr_assert_str_eq(duration_text(text, 0), "0s");
    cr_assert_str_eq(duration_text(text, 120000), "2m");
    cr_assert_str_eq(duration_text(text, 86400000), "1d");
    cr_assert_str_eq(duration_text(text, 1500), "1500ms");
}
