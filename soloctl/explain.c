/* explain: what a word in Solo's output or input means, from the tables that the programs are made
 * of. */
#include <stdio.h>
#include <string.h>

#include "common/api/service_states.h"
#include "common/base/auto.h"
#include "common/base/status.h"
#include "soloctl/commands.h"
#include "soloctl/output.h"

struct entry {
    const char *kind;
    const char *word;
    const char *meaning;
};

static const struct entry entries[] = {
#define SERVICE_STATE(name, has_process, meaning) { "state of a service", #name, meaning },
#include "common/api/service_states.def"
#undef SERVICE_STATE
#define STATUS(code, name, exit_code, text) { "error code, exit code " #exit_code, name, text },
#include "common/base/status.def"
#undef STATUS
#define PLAN_CODE(name, action, words) { "code of a recovery plan, action " #action, #name, words },
#include "common/plan/plan_codes.def"
#undef PLAN_CODE
#define EVENT_TYPE(name, writer, folds, meaning)                                                   \
    { "event type, written by " #writer, #name, meaning },
#include "common/api/event_types.def"
#undef EVENT_TYPE
#define PERMISSION(name, wire, meaning) { "permission of a token", wire, meaning },
#include "common/rpc/permissions.def"
#undef PERMISSION
#define SETTING(kind, key, environment, otherwise, meaning)                                        \
    { "setting (" #kind "), " environment ", default " otherwise, #key, meaning },
#include "common/daemon/settings.def"
#undef SETTING
    { "spec field", "tenant", "whose service it is; required, a name" },
    { "spec field", "name", "which service of the tenant; required, a name" },
    { "spec field", "argv", "program and arguments, never a shell line; with code, its arguments" },
    { "spec field", "code", "source text, at most 512 KiB; run as INTERPRETER FILE ARGV..." },
    { "spec field", "interpreter", "what runs the code: a program, or a list with its arguments" },
    { "spec field", "build", "compiler command with {code} and {out}" },
    { "spec field", "env", "map of text, added to a minimal environment" },
    { "spec field", "working_dir", "default: the service's own folder, which is durable" },
    { "spec field", "secrets", "secrets that it is given, as files" },
    { "spec field", "restart",
      "{policy: always, initial: 1s, max: 60s, max_restarts: 5, window: 60s}; "
      "policy is always, on-failure or never" },
    { "spec field", "stop", "{signal: TERM, timeout: 5s}; then the whole process tree is killed" },
    { "spec field", "ready", "{by: started, timeout: 30s}: when the service counts as ready" },
    { "spec field", "limits", "{memory, tasks, files, cpu}" },
    { "spec field", "logs", "{max_size: 10MiB, files: 5}: what is kept of its output" },
};

/* "6" means every status with that exit code; the middle of an answer such as "(not_found)" its
 * name. */
static bool is_meant(const struct entry *entry, const char *word)
{
    if (word[0] >= '0' && word[0] <= '9') {
        const char *code = strstr(entry->kind, "exit code ");
        return code != NULL && strcmp(code + strlen("exit code "), word) == 0;
    }
    return strcmp(entry->word, word) == 0;
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
    for (size_t i = 0; i < COUNT_OF(entries); i++) {
        const struct entry *entry = &entries[i];
        if (!is_meant(entry, word))
            continue;
        found++;
        AUTO(item_close) struct item item = ITEM_EMPTY;
        item_text(&item, "word", entry->word);
        item_text(&item, "kind", entry->kind);
        item_text(&item, "meaning", entry->meaning);
        list_add(&output, &item, entry->word);
        if (!session_is_for_programs(session))
            printf("%s (%s)\n    %s\n", entry->word, entry->kind, entry->meaning);
    }
    if (found == 0 && strcmp(word, "3") == 0 && !session_is_for_programs(session)) {
        printf("exit code 3\n    not ready, or a person is needed: `soloctl status` says why\n");
        found++;
    }
    if (found == 0) {
        problem_set(&problem, STATUS_NOT_FOUND, "",
                    "is no error code, exit code, state, event type, permission, spec field or "
                    "setting");
        return session_fail(session, word, STATUS_NOT_FOUND, &problem);
    }
    list_end(&output);
    return 0;
}
