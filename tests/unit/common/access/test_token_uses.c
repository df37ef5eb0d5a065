/* Counting, and its bound. */
#include "common/access/token_uses.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "tests/support/criterion.h"

static struct token_uses uses;

static const struct token_use_count *find(const char *accessor)
{
    size_t at = 0;
    for (const struct token_use_count *use; (use = token_uses_next(&uses, &at)) != NULL;)
        if (strcmp(use->accessor, accessor) == 0)
            return use;
    return NULL;
}

Test(token_uses, uses_and_refusals_are_counted_by_accessor)
{
    uint64_t before = clock_wall_ns() / 60000000000u;
    token_uses_note(&uses, "tok_a");
    token_uses_note_denial(&uses, "tok_b", "service.kill");
    token_uses_note_denial(&uses, "tok_b", "service.deploy");
    token_uses_note(&uses, "");
    cr_expect_null(find(""));
    token_uses_note_denial(&uses, "", "service.list");
    cr_assert_eq(uses.count, 2);
    cr_expect_eq(find("")->denied, 1, "of no token that is known");
    cr_expect_geq(find("tok_a")->minute, before);
    cr_expect_eq(find("tok_a")->denied, 0);
    cr_expect_eq(find("tok_b")->minute, 0);
    cr_expect_eq(find("tok_b")->denied, 2);
    cr_expect_str_eq(find("tok_b")->method, "service.deploy");
    token_uses_reset(&uses);
    cr_expect_null(find("tok_a"));
    cr_expect_null(find(""));
}

Test(token_uses, past_the_bound_further_accessors_are_not_counted)
{
    char accessor[16];
    for (int i = 0; i <= TOKEN_USES_MAX; i++) {
        snprintf(accessor, sizeof accessor, "tok_%d", i);
        token_uses_note(&uses, accessor);
    }
    cr_expect_eq(uses.count, TOKEN_USES_MAX);
    cr_expect_null(find(accessor));
    token_uses_note_denial(&uses, "tok_0", "service.kill");
    cr_expect_eq(find("tok_0")->denied, 1, "those that are counted still are");
}
