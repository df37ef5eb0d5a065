/* The table of commands, and the help that is made from it. */
#include "soloctl/commands.h"

#include <string.h>

#include "common/base/auto.h"

#define BIT(name) (UINT64_C(1) << FLAG_##name)

const struct command commands[] = {
#define COMMAND(function, group, words, operands, least, most, flags, meaning)                     \
    { command_##function, group, words, operands, least, most, flags, meaning },
#include "soloctl/commands.def"
#undef COMMAND
};
const size_t command_count = COUNT_OF(commands);

static void print_flags(FILE *out, uint64_t flags)
{
    for (int i = 0; i < FLAGS; i++) {
        if ((flags >> i & 1) == 0)
            continue;
        enum flag flag = (enum flag)i;
        char name[64];
        snprintf(name, sizeof name, "%s%s%s%s%s", flag_short(flag),
                 flag_short(flag)[0] == '\0' ? "" : ", ", flag_long(flag),
                 flag_value(flag)[0] == '\0' ? "" : " ", flag_value(flag));
        fprintf(out, "  %-24s %s\n", name, flag_meaning(flag));
    }
}

void usage_print(FILE *out, const struct command *command)
{
    if (command == NULL) {
        fprintf(out, "usage: soloctl [FLAGS] COMMAND ...    (soloctl --help lists the commands)\n");
        return;
    }
    fprintf(out, "usage: soloctl %s%s%s", command->words, command->operands[0] == '\0' ? "" : " ",
            command->operands);
    for (int i = 0; i < FLAGS; i++) {
        enum flag flag = (enum flag)i;
        const char *name = flag_short(flag)[0] == '\0' ? flag_long(flag) : flag_short(flag);
        if ((command->flags >> i & 1) == 0 || strstr(command->operands, "FLAGS") != NULL ||
            strstr(command->operands, name) != NULL)
            continue;
        fprintf(out, " [%s%s%s]", name, flag_value(flag)[0] == '\0' ? "" : " ", flag_value(flag));
    }
    fprintf(out, "\n");
}

static void print_overview(FILE *out)
{
    fprintf(out, "usage: soloctl [FLAGS] COMMAND ...\n\nThe command line of Solo.\n");
    const char *group = "";
    for (size_t i = 0; i < command_count; i++) {
        if (commands[i].group[0] == '\0')
            continue;
        if (strcmp(group, commands[i].group) != 0)
            fprintf(out, "\n%s\n", commands[i].group);
        group = commands[i].group;
        fprintf(out, "  %-18s %s\n", commands[i].words, commands[i].meaning);
    }
    fprintf(out, "\nflags of every command\n");
    print_flags(out, flags_global());
    fprintf(out,
            "\n`soloctl COMMAND --help` says more about one. A service is named TENANT/NAME.\n"
            "Exit codes: 0 done, 1 failed, 3 not ready or a person is needed, 4 not found, "
            "5 not allowed,\n6 conflict, 7 timed out, 8 overloaded, 9 not reachable, 64 usage, "
            "65 invalid, 70 unknown or\ninternal, 86 damaged store, 87 I/O error; "
            "`soloctl explain 6` says more about one.\n");
}

void help_print_topic(FILE *out, const char *topic)
{
    size_t size = strlen(topic);
    fprintf(out, "usage: soloctl [FLAGS] %s ...\n\n", topic);
    for (size_t i = 0; i < command_count; i++)
        if (strncmp(commands[i].words, topic, size) == 0 && commands[i].words[size] == ' ')
            fprintf(out, "  %-18s %s\n", commands[i].words, commands[i].meaning);
    fprintf(out, "\n`soloctl COMMAND --help` says more about one.\n");
}

void help_print(FILE *out, const struct command *command)
{
    if (command == NULL) {
        print_overview(out);
        return;
    }
    usage_print(out, command);
    fprintf(out, "\n%s\n", command->meaning);
    if (command->flags != 0) {
        fprintf(out, "\nflags\n");
        print_flags(out, command->flags);
    }
    fprintf(out, "\nflags of every command\n");
    print_flags(out, flags_global());
}
