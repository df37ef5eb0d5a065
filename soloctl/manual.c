/* manual: a page of docs/man with its tables filled in, as the source of a manual page (scdoc). A
 * line that is @NAME@ is replaced by the table of that name; the rest stays as it is. */
#include <stdio.h>
#include <string.h>

#include "soloctl/commands.h"
#include "soloctl/explanations.h"
#include "soloctl/session.h"

enum { LINE_BYTES_MAX = 4096 };

/* What scdoc would take for markup means itself. */
static void print_text(const char *text)
{
    for (; *text != '\0'; text++) {
        if (strchr("\\*_#.~<>[|", *text) != NULL)
            putchar('\\');
        putchar(*text);
    }
}

static void print_bold(const char *text)
{
    putchar('*');
    print_text(text);
    putchar('*');
}

static void print_flag_list(uint64_t flags, const char *indent)
{
    for (int i = 0; i < FLAGS; i++) {
        enum flag flag = (enum flag)i;
        if ((flags >> i & 1) == 0)
            continue;
        printf("%s", indent);
        if (flag_short(flag)[0] != '\0') {
            print_bold(flag_short(flag));
            printf(", ");
        }
        print_bold(flag_long(flag));
        printf(flag_value(flag)[0] == '\0' ? "" : " ");
        print_text(flag_value(flag));
        printf("\n\t%s", indent);
        print_text(flag_meaning(flag));
        printf("\n\n");
    }
}

static void print_global_flags(void)
{
    print_flag_list(flags_global(), "");
}

static void print_commands(void)
{
    const char *group = "";
    for (size_t i = 0; i < command_count; i++) {
        const struct command *command = &commands[i];
        if (command->group[0] == '\0')
            continue;
        if (strcmp(group, command->group) != 0)
            printf("## %s\n\n", command->group);
        group = command->group;
        print_bold(command->words);
        printf(command->operands[0] == '\0' ? "" : " ");
        print_text(command->operands);
        printf("\n\t");
        print_text(command->meaning);
        printf("\n\n");
        print_flag_list(command->flags, "\t");
    }
}

/* A word, what it is, and what it means. */
static void print_entry(const char *word, const char *before, const char *detail,
                        const char *meaning)
{
    print_bold(word);
    if (detail[0] != '\0') {
        printf("%s", before);
        print_text(detail);
    }
    printf("\n\t");
    print_text(meaning);
    printf("\n\n");
}

static void print_explained(enum explanation_kind kind)
{
    for (size_t i = 0; i < explanation_count; i++)
        if (explanations[i].kind == kind)
            print_entry(explanations[i].word, " ", "", explanations[i].meaning);
}

static void print_exit_codes(void)
{
    print_explained(EXPLAIN_EXIT_CODE);
}

static void print_permissions(void)
{
    print_explained(EXPLAIN_PERMISSION);
}

static void print_spec_fields(void)
{
    for (size_t i = 0; i < explanation_count; i++) {
        const struct explanation *field = &explanations[i];
        if (field->kind != EXPLAIN_SPEC_FIELD)
            continue;
        print_entry(field->word, "", "", field->meaning);
        for (size_t j = 0; j < explanation_count; j++) {
            const struct explanation *value = &explanations[j];
            static const char of[] = "of ";
            if (value->kind != EXPLAIN_SPEC_VALUE ||
                strcmp(value->detail + strlen(of), field->word) != 0)
                continue;
            printf("\t");
            print_bold(value->word);
            printf(": ");
            print_text(value->meaning);
            printf("\n\n");
        }
    }
}

static void print_event_types(void)
{
#define EVENT_TYPE(name, writer, folds, meaning) print_entry(#name, ", from ", #writer, meaning);
#include "common/api/event_types.def"
#undef EVENT_TYPE
}

static void print_settings(void)
{
    enum effect { LIVE, RESTART };
    static const struct {
        const char *key, *environment, *otherwise, *meaning;
        enum effect effect;
    } settings[] = {
#define SETTING(kind, key, effect, environment, otherwise, meaning)                                \
    { #key, environment, otherwise, meaning, effect },
#include "common/daemon/settings.def"
#undef SETTING
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        print_entry(settings[i].key, " = ", settings[i].otherwise, settings[i].meaning);
        printf("\tEnvironment: ");
        print_text(settings[i].environment);
        printf(settings[i].effect == LIVE ? ". A change is taken over by a reload.\n\n" : ".\n\n");
    }
}

static const struct {
    const char *mark;
    void (*print)(void);
} tables[] = {
    { "@flags@\n", print_global_flags },      { "@commands@\n", print_commands },
    { "@settings@\n", print_settings },       { "@spec_fields@\n", print_spec_fields },
    { "@event_types@\n", print_event_types }, { "@exit_codes@\n", print_exit_codes },
    { "@permissions@\n", print_permissions },
};

int command_manual(struct session *session, const struct arguments *arguments)
{
    (void)arguments;
    int refused = session_expect_text(session);
    if (refused != 0)
        return refused;
    char line[LINE_BYTES_MAX];
    while (fgets(line, sizeof line, stdin) != NULL) {
        size_t i = 0;
        while (i < sizeof tables / sizeof tables[0] && strcmp(line, tables[i].mark) != 0)
            i++;
        if (i < sizeof tables / sizeof tables[0])
            tables[i].print();
        else
            fputs(line, stdout);
    }
    return 0;
}
