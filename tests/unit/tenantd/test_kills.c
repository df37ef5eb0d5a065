/* A bounded memory of kills. */
#include "tenantd/kills.h"

#include <stdio.h>

#include "tests/support/criterion.h"

Test(kills, forbid_what_is_older_and_allow_what_is_newer)
{
    static struct kills kills;
    cr_assert_not(kills_forbid(&kills, "api", 1));
    kills_note(&kills, "api", 10);
    cr_assert(kills_forbid(&kills, "api", 9));
    cr_assert_not(kills_forbid(&kills, "api", 10));
    cr_assert_not(kills_forbid(&kills, "web", 9));
    kills_note(&kills, "api", 5);
    cr_assert(kills_forbid(&kills, "api", 9), "an older kill took the place of a newer one");
    kills_note(&kills, "api", 20);
    cr_assert(kills_forbid(&kills, "api", 19));
}

Test(kills, the_oldest_are_forgotten)
{
    static struct kills kills;
    char name[16];
    for (int i = 0; i <= KILLS_KEPT; i++) {
        snprintf(name, sizeof name, "s%d", i);
        kills_note(&kills, name, 10);
    }
    cr_assert_not(kills_forbid(&kills, "s0", 9));
    cr_assert(kills_forbid(&kills, "s1", 9));
    cr_assert(kills_forbid(&kills, name, 9));
}
