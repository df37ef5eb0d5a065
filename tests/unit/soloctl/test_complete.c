/* What may follow the words of a command line. */
#include "soloctl/complete.h"

#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "soloctl/commands.h"
#include "tests/support/criterion.h"
#include "tests/unit/soloctl/captured.h"

enum { WORDS_MAX = 12 };

/* Takes a line apart at its blanks; the last word is what follows the last blank. */
static size_t split(char *line, char *words[WORDS_MAX])
{
    size_t count = 0;
    for (char *at = line; at != NULL && count < WORDS_MAX;) {
        words[count++] = at;
        at = strchr(at, ' ');
        if (at != NULL)
            *at++ = '\0';
    }
    return count;
}

static const char *complete(const char *text)
{
    static char line[256];
    char *words[WORDS_MAX];
    static struct arguments arguments;
    snprintf(line, sizeof line, "%s", text);
    arguments.rest_count = split(line, words);
    arguments.rest = words;
    capture(STDOUT_FILENO);
    cr_assert_eq(command_complete(NULL, &arguments), 0);
    fflush(stdout);
    return captured_text();
}

static struct completion find(const char *text)
{
    static char line[256];
    char *words[WORDS_MAX];
    struct completion completion;
    snprintf(line, sizeof line, "%s", text);
    completion_find(words, split(line, words), &completion);
    return completion;
}

static void expect(const char *text, const char *candidates)
{
    const char *found = complete(text);
    cr_assert_str_eq(found, candidates, "%s: %s", text, found);
}

Test(complete, commands_word_by_word)
{
    expect("ap", "apply\n");
    expect("daemon ", "list\nrestart\n");
    expect("get t", "tokens\ntenants\n");
    expect("daemon nonsense ", "");
}

Test(complete, hidden_commands_are_not_offered)
{
    expect("comple", "completion\n");
}

Test(complete, flags_of_the_command_and_of_all)
{
    expect("kill acme/api --f", "--force\n");
    expect("kill acme/api --force --f", "");
    expect("--ru", "--run\n");
    expect("deploy --re", "--request-id\n--restart\n");
}

Test(complete, values_of_flags)
{
    expect("deploy acme/api --restart ", "always\non-failure\nnever\n");
    expect("deploy acme/api --restart=o", "--restart=on-failure\n");
    expect("wait acme/api --for r", "running\nready\n");
    expect("-o j", "json\njsonl\n");
    expect("events --type service_k", "service_killed\n");
    expect("apply -f ", ":files\n");
    expect("deploy acme/api --timeout ", "");
}

/* bash takes --restart=al apart into three words. */
Test(complete, a_lonely_equals_sign_is_part_of_its_flag)
{
    expect("deploy acme/api --restart = al", "always\n");
    expect("deploy acme/api --restart =", "always\non-failure\nnever\n");
}

Test(complete, operands)
{
    expect("completion ", "bash\nzsh\nfish\n");
    expect("completion bash ", "");
    expect("explain parke", "parked\n");
    expect("deploy acme/api -- ", ":files\n");
    static const struct {
        const char *text;
        enum completion_kind kind;
    } cases[] = {
        { "describe ", COMPLETE_SERVICES },
        { "describe acme/api ", COMPLETE_NOTHING },
        { "get services acme/api ", COMPLETE_SERVICES },
        { "get tenants ", COMPLETE_TENANTS },
        { "daemon restart ", COMPLETE_DAEMONS },
        { "events --service ", COMPLETE_SERVICES },
        { "-t ", COMPLETE_TENANTS },
        { "status ", COMPLETE_NOTHING },
        { "", COMPLETE_WORDS },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_assert_eq(find(cases[i].text).kind, cases[i].kind, "%s", cases[i].text);
}

Test(complete, the_flags_before_say_which_solo)
{
    struct completion completion = find("--run /tmp/x -t acme kill a");
    cr_assert_str_eq(completion.flag_values[FLAG_run], "/tmp/x");
    cr_assert_str_eq(completion.flag_values[FLAG_tenant], "acme");
    cr_assert_str_eq(completion.typed, "a");
    cr_assert_eq(completion.kind, COMPLETE_SERVICES);
}

Test(complete, without_a_solo_there_are_no_names_and_no_complaint)
{
    expect("--run /nonexistent/run kill ", "");
}
