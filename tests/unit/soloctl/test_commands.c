#include "soloctl/commands.h"

#include <string.h>
#include <unistd.h>

#include "tests/support/criterion.h"
#include "tests/unit/soloctl/captured.h"

Test(commands, no_two_flags_of_a_command_have_one_name)
{
    for (size_t c = 0; c < command_count; c++) {
        uint64_t flags = commands[c].flags | flags_global();
        cr_assert_eq(commands[c].flags & flags_global(), 0, "%s", commands[c].words);
        for (int a = 0; a < FLAGS; a++)
            for (int b = a + 1; b < FLAGS; b++) {
                if ((flags >> a & flags >> b & 1) == 0)
                    continue;
                cr_assert_str_neq(flag_long((enum flag)a), flag_long((enum flag)b));
                if (flag_short((enum flag)a)[0] != '\0')
                    cr_assert_str_neq(flag_short((enum flag)a), flag_short((enum flag)b), "%s",
                                      commands[c].words);
            }
    }
}

Test(commands, every_flag_belongs_to_a_command)
{
    uint64_t used = flags_global();
    for (size_t c = 0; c < command_count; c++)
        used |= commands[c].flags;
    for (int i = 0; i < FLAGS; i++)
        cr_assert(used >> i & 1, "%s", flag_long((enum flag)i));
}

Test(commands, help_names_every_command_and_flag)
{
    capture(STDOUT_FILENO);
    help_print(stdout, NULL);
    for (size_t c = 0; c < command_count; c++)
        if (commands[c].group[0] != '\0')
            help_print(stdout, &commands[c]);
    const char *help = captured_text();
    for (size_t c = 0; c < command_count; c++)
        if (commands[c].group[0] != '\0') {
            cr_assert_not_null(strstr(help, commands[c].words), "%s", commands[c].words);
            cr_assert_not_null(strstr(help, commands[c].meaning), "%s", commands[c].words);
        }
    for (int i = 0; i < FLAGS; i++)
        cr_assert_not_null(strstr(help, flag_meaning((enum flag)i)));
}

Test(commands, usage_is_one_line_with_the_flags)
{
    capture(STDERR_FILENO);
    for (size_t c = 0; c < command_count; c++)
        if (strcmp(commands[c].words, "kill") == 0)
            usage_print(stderr, &commands[c]);
    cr_assert_str_eq(captured_text(),
                     "usage: soloctl kill TENANT/NAME [--timeout DURATION] [--force]\n");
}
