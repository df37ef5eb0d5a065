#include "common/base/problem.h"

#include <string.h>

#include "common/base/name.h"
#include "tests/support/criterion.h"

Test(problem, holds_code_place_and_message)
{
    struct problem problem = { .retry_after_ms = 5 };
    cr_assert_eq(problem_set(&problem, STATUS_INVALID_ARGUMENT, "argv[3]", "at most %d", 7),
                 STATUS_INVALID_ARGUMENT);
    cr_assert_eq(problem.code, STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(problem.field, "argv[3]");
    cr_assert_str_eq(problem.message, "at most 7");
    cr_assert_eq(problem.retry_after_ms, 0, "nothing is left of an older one");
    problem_set(&problem, STATUS_ABORTED, NULL, "moved");
    cr_assert_str_eq(problem.field, "");
}

Test(problem, may_be_nobodys)
{
    cr_assert_eq(problem_set(NULL, STATUS_NOT_FOUND, "a", "b"), STATUS_NOT_FOUND);
    problem_prefix(NULL, "spec");
}

Test(problem, prefixes_join_as_a_path)
{
    struct problem problem = { 0 };
    problem_set(&problem, STATUS_INVALID_ARGUMENT, "PATH", "x");
    problem_prefix(&problem, "env");
    problem_prefix(&problem, "[3]");
    cr_assert_str_eq(problem.field, "[3].env.PATH");
    problem_set(&problem, STATUS_INVALID_ARGUMENT, "[2]", "x");
    problem_prefix(&problem, "argv");
    cr_assert_str_eq(problem.field, "argv[2]");
    problem_set(&problem, STATUS_INVALID_ARGUMENT, NULL, "x");
    problem_prefix(&problem, "spec");
    cr_assert_str_eq(problem.field, "spec");
}

Test(problem, long_texts_are_cut_between_characters)
{
    struct problem problem;
    char text[1024];
    memset(text, 0, sizeof text);
    for (size_t i = 0; i + 3 < sizeof text; i += 3)
        memcpy(text + i, "\xe2\x82\xac", 3);
    for (int shift = 0; shift < 3; shift++) {
        problem_set(&problem, STATUS_INVALID_ARGUMENT, text, "%.*s%s", shift, "ab", text);
        cr_assert(utf8_is_valid(span_of_text(problem.message)), "shift %d", shift);
        cr_assert(utf8_is_valid(span_of_text(problem.field)));
        cr_assert_geq(strlen(problem.message), sizeof problem.message - 4);
    }
    problem_prefix(&problem, "x");
    cr_assert(utf8_is_valid(span_of_text(problem.field)));
}
