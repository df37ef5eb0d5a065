#include "soloctl/arguments.h"

#include <string.h>

#include "common/base/auto.h"
#include "soloctl/commands.h"
#include "tests/support/criterion.h"

static struct arguments arguments;
static struct problem problem;

static enum status parse(const char *const *words)
{
    int count = 1;
    static char *argv[64] = { (char *)"soloctl" };
    for (; *words != NULL; words++)
        argv[count++] = (char *)*words;
    argv[count] = NULL;
    return arguments_parse(commands, command_count, count, argv, &arguments, &problem);
}
#define PARSE(...) parse((const char *const[]){ __VA_ARGS__, NULL })

Test(arguments, command_flags_operands_and_program_are_told_apart)
{
    cr_assert_eq(PARSE("--run", "/r", "deploy", "--env", "A=1", "demo/web", "--wait", "--env",
                       "B=2", "--", "sleep", "--env", "60"),
                 STATUS_OK, "%s", problem.message);
    cr_assert_str_eq(arguments.command->words, "deploy");
    cr_assert_str_eq(arguments.value[FLAG_run], "/r");
    cr_assert(arguments_has(&arguments, FLAG_wait));
    cr_assert_eq(arguments.operand_count, 1);
    cr_assert_str_eq(arguments.operands[0], "demo/web");
    cr_assert_eq(arguments.env.count, 2);
    cr_assert_str_eq(arguments.env.items[1], "B=2");
    cr_assert_eq(arguments.rest_count, 3);
    cr_assert_str_eq(arguments.rest[1], "--env");
    cr_assert_null(arguments.rest[3]);
}

Test(arguments, global_flags_stand_before_or_after_the_command)
{
    cr_assert_eq(PARSE("-o", "json", "-t", "demo", "kill", "web"), STATUS_OK);
    cr_assert_str_eq(arguments.value[FLAG_output], "json");
    cr_assert_eq(PARSE("kill", "web", "-o", "json", "--tenant=demo"), STATUS_OK);
    cr_assert_str_eq(arguments.value[FLAG_tenant], "demo");
    cr_assert_eq(PARSE("daemon", "list", "-o=json"), STATUS_USAGE, "short flags take no =");
}

Test(arguments, commands_of_two_words_are_found)
{
    cr_assert_eq(PARSE("get", "services", "a/b", "-w"), STATUS_OK);
    cr_assert_str_eq(arguments.command->words, "get services");
    cr_assert_eq(arguments.operand_count, 1);
    cr_assert_eq(PARSE("daemon", "restart", "eventd"), STATUS_OK);
    cr_assert_str_eq(arguments.command->words, "daemon restart");
    cr_assert_eq(PARSE("events"), STATUS_OK);
    cr_assert_str_eq(arguments.command->words, "events");
}

Test(arguments, a_short_flag_means_what_the_command_says)
{
    cr_assert_eq(PARSE("apply", "-f", "specs.json"), STATUS_OK);
    cr_assert_str_eq(arguments.value[FLAG_file], "specs.json");
    cr_assert_eq(PARSE("events", "-f"), STATUS_OK);
    cr_assert(arguments_has(&arguments, FLAG_follow));
    cr_assert_not(arguments_has(&arguments, FLAG_file));
}

Test(arguments, what_is_wrong_is_usage_and_says_what)
{
    static const struct {
        const char *words[6];
        const char *message;
    } table[] = {
        { { "frobnicate" }, "frobnicate: there is no such command" },
        { { "get", "volumes" }, "get volumes: there is no such command; there is `get services`" },
        { { "kill" }, "needs TENANT/NAME" },
        { { "kill", "a/b", "c/d" }, "c/d: is one operand too many" },
        { { "kill", "a/b", "--wait" }, "--wait: this command does not take it" },
        { { "kill", "a/b", "--nonsense" }, "--nonsense: there is no such flag" },
        { { "kill", "a/b", "--force=yes" }, "--force=yes: takes no value" },
        { { "kill", "a/b", "--force", "--force" }, "--force: is given twice" },
        { { "kill", "a/b", "--timeout" }, "--timeout: needs a value, DURATION" },
        { { "kill", "a/b", "--", "c" }, "--: this command takes no program" },
        { { "--wait", "deploy" }, "--wait: must stand behind the command" },
        { { "--", "deploy" }, "--: stands behind the command" },
        { { "deploy", "a/b", "sleep", "60" }, "sleep: put -- before the program" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        cr_assert_eq(parse(table[i].words), STATUS_USAGE, "%s", table[i].message);
        cr_assert_eq(strncmp(problem.message, table[i].message, strlen(table[i].message)), 0,
                     "\"%s\" is not \"%s\"", problem.message, table[i].message);
    }
}

Test(arguments, lists_are_bounded)
{
    enum { MANY = 2 * SPEC_LIST_MAX + 8 };
    static char *argv[MANY + 1] = { (char *)"soloctl", (char *)"deploy", (char *)"a/b" };
    for (int i = 3; i < MANY; i++)
        argv[i] = (char *)(i % 2 == 1 ? "--env" : "A=1");
    cr_assert_eq(
        arguments_parse(commands, command_count, 3 + 2 * SPEC_LIST_MAX, argv, &arguments, &problem),
        STATUS_OK);
    cr_assert_eq(arguments_parse(commands, command_count, 3 + 2 * (SPEC_LIST_MAX + 1), argv,
                                 &arguments, &problem),
                 STATUS_USAGE);

    static char *operands[OPERANDS_MAX + 8] = { (char *)"soloctl", (char *)"get",
                                                (char *)"services" };
    for (int i = 3; i < OPERANDS_MAX + 8; i++)
        operands[i] = (char *)"a/b";
    cr_assert_eq(
        arguments_parse(commands, command_count, OPERANDS_MAX + 3, operands, &arguments, &problem),
        STATUS_OK);
    cr_assert_eq(
        arguments_parse(commands, command_count, OPERANDS_MAX + 4, operands, &arguments, &problem),
        STATUS_USAGE);
}

Test(arguments, help_needs_nothing_else)
{
    cr_assert_eq(PARSE("--help"), STATUS_OK);
    cr_assert_null(arguments.command);
    cr_assert_eq(PARSE("kill", "--help"), STATUS_OK);
    cr_assert(arguments_has(&arguments, FLAG_help));
    cr_assert_eq(PARSE("-o", "json"), STATUS_OK);
    cr_assert_null(arguments.command);
}

Test(arguments, numbers_and_durations_are_read_or_refused)
{
    uint64_t value = 0;
    cr_assert_eq(PARSE("events", "-n", "12"), STATUS_OK);
    cr_assert_eq(arguments_number(&arguments, FLAG_lines, 7, &value, &problem), STATUS_OK);
    cr_assert_eq(value, 12);
    cr_assert_eq(arguments_number(&arguments, FLAG_after, 7, &value, &problem), STATUS_OK);
    cr_assert_eq(value, 7, "absent");
    static const char *const bad[] = { "", "-1", "1x", "x", "18446744073709551616", " 1" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        cr_assert_eq(PARSE("events", "-n", bad[i]), STATUS_OK);
        cr_assert_eq(arguments_number(&arguments, FLAG_lines, 7, &value, &problem), STATUS_USAGE,
                     "%s", bad[i]);
    }
    cr_assert_eq(PARSE("kill", "a/b", "--timeout", "2m"), STATUS_OK);
    cr_assert_eq(arguments_duration(&arguments, FLAG_timeout, 7, &value, &problem), STATUS_OK);
    cr_assert_eq(value, 120000);
    cr_assert_eq(PARSE("kill", "a/b", "--timeout", "soon"), STATUS_OK);
    cr_assert_eq(arguments_duration(&arguments, FLAG_timeout, 7, &value, &problem), STATUS_USAGE);
}
