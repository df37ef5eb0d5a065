#include <stdio.h>
#include <string.h>

#include "soloctl/units.h"
#include "tests/support/criterion.h"

Test(units, what_systemctl_shows_becomes_rows)
{
    static char text[] = "Id=eventd.service\nActiveState=active\nSubState=running\nMainPID=81\n"
                         "NRestarts=2\nExecMainStatus=0\nExecMainExitTimestampMonotonic=0\n"
                         "ActiveEnterTimestamp=@1795320155\n\n"
                         "Id=deployd.service\nActiveState=activating\nSubState=auto-restart\n"
                         "MainPID=0\nNRestarts=7\nExecMainStatus=9\n"
                         "ExecMainExitTimestampMonotonic=177\nActiveEnterTimestamp=\n\n"
                         "Id=recoveryd.service\nActiveState=active\nSubState=exited\nMainPID=0\n"
                         "NRestarts=0\nExecMainStatus=7\nExecMainExitTimestampMonotonic=99\n"
                         "ActiveEnterTimestamp=@1795320156\n\n";
    struct units units;
    units_parse(&units, text);
    cr_assert_eq(units.count, 3);
    cr_assert_str_eq(units.items[0].name, "eventd");
    cr_assert_str_eq(units.items[0].state, "ready");
    cr_assert_eq(units.items[0].pid, 81);
    cr_assert_eq(units.items[0].restarts, 2);
    cr_assert_eq(units.items[0].ready_ns, 1795320155000000000u);
    cr_assert_eq(units.items[0].exit_code, -1, "its process has not ended");
    cr_assert_str_eq(units.items[1].state, "backoff");
    cr_assert_eq(units.items[1].ready_ns, 0);
    cr_assert_eq(units.items[1].exit_code, 9);
    cr_assert_eq(units.items[2].exit_code, 7);
}

Test(units, a_text_of_anything_else_has_none_and_many_are_cut)
{
    struct units units;
    char nothing[] = "", garbage[] = "hello\n\n\n=\nActiveState\n\n";
    units_parse(&units, nothing);
    cr_assert_eq(units.count, 0);
    units_parse(&units, garbage);
    cr_assert_eq(units.count, 0);
    char many[64 * (UNITS_MAX + 2)] = "";
    for (int i = 0; i < UNITS_MAX + 2; i++)
        strcat(many, "Id=a-name-that-is-longer-than-any.service\n\n");
    units_parse(&units, many);
    cr_assert_eq(units.count, UNITS_MAX);
    cr_assert_eq(strlen(units.items[0].name), sizeof units.items[0].name - 1);
}

static const char *state_of(const char *text)
{
    static struct units units;
    char copy[256];
    snprintf(copy, sizeof copy, "Id=vaultd.service\n%s\n", text);
    units_parse(&units, copy);
    cr_assert_eq(units.count, 1);
    return units.items[0].state;
}

Test(units, one_that_fails_again_and_again_never_looks_as_if_it_were_on_its_way)
{
    cr_assert_str_eq(state_of("ActiveState=activating\nSubState=start\nNRestarts=0\n"), "starting");
    cr_assert_str_eq(state_of("ActiveState=activating\nSubState=start\nNRestarts=2\n"), "backoff");
    static const char stop_post[] = "ActiveState=deactivating\nSubState=stop-post\n"
                                    "ExecMainExitTimestampMonotonic=7\nExecMainStatus=";
    char text[160];
    snprintf(text, sizeof text, "%s64\n", stop_post);
    cr_assert_str_eq(state_of(text), "backoff");
    snprintf(text, sizeof text, "%s0\n", stop_post);
    cr_assert_str_eq(state_of(text), "stopping", "a stop in order");
}
