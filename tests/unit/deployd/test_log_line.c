#include "deployd/log_line.h"
#include "tests/support/criterion.h"

Test(log_line, reads_what_tenantd_writes)
{
    struct log_line line;
    cr_assert(log_line_parse(span_of_text("2026-11-21T20:58:17.123456789Z stdout F hello  world"),
                             &line));
    cr_assert_eq(line.wall_ns, 1795294697123456789u);
    cr_assert_not(line.is_error);
    cr_assert_not(line.is_partial);
    cr_assert(span_equal(line.text, span_of_text("hello  world")));
    cr_assert(log_line_parse(span_of_text("2026-11-21T20:58:17.000000000Z stderr P "), &line));
    cr_assert(line.is_error);
    cr_assert(line.is_partial);
    cr_assert_eq(line.text.size, 0);
}

Test(log_line, refuses_what_is_no_line)
{
    static const char *const wrong[] = {
        "",
        "hello",
        "2026-11-21T20:58:17.123456789Z stdout F",
        "2026-11-21T20:58:17.12345678Z stdout F text here",
        "2026-11-21 20:58:17.123456789Z stdout F text",
        "2026-13-21T20:58:17.123456789Z stdout F text",
        "2026-00-21T20:58:17.123456789Z stdout F text",
        "2026-11-32T20:58:17.123456789Z stdout F text",
        "2026-11-21T24:58:17.123456789Z stdout F text",
        "1969-11-21T20:58:17.123456789Z stdout F text",
        "2026-11-21T20:58:17.123456789Z stdwut F text",
        "2026-11-21T20:58:17.123456789Z stdout X text",
        "2026-11-21T20:58:17.123456789Z stdout Ftext ",
        "2026-11-21T20:58:17.123456789Zxstdout F text",
        "2026-11-21T20:58:17.12345678xZ stdout F text",
    };
    struct log_line line;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_assert_not(log_line_parse(span_of_text(wrong[i]), &line), "%s", wrong[i]);
}
