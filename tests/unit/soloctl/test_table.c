#include "soloctl/table.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "tests/support/criterion.h"
#include "tests/unit/soloctl/captured.h"

static const struct column columns[] = {
    { "NAME", COLUMN_TEXT, false },
    { "PID", COLUMN_NUMBER, false },
    { "SINCE", COLUMN_NUMBER, true },
    { "REASON", COLUMN_LONG_TEXT, false },
};

static struct table *make(bool is_wide)
{
    struct table *table = NULL;
    cr_assert_eq(table_open(&table, columns, COUNT_OF(columns), is_wide), STATUS_OK);
    table_row(table);
    table_cell(table, "demo/web");
    table_number(table, 4711);
    table_number(table, 12);
    table_cell(table, "a\x1b[2Jb");
    table_row(table);
    table_cell(table, "demo/a");
    table_number(table, 0);
    table_number(table, 0);
    table_cell(table, "");
    return table;
}

Test(table, is_aligned_and_shows_what_is_absent)
{
    struct table *table = make(false);
    capture(STDOUT_FILENO);
    cr_assert_eq(table_print(table, stdout), STATUS_OK);
    cr_assert_str_eq(captured_text(), "NAME      PID REASON\n"
                                      "demo/web 4711 a\\x1b[2Jb\n"
                                      "demo/a      - -\n");
    table_close(&table);
    table_close(&table);
}

Test(table, wide_columns_are_shown_when_asked_for)
{
    struct table *table = make(true);
    capture(STDOUT_FILENO);
    table_hide_headings(table);
    cr_assert_eq(table_print(table, stdout), STATUS_OK);
    cr_assert_not_null(strstr(captured_text(), " 12 "), "%s", captured_text());
    cr_assert_null(strstr(captured_text(), "NAME"));
    table_close(&table);
}

Test(table, long_text_is_whole_when_it_is_no_terminal)
{
    static char text[2000];
    struct table *table = NULL;
    memset(text, 'r', sizeof text - 1);
    cr_assert_eq(table_open(&table, columns, COUNT_OF(columns), false), STATUS_OK);
    table_row(table);
    table_cell(table, "n");
    table_number(table, 1);
    table_number(table, 1);
    table_cell(table, text);
    capture(STDOUT_FILENO);
    cr_assert_eq(table_print(table, stdout), STATUS_OK);
    cr_assert_not_null(strstr(captured_text(), text));
    table_close(&table);
}
