/* explain: what a word in Solo's output or input means and what to do next; and the page that has
 * them all, docs/troubleshooting.md. */
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "soloctl/commands.h"
#include "soloctl/explanations.h"
#include "soloctl/output.h"
#include "soloctl/session.h"

/* "none" of a plan has nothing to say. */
static bool is_said(const struct explanation *explanation)
{
    return explanation->meaning[0] != '\0';
}

/* A number also means every error code that ends with it, and the last part of a field's name every
 * field that ends with it. */
static bool is_meant(const struct explanation *explanation, const char *word)
{
    static const char exit_code[] = "exit code ";
    if (explanation->kind == EXPLAIN_STATUS &&
        strcmp(explanation->detail + strlen(exit_code), word) == 0)
        return true;
    const char *last = strrchr(explanation->word, '.');
    if (explanation->kind == EXPLAIN_SPEC_FIELD && last != NULL && strcmp(last + 1, word) == 0)
        return true;
    return is_said(explanation) && strcmp(explanation->word, word) == 0;
}

static void print_one(const struct explanation *explanation)
{
    char next[EXPLANATION_NEXT_BYTES];
    printf("%s (%s%s%s)\n    %s\n    next: %s\n", explanation->word,
           explanation_kind_text(explanation->kind), explanation->detail[0] == '\0' ? "" : ", ",
           explanation->detail, explanation->meaning, explanation_next(explanation, next));
}

int command_explain(struct session *session, const struct arguments *arguments)
{
    const char *word = arguments->operands[0];
    AUTO(list_close) struct list_output output = { 0 };
    struct problem problem = { 0 };
    size_t found = 0;
    enum status status = list_begin(&output, session->format, "explanations", &problem);
    if (status != STATUS_OK)
        return session_fail(session, word, status, &problem);
    for (size_t i = 0; i < explanation_count; i++) {
        const struct explanation *explanation = &explanations[i];
        char next[EXPLANATION_NEXT_BYTES];
        if (!is_meant(explanation, word))
            continue;
        found++;
        AUTO(item_close) struct item item = ITEM_EMPTY;
        item_text(&item, "word", explanation->word);
        item_text(&item, "kind", explanation_kind_text(explanation->kind));
        item_text_or_null(&item, "detail", explanation->detail);
        item_text(&item, "meaning", explanation->meaning);
        item_text(&item, "next", explanation_next(explanation, next));
        list_add(&output, &item, explanation->word);
        if (!session_is_for_programs(session))
            print_one(explanation);
    }
    if (found == 0) {
        problem_set(&problem, STATUS_NOT_FOUND, "",
                    "is no error code, exit code, state, reason, finding, event type, resource, "
                    "permission, spec field or setting; `soloctl troubleshooting` lists them");
        return session_fail(session, word, STATUS_NOT_FOUND, &problem);
    }
    list_end(&output);
    return 0;
}

/* -- the page -- */

static const char introduction[] =
    "# Troubleshooting\n"
    "\n"
    "Made by `soloctl troubleshooting` from the tables that the programs are made of; do not edit. "
    "Where to begin:\n"
    "\n"
    "1. `soloctl status` says whether Solo is ready, and when a person is needed, why. A script "
    "asks `soloctl status --check`.\n"
    "2. `soloctl get services` shows each service with its state and reason, `soloctl describe "
    "TENANT/NAME` everything about one: its last\n"
    "   exits with what it printed last, what is due next and when, and the command that helps.\n"
    "3. `soloctl logs TENANT/NAME -n 50` is what it printed, `soloctl events --service "
    "TENANT/NAME` what happened to it.\n"
    "4. `recoveryd --dry-run` compares what should run with what runs, with the daemons up or "
    "down, and changes nothing.\n"
    "5. `soloctl explain WORD` says what any word below means.\n"
    "\n"
    "Every message of `soloctl` ends with its error code in brackets, and the program with that "
    "code's exit code.\n";

/* Text of a table cell: a bar would end it. */
static void print_cell(const char *text)
{
    for (; *text != '\0'; text++)
        printf(*text == '|' ? "\\%c" : "%c", *text);
}

static void print_section(enum explanation_kind kind, const char *title, const char *column)
{
    printf("\n## %s\n\n| %s | meaning | next |\n|---|---|---|\n", title, column);
    for (size_t i = 0; i < explanation_count; i++) {
        const struct explanation *explanation = &explanations[i];
        char next[EXPLANATION_NEXT_BYTES];
        if (explanation->kind != kind || !is_said(explanation))
            continue;
        printf("| `%s` | ", explanation->word);
        print_cell(explanation->meaning);
        if (kind == EXPLAIN_STATUS)
            printf(" (%s)", explanation->detail);
        printf(" | ");
        print_cell(explanation_next(explanation, next));
        printf(" |\n");
    }
}

int command_troubleshooting(struct session *session, const struct arguments *arguments)
{
    (void)arguments;
    int refused = session_expect_text(session);
    if (refused != 0)
        return refused;
    printf("%s", introduction);
    print_section(EXPLAIN_STATE, "States of a service", "state");
    print_section(EXPLAIN_PLAN_CODE, "Reasons of a recovery", "code");
    print_section(EXPLAIN_FINDING, "Findings of a verification", "finding");
    print_section(EXPLAIN_VAULT_REASON, "Why the vault is not open", "code");
    print_section(EXPLAIN_RESOURCE, "What a daemon may run out of", "resource");
    print_section(EXPLAIN_STATUS, "Error codes", "code");
    print_section(EXPLAIN_EXIT_CODE, "Exit codes", "exit code");
    return 0;
}
