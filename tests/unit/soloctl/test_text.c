#include "soloctl/text.h"

#include <unistd.h>

#include "common/base/auto.h"
#include "tests/support/criterion.h"
#include "tests/unit/soloctl/captured.h"

Test(text, nothing_that_moves_a_cursor_reaches_the_terminal)
{
    capture(STDOUT_FILENO);
    text_print(stdout, "a\x1b[2J\r\n\x7f|\xc2\x9b|\xff|\xe2\x82|gr\xc3\xbc\xc3\x9f \xe2\x82\xac\t");
    cr_assert_str_eq(captured_text(), "a\\x1b[2J\\x0d\\x0a\\x7f|\\xc2\\x9b|\\xff|\\xe2\\x82|"
                                      "gr\xc3\xbc\xc3\x9f \xe2\x82\xac\\x09");
}

Test(text, tabs_stay_where_they_are_wanted_and_nul_is_shown)
{
    capture(STDOUT_FILENO);
    text_print_span(stdout, span_of("a\tb\0c", 5), true);
    text_print_span(stdout, (struct span){ 0 }, true);
    cr_assert_str_eq(captured_text(), "a\tb\\x00c");
}

Test(text, ages_are_short)
{
    static const struct {
        uint64_t seconds;
        const char *text;
    } table[] = { { 0, "0s" },    { 119, "119s" },   { 120, "2m" },   { 7199, "119m" },
                  { 7200, "2h" }, { 172799, "47h" }, { 172800, "2d" } };
    char text[AGE_BYTES];
    const uint64_t now = 2000000000u * 1000000000ull;
    for (size_t i = 0; i < COUNT_OF(table); i++)
        cr_assert_str_eq(age_text(text, now - table[i].seconds * 1000000000u, now), table[i].text);
    cr_assert_str_eq(age_text(text, 0, now), "-");
    cr_assert_str_eq(age_text(text, now + 5000000000u, now), "0s", "a clock that was set back");
}

Test(text, times_are_read_as_people_write_them)
{
    const uint64_t now = 1795294697u * 1000000000ull;
    static const struct {
        const char *text;
        uint64_t wall_ns;
    } good[] = {
        { "10m", (1795294697u - 600) * 1000000000ull },
        { "0s", 1795294697u * 1000000000ull },
        { "@1795294697", 1795294697u * 1000000000ull },
        { "2026-11-21T20:58:17Z", 1795294697u * 1000000000ull },
        { "2026-11-21T22:28:17+01:30", 1795294697u * 1000000000ull },
        { "2026-11-21T15:58:17.25-05:00", 1795294697u * 1000000000ull + 250000000 },
        { "2026-11-21T20:58:17.25Z", 1795294697u * 1000000000ull + 250000000 },
        { "2026-11-21", 1795219200u * 1000000000ull },
        { "3660d", (1795294697u - 316224000u) * 1000000000ull },
    };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        uint64_t wall_ns = 0;
        cr_assert_eq(time_parse(good[i].text, now, &wall_ns), STATUS_OK, "%s", good[i].text);
        cr_assert_eq(wall_ns, good[i].wall_ns, "%s", good[i].text);
    }
    static const char *const bad[] = { "",
                                       "@",
                                       "@x",
                                       "@99999999999",
                                       "yesterday",
                                       "-5m",
                                       "2026-11-21T20:58:17",
                                       "2026-11-21 20:58:17",
                                       "2026-11-21T20:58:17Zx",
                                       "2026-11-21T20:58:17+1:00",
                                       "2026-11-21T20:58:17+24:00",
                                       "2026-11-21T20:58:17+01:000",
                                       "1969-01-01",
                                       "20:58" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        uint64_t wall_ns = 7;
        cr_assert_neq(time_parse(bad[i], now, &wall_ns), STATUS_OK, "%s", bad[i]);
        cr_assert_eq(wall_ns, 7);
    }
    uint64_t wall_ns;
    cr_assert_eq(time_parse("1h", 5, &wall_ns), STATUS_OK);
    cr_assert_eq(wall_ns, 0, "before 1970 there is nothing");
}
