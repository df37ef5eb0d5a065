#include "tests/support/criterion.h"

#include <string.h>

#include "common/spec/printable.h"

static void assert_printed(const char *text, size_t room, const char *expected)
{
    char printable[64];
    memset(printable, '#', sizeof printable);
    cr_assert_eq(text_printable(printable, room, span_of_text(text)), printable);
    cr_assert_str_eq(printable, expected);
    cr_assert_eq(printable[room], '#');
}

Test(printable, text_stays_and_controls_become_visible)
{
    assert_printed("plain \xc3\xa4 \xf0\x9f\x98\x80", 32, "plain \xc3\xa4 \xf0\x9f\x98\x80");
    assert_printed("a\x1b[31m\n\x7f", 32, "a\\x1b[31m\\x0a\\x7f");
    assert_printed("\xc2\x9b"
                   "31m \xc3\xa4",
                   32, "\\xc2\\x9b31m \xc3\xa4");
    assert_printed("\xff\xc3", 32, "\\xff\\xc3");
    char printable[16];
    cr_assert_str_eq(text_printable(printable, sizeof printable, span_of("a\0b", 3)), "a\\x00b");
}

Test(printable, what_does_not_fit_is_cut_between_characters)
{
    assert_printed("abcdefghij", 8, "abcd");
    assert_printed("abc\xf0\x9f\x98\x80z", 8, "abc\xf0\x9f\x98\x80");
    assert_printed("abcd\x01", 8, "abcd");
}
