#include "soloctl/target.h"

#include "common/base/auto.h"
#include "tests/support/criterion.h"

Test(target, is_named_whole_or_with_the_tenant_beside_it)
{
    static const char *const ways[][2] = { { "demo/web", "" },
                                           { "web", "demo" },
                                           { "demo/web", "demo" } };
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        struct target target = { 0 };
        struct problem problem = { 0 };
        cr_assert_eq(target_parse(ways[i][0], ways[i][1], &target, &problem), STATUS_OK);
        cr_assert_str_eq(target.tenant, "demo");
        cr_assert_str_eq(target.name, "web");
        cr_assert_str_eq(target.key, "demo/web");
    }
}

Test(target, anything_else_is_usage)
{
    char longest[300];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    const char *const bad[][2] = {
        { "web", "" },       { "", "" },          { "", "demo" },     { "demo/", "" },
        { "/web", "" },      { "a/b/c", "" },     { "Demo/web", "" }, { "demo/web", "other" },
        { "de mo/web", "" }, { longest, "demo" }, { longest, "" },
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct target target = { .key = "untouched" };
        struct problem problem = { 0 };
        cr_assert_eq(target_parse(bad[i][0], bad[i][1], &target, &problem), STATUS_USAGE, "%s",
                     bad[i][0]);
        cr_assert_str_neq(problem.message, "");
        cr_assert_str_eq(target.key, "untouched");
    }
}
