#include "tests/support/criterion.h"

#include <string.h>

#include "recoveryd/progress.h"

Test(progress, the_bar_fills_from_empty_to_full)
{
    char text[96];
    cr_assert_str_eq(progress_bar(text, sizeof text, 0, 10),
                     "[..............................]  0/10");
    cr_assert_str_eq(progress_bar(text, sizeof text, 5, 10),
                     "[###############...............]  5/10");
    cr_assert_str_eq(progress_bar(text, sizeof text, 10, 10),
                     "[##############################]  10/10");
    cr_assert_str_eq(progress_bar(text, sizeof text, 0, 0),
                     "[##############################]  0/0");
}
