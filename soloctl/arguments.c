/* Reads argv once: global flags, the words of a command, then its flags and operands in any order,
 * then what follows "--" untouched. What a flag means depends on the command, so that a short name
 * may be used by several. */
#include "soloctl/arguments.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"

enum flag_kind { ONCE, MANY };

static const struct {
    const char *long_name;
    const char *short_name;
    const char *value;
    enum flag_kind kind;
    const char *meaning;
} flags[] = {
#define FLAG(name, long_name, short_name, value, kind, meaning)                                    \
    { long_name, short_name, value, kind, meaning },
#include "soloctl/flags.def"
#undef FLAG
};

_Static_assert(FLAGS <= 64, "a command's flags are bits of one number");

#define BIT(name) (UINT64_C(1) << FLAG_##name)

uint64_t flags_global(void)
{
    return BIT(run) | BIT(tenant) | BIT(output) | BIT(token_file) | BIT(request_id) | BIT(help);
}

const char *flag_long(enum flag flag)
{
    return flags[flag].long_name;
}

const char *flag_short(enum flag flag)
{
    return flags[flag].short_name;
}

const char *flag_value(enum flag flag)
{
    return flags[flag].value;
}

const char *flag_meaning(enum flag flag)
{
    return flags[flag].meaning;
}

static enum status refuse(struct problem *problem, const char *what, const char *rule)
{
    return problem_set(problem, STATUS_USAGE, "", "%s: %s", what, rule);
}

/* The flag that `text` (its first `size` bytes) names, among those allowed; FLAGS for none. */
static enum flag flag_find(const char *text, size_t size, uint64_t allowed)
{
    for (int i = 0; i < FLAGS; i++) {
        const char *names[] = { flags[i].long_name, flags[i].short_name };
        for (int k = 0; k < 2; k++)
            if ((allowed >> i & 1) != 0 && size > 0 && strlen(names[k]) == size &&
                memcmp(names[k], text, size) == 0)
                return (enum flag)i;
    }
    return FLAGS;
}

static enum status remember(struct arguments *arguments, enum flag flag, const char *value,
                            struct problem *problem)
{
    if (flags[flag].kind == MANY) {
        struct values *values = flag == FLAG_env ? &arguments->env : &arguments->secret;
        if (values->count == SPEC_LIST_MAX)
            return refuse(problem, flags[flag].long_name, "is given too often");
        values->items[values->count++] = value;
    } else if (arguments->value[flag] != NULL) {
        return refuse(problem, flags[flag].long_name, "is given twice");
    }
    arguments->value[flag] = value;
    return STATUS_OK;
}

/* Takes argv[*at], which begins with a dash, and its value. */
static enum status take_flag(struct arguments *arguments, uint64_t allowed, char **argv, int *at,
                             struct problem *problem)
{
    const char *text = argv[(*at)++];
    bool is_long = text[1] == '-';
    size_t size = is_long ? strcspn(text, "=") : strlen(text);
    enum flag flag = flag_find(text, size, allowed);
    if (flag == FLAGS) {
        bool is_elsewhere = flag_find(text, size, UINT64_MAX) != FLAGS;
        return refuse(problem, text,
                      !is_elsewhere                ? "there is no such flag"
                      : arguments->command == NULL ? "must stand behind the command"
                                                   : "this command does not take it");
    }
    if (flags[flag].value[0] == '\0')
        return text[size] == '=' ? refuse(problem, text, "takes no value")
                                 : remember(arguments, flag, "", problem);
    if (text[size] == '=')
        return remember(arguments, flag, text + size + 1, problem);
    if (argv[*at] == NULL)
        return problem_set(problem, STATUS_USAGE, "", "%s: needs a value, %s", text,
                           flags[flag].value);
    return remember(arguments, flag, argv[(*at)++], problem);
}

/* How many words of argv[at...] are those of the command; 0 when they are not. */
static int words_match(const struct command *command, char **argv, int at)
{
    const char *words = command->words;
    for (int taken = 1; argv[at] != NULL; taken++, at++) {
        size_t size = strcspn(words, " ");
        if (strlen(argv[at]) != size || memcmp(argv[at], words, size) != 0)
            return 0;
        if (words[size] == '\0')
            return taken;
        words += size + 1;
    }
    return 0;
}

static enum status take_command(const struct command *commands, size_t count,
                                struct arguments *arguments, char **argv, int *at,
                                struct problem *problem)
{
    for (size_t i = 0; i < count; i++) {
        int taken = words_match(&commands[i], argv, *at);
        if (taken > 0) {
            arguments->command = &commands[i];
            *at += taken;
            return STATUS_OK;
        }
    }
    /* A first word that begins commands: say how they go on. */
    char known[256] = "";
    size_t size = strlen(argv[*at]);
    for (size_t i = 0; i < count; i++)
        if (strncmp(commands[i].words, argv[*at], size) == 0 && commands[i].words[size] == ' ')
            snprintf(known + strlen(known), sizeof known - strlen(known), "%s`%s`",
                     known[0] == '\0' ? "" : " or ", commands[i].words);
    if (known[0] == '\0')
        return refuse(problem, argv[*at], "there is no such command; `soloctl --help` lists them");
    for (int i = *at + 1; argv[i] != NULL; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            arguments->topic = argv[*at];
            *at = i;
            return STATUS_OK;
        }
    return problem_set(problem, STATUS_USAGE, "", "%s%s%s: there is no such command; there is %s",
                       argv[*at], argv[*at + 1] == NULL ? "" : " ",
                       argv[*at + 1] == NULL ? "" : argv[*at + 1], known);
}

static enum status check(const struct arguments *arguments, struct problem *problem)
{
    const struct command *command = arguments->command;
    bool takes_rest =
        strstr(command->operands, "--") != NULL && strstr(command->operands, "ARGV") != NULL;
    if (arguments->operand_count > command->most)
        return refuse(problem, arguments->operands[command->most],
                      takes_rest ? "put -- before the program and its arguments"
                                 : "is one operand too many");
    if (arguments->operand_count < command->least)
        return problem_set(problem, STATUS_USAGE, "", "needs %s", command->operands);
    return STATUS_OK;
}

enum status arguments_parse(const struct command *commands, size_t count, int argc, char **argv,
                            struct arguments *arguments, struct problem *problem)
{
    *arguments = (struct arguments){ 0 };
    uint64_t allowed = flags_global();
    for (int at = 1; at < argc;) {
        if (strcmp(argv[at], "--") == 0) {
            if (arguments->command == NULL)
                return refuse(problem, "--", "stands behind the command");
            arguments->rest = argv + at + 1;
            arguments->rest_count = (size_t)(argc - at - 1);
            break;
        }
        if (argv[at][0] == '-' && argv[at][1] != '\0') {
            TRY(take_flag(arguments, allowed, argv, &at, problem));
        } else if (arguments->command == NULL) {
            TRY(take_command(commands, count, arguments, argv, &at, problem));
            if (arguments->command != NULL) /* else a topic, whose --help comes next */
                allowed |= arguments->command->flags;
        } else {
            if (arguments->operand_count == OPERANDS_MAX)
                return refuse(problem, argv[at], "is one operand too many");
            arguments->operands[arguments->operand_count++] = argv[at++];
        }
    }
    if (arguments->command == NULL || arguments_has(arguments, FLAG_help))
        return STATUS_OK;
    if (arguments->rest != NULL && strstr(arguments->command->operands, "-- ARGV") == NULL)
        return refuse(problem, "--", "this command takes no program");
    return check(arguments, problem);
}

bool arguments_has(const struct arguments *arguments, enum flag flag)
{
    return arguments->value[flag] != NULL;
}

enum status arguments_number(const struct arguments *arguments, enum flag flag, uint64_t otherwise,
                             uint64_t *number, struct problem *problem)
{
    const char *text = arguments->value[flag];
    if (text == NULL) {
        *number = otherwise;
        return STATUS_OK;
    }
    size_t digits = strspn(text, "0123456789");
    errno = 0;
    unsigned long long value = strtoull(text, NULL, 10);
    if (digits == 0 || text[digits] != '\0' || errno != 0)
        return problem_set(problem, STATUS_USAGE, "", "%s: must be a number, is \"%s\"",
                           flags[flag].long_name, text);
    *number = value;
    return STATUS_OK;
}

enum status arguments_duration(const struct arguments *arguments, enum flag flag,
                               uint64_t otherwise_ms, uint64_t *milliseconds,
                               struct problem *problem)
{
    const char *text = arguments->value[flag];
    if (text == NULL) {
        *milliseconds = otherwise_ms;
        return STATUS_OK;
    }
    if (duration_parse(text, milliseconds) != STATUS_OK)
        return problem_set(problem, STATUS_USAGE, "",
                           "%s: must be a duration such as 30s or 5m, is \"%s\"",
                           flags[flag].long_name, text);
    return STATUS_OK;
}
