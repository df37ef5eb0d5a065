/* What the caller is told of something that the log did not take. */
#include <string.h>

#include "deployd/appends.h"
#include "tests/support/criterion.h"

Test(appends, what_is_told_says_what_is_known_and_no_more)
{
    struct problem problem, said;
    problem_set(&said, STATUS_UNKNOWN, "", "the commit failed");
    cr_assert_eq(append_problem(STATUS_UNKNOWN, &said, "the kill", &problem), STATUS_UNKNOWN);
    cr_assert_str_eq(problem.message, "whether the kill is recorded is not known (the commit "
                                      "failed); repeat with the same request_id");
    cr_assert_eq(append_problem(STATUS_DEADLINE_EXCEEDED, NULL, "the kill", &problem),
                 STATUS_UNKNOWN);
    cr_assert_eq(append_problem(STATUS_UNAVAILABLE, NULL, "the kill", &problem),
                 STATUS_UNAVAILABLE);
    cr_assert_not_null(strstr(problem.message, "the kill was not recorded"));
    problem_set(&said, STATUS_RESOURCE_EXHAUSTED, "", "the disk is full");
    said.retry_after_ms = 7;
    cr_assert_eq(append_problem(STATUS_RESOURCE_EXHAUSTED, &said, "the deploy", &problem),
                 STATUS_RESOURCE_EXHAUSTED);
    cr_assert_not_null(strstr(problem.message, "the deploy was not recorded"));
    cr_assert_not_null(strstr(problem.message, "the disk is full"));
    cr_assert_eq(problem.retry_after_ms, 7);
}
