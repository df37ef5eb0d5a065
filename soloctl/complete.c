/* complete: the words so far are walked like a command line, but forgiving: what makes no sense is
 * passed over. Names that only a running Solo knows are asked for briefly; without an answer there
 * are none, and nothing is said. */
#include "soloctl/complete.h"

#include <stdio.h>
#include <string.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/wire/reader.h"
#include "soloctl/commands.h"
#include "soloctl/explanations.h"
#include "soloctl/programs.h"
#include "soloctl/service_rows.h"
#include "soloctl/session.h"

enum { ANSWER_MS_MAX = 2000 };

/* -- what is meant -- */

static const struct {
    enum flag flag;
    enum completion_kind kind;
    const char *choices;
} flag_kinds[] = {
    { FLAG_run, COMPLETE_FILES, "" },
    { FLAG_tenant, COMPLETE_TENANTS, "" },
    { FLAG_output, COMPLETE_CHOICE, "table|wide|json|jsonl|name" },
    { FLAG_token_file, COMPLETE_FILES, "" },
    { FLAG_code, COMPLETE_FILES, "" },
    { FLAG_interpreter, COMPLETE_FILES, "" },
    { FLAG_restart, COMPLETE_CHOICE, "always|on-failure|never" },
    { FLAG_file, COMPLETE_FILES, "" },
    { FLAG_value_file, COMPLETE_FILES, "" },
    { FLAG_stream, COMPLETE_CHOICE, "out|err" },
    { FLAG_for_condition, COMPLETE_CHOICE, "running|ready|gone" },
    { FLAG_type, COMPLETE_EVENT_TYPES, "" },
    { FLAG_service, COMPLETE_SERVICES, "" },
};

static void expect_value(struct completion *completion, enum flag flag)
{
    completion->kind = COMPLETE_NOTHING;
    for (size_t i = 0; i < COUNT_OF(flag_kinds); i++)
        if (flag_kinds[i].flag == flag) {
            completion->kind = flag_kinds[i].kind;
            completion->choices = flag_kinds[i].choices;
        }
}

static bool has(const struct command *command, const char *text)
{
    return strstr(command->operands, text) != NULL;
}

static void expect_operand(struct completion *completion, size_t operands)
{
    const struct command *command = completion->command;
    completion->kind = COMPLETE_NOTHING;
    if (operands >= command->most)
        return;
    if (strcmp(command->words, "explain") == 0)
        completion->kind = COMPLETE_EXPLAINED;
    else if (strncmp(command->words, "daemon", strlen("daemon")) == 0)
        completion->kind = COMPLETE_DAEMONS;
    else if (strncmp(command->words, "secret", strlen("secret")) == 0)
        completion->kind = COMPLETE_NOTHING; /* names of secrets are not offered */
    else if (has(command, "TENANT/NAME") || strcmp(command->words, "get services") == 0)
        completion->kind = COMPLETE_SERVICES;
    else if (has(command, "TENANT"))
        completion->kind = COMPLETE_TENANTS;
    else if (has(command, "DIR"))
        completion->kind = COMPLETE_FILES;
    else if (has(command, "|"))
        completion->kind = COMPLETE_CHOICE;
    completion->choices = command->operands;
}

/* FLAGS when this command has no such flag. */
static enum flag find_flag(const struct command *command, const char *text, size_t size)
{
    uint64_t allowed = flags_global() | (command == NULL ? 0 : command->flags);
    for (int i = 0; i < FLAGS; i++) {
        const char *names[] = { flag_long((enum flag)i), flag_short((enum flag)i) };
        for (int k = 0; k < 2; k++)
            if ((allowed >> i & 1) != 0 && size > 0 && strlen(names[k]) == size &&
                memcmp(names[k], text, size) == 0)
                return (enum flag)i;
    }
    return FLAGS;
}

static void take_word(struct completion *completion, const char *word)
{
    size_t size = strlen(completion->words);
    snprintf(completion->words + size, sizeof completion->words - size, "%s ", word);
    size = strlen(completion->words) - 1;
    for (size_t i = 0; i < command_count; i++)
        if (strlen(commands[i].words) == size &&
            memcmp(commands[i].words, completion->words, size) == 0)
            completion->command = &commands[i];
}

void completion_find(char *const *words, size_t word_count, struct completion *completion)
{
    enum flag pending = FLAGS;
    size_t operands = 0, at = 0;
    *completion = (struct completion){ .choices = "", .typed = "", .prefix = "" };
    for (; at + 1 < word_count; at++) {
        const char *word = words[at];
        if (pending != FLAGS && strcmp(word, "=") == 0)
            continue; /* bash takes --flag=value apart */
        if (pending != FLAGS) {
            completion->flag_values[pending] = word;
            pending = FLAGS;
        } else if (strcmp(word, "--") == 0) {
            completion->kind = COMPLETE_FILES;
            completion->typed = words[word_count - 1];
            return;
        } else if (word[0] == '-') {
            size_t size = strcspn(word, "=");
            enum flag flag = find_flag(completion->command, word, size);
            if (flag == FLAGS)
                continue;
            bool takes_value = flag_value(flag)[0] != '\0';
            if (takes_value && word[size] == '\0')
                pending = flag;
            completion->flag_values[flag] = word[size] == '=' ? word + size + 1 : "";
        } else if (completion->command == NULL) {
            take_word(completion, word);
        } else {
            operands++;
        }
    }
    const char *last = word_count == 0 ? "" : words[word_count - 1];
    completion->typed = last;
    if (pending != FLAGS) {
        completion->typed = strcmp(last, "=") == 0 ? "" : last;
        expect_value(completion, pending);
        return;
    }
    size_t size = strcspn(last, "=");
    enum flag flag = last[0] == '-' ? find_flag(completion->command, last, size) : FLAGS;
    if (flag != FLAGS && last[size] == '=') {
        completion->prefix = last;
        completion->prefix_size = size + 1;
        completion->typed = last + size + 1;
        expect_value(completion, flag);
    } else if (last[0] == '-') {
        completion->kind = COMPLETE_FLAGS;
    } else if (completion->command == NULL) {
        completion->kind = COMPLETE_WORDS;
    } else {
        expect_operand(completion, operands);
    }
}

/* -- what there is -- */

static void offer(const struct completion *completion, const char *text, size_t size)
{
    size_t typed = strlen(completion->typed);
    if (size == 0 || size < typed || memcmp(text, completion->typed, typed) != 0)
        return;
    printf("%.*s%.*s\n", (int)completion->prefix_size, completion->prefix, (int)size, text);
}

static void offer_text(const struct completion *completion, const char *text)
{
    offer(completion, text, strlen(text));
}

/* The next word of each command that begins with those so far, once. */
static void offer_words(const struct completion *completion)
{
    size_t begun = strlen(completion->words);
    for (size_t i = 0; i < command_count; i++) {
        const char *words = commands[i].words;
        if (commands[i].group[0] == '\0' || strncmp(words, completion->words, begun) != 0)
            continue;
        size_t size = strcspn(words + begun, " ");
        bool is_known = false;
        for (size_t k = 0; k < i && !is_known; k++)
            is_known =
                commands[k].group[0] != '\0' &&
                strncmp(commands[k].words, words, begun + size) == 0 &&
                (commands[k].words[begun + size] == ' ' || commands[k].words[begun + size] == '\0');
        if (!is_known)
            offer(completion, words + begun, size);
    }
}

static void offer_flags(const struct completion *completion)
{
    uint64_t flags =
        flags_global() | (completion->command == NULL ? 0 : completion->command->flags);
    for (int i = 0; i < FLAGS; i++)
        if ((flags >> i & 1) != 0 && completion->flag_values[i] == NULL) {
            offer_text(completion, flag_long((enum flag)i));
            offer_text(completion, flag_short((enum flag)i));
        }
}

static void offer_choices(const struct completion *completion)
{
    for (const char *at = completion->choices; *at != '\0';) {
        size_t size = strcspn(at, "|");
        offer(completion, at, size);
        at += size + (at[size] == '|');
    }
}

static void offer_explained(const struct completion *completion, bool only_event_types)
{
    for (size_t i = 0; i < explanation_count; i++)
        if (!only_event_types || explanations[i].kind == EXPLAIN_EVENT_TYPE)
            offer_text(completion, explanations[i].word);
}

static void offer_services(struct session *session, const struct completion *completion)
{
    AUTO(service_rows_close) struct service_rows services = { 0 };
    struct problem problem = { 0 };
    char key[SERVICE_KEY_BYTES];
    if (service_rows_load(&services, session, session->tenant, &problem) != STATUS_OK)
        return;
    for (size_t i = 0; i < services.count; i++) {
        const struct service_row *row = &services.rows[i];
        offer_text(completion, session->tenant[0] != '\0' && strchr(completion->typed, '/') == NULL
                                   ? row->name
                                   : service_key(key, row->tenant, row->name));
    }
}

static void offer_tenants(struct session *session, const struct completion *completion)
{
    struct tenant_list_request request = {};
    struct tenant_list_reply reply = { 0 };
    struct problem problem = { 0 };
    uint32_t count = 0;
    if (session_call(session, PEER_DEPLOYD, &method_tenant_list, &request, ANSWER_MS_MAX, &reply,
                     &problem) != STATUS_OK)
        return;
    struct reader reader = reader_of(reply.tenants);
    if (reply.tenants.size == 0 || reader_array(&reader, &count) != STATUS_OK)
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct span map;
        char tenant[NAME_BYTES_MAX + 1];
        if (reader_any(&reader, &map) != STATUS_OK)
            return;
        offer_text(completion, map_text(map, "tenant", tenant, sizeof tenant));
    }
}

static void offer_daemons(struct session *session, const struct completion *completion)
{
    static struct programs programs;
    programs_load(&programs, session, false, ANSWER_MS_MAX);
    for (size_t i = 0; i < programs.count; i++)
        if (strcmp(programs.items[i].name, "solod") != 0)
            offer_text(completion, programs.items[i].name);
}

/* As the words say it: their --run, -t and --token-file count. */
static void offer_live(const struct completion *completion)
{
    static struct arguments arguments;
    AUTO(session_close) struct session session = { 0 };
    struct problem problem = { 0 };
    static const enum flag flags[] = { FLAG_run, FLAG_tenant, FLAG_token_file };
    for (size_t i = 0; i < COUNT_OF(flags); i++)
        arguments.value[flags[i]] = completion->flag_values[flags[i]];
    if (session_open(&session, &arguments, &problem) != STATUS_OK)
        return;
    if (completion->kind == COMPLETE_SERVICES)
        offer_services(&session, completion);
    else if (completion->kind == COMPLETE_TENANTS)
        offer_tenants(&session, completion);
    else
        offer_daemons(&session, completion);
}

int command_complete(struct session *session, const struct arguments *arguments)
{
    (void)session;
    struct completion completion;
    completion_find(arguments->rest, arguments->rest_count, &completion);
    switch (completion.kind) {
    case COMPLETE_NOTHING:
        break;
    case COMPLETE_WORDS:
        offer_words(&completion);
        break;
    case COMPLETE_FLAGS:
        offer_flags(&completion);
        break;
    case COMPLETE_CHOICE:
        offer_choices(&completion);
        break;
    case COMPLETE_FILES:
        printf(":files\n"); /* the shell knows them better */
        break;
    case COMPLETE_EVENT_TYPES:
    case COMPLETE_EXPLAINED:
        offer_explained(&completion, completion.kind == COMPLETE_EVENT_TYPES);
        break;
    case COMPLETE_SERVICES:
    case COMPLETE_TENANTS:
    case COMPLETE_DAEMONS:
        offer_live(&completion);
        break;
    }
    return 0;
}
