#include "tests/support/criterion.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "recoveryd/fair_order.h"

static void assert_order(struct plan_entry *entries, size_t count, const char *expected)
{
    struct plan plan = { .entries = entries, .count = count };
    size_t order[64], ordered;
    char text[1024] = "";
    cr_assert_eq(fair_order(&plan, order, &ordered), STATUS_OK);
    for (size_t i = 0; i < ordered; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s/%s", i == 0 ? "" : " ",
                 entries[order[i]].tenant, entries[order[i]].name);
    }
    cr_assert_str_eq(text, expected);
}

Test(fair_order, tenants_take_turns_and_keep_the_order_of_their_own)
{
    struct plan_entry entries[] = {
        { .action = PLAN_STOP, .tenant = "big", .name = "old" },
        { .action = PLAN_START, .tenant = "big", .name = "1" },
        { .action = PLAN_START, .tenant = "big", .name = "2" },
        { .action = PLAN_START, .tenant = "big", .name = "3" },
        { .action = PLAN_START, .tenant = "small", .name = "only" },
        { .action = PLAN_REPLACE, .tenant = "tiny", .name = "one" },
    };
    assert_order(entries, COUNT_OF(entries), "big/old small/only tiny/one big/1 big/2 big/3");
}

Test(fair_order, only_what_is_carried_out_is_in_it)
{
    struct plan_entry entries[] = {
        { .action = PLAN_CANNOT_RECOVER, .tenant = "a", .name = "1", .is_known = true },
        { .action = PLAN_REPORT, .tenant = "a", .name = "2" },
        { .action = PLAN_WAIT, .tenant = "a", .name = "3" },
        { .action = PLAN_START, .tenant = "a", .name = "4" },
        { .action = PLAN_KEEP, .tenant = "a", .name = "5" },
    };
    assert_order(entries, COUNT_OF(entries), "a/4");
    assert_order(entries, 0, "");
}

Test(fair_order, the_hopeless_are_in_it_once_and_when_nothing_of_them_runs)
{
    struct plan_entry entries[] = {
        { .action = PLAN_CANNOT_RECOVER, .tenant = "a", .name = "1" },
        { .action = PLAN_CANNOT_RECOVER, .tenant = "a", .name = "2", .running_generation = 7 },
        { .action = PLAN_CANNOT_RECOVER, .tenant = "a", .name = "3", .is_known = true },
        { .action = PLAN_START, .tenant = "b", .name = "4" },
    };
    assert_order(entries, COUNT_OF(entries), "a/1 b/4");
}
