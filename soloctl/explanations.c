/* The tables, put one after the other. What to do about a state or code stands in advice.def; about
 * the words of the other tables the same can be said for all. */
#include "soloctl/explanations.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"

const struct explanation explanations[] = {
#define SERVICE_STATE(name, has_process, meaning) { EXPLAIN_STATE, #name, "", meaning },
#include "common/api/service_states.def"
#undef SERVICE_STATE
#define PLAN_CODE(name, action, words) { EXPLAIN_PLAN_CODE, #name, "action " #action, words },
#include "common/plan/plan_codes.def"
#undef PLAN_CODE
#define FINDING(name, fix, words, next) { EXPLAIN_FINDING, #name, "fix " #fix, words },
#include "common/plan/finding_codes.def"
#undef FINDING
#define STATUS(code, name, exit_code, text) { EXPLAIN_STATUS, name, "exit code " #exit_code, text },
#include "common/base/status.def"
#undef STATUS
#define EXIT_CODE(number, meaning, next) { EXPLAIN_EXIT_CODE, #number, "", meaning },
#include "soloctl/exit_codes.def"
#undef EXIT_CODE
#define VAULT_REASON(name, state, words, next) { EXPLAIN_VAULT_REASON, #name, #state, words },
#include "common/api/vault_reasons.def"
#undef VAULT_REASON
#define EVENT_TYPE(name, writer, folds, meaning)                                                   \
    { EXPLAIN_EVENT_TYPE, #name, "written by " #writer, meaning },
#include "common/api/event_types.def"
#undef EVENT_TYPE
#define RESOURCE(name, words, next) { EXPLAIN_RESOURCE, #name, "", words },
#include "common/api/resources.def"
#undef RESOURCE
#define PERMISSION(name, wire, meaning) { EXPLAIN_PERMISSION, wire, "", meaning },
#include "common/rpc/permissions.def"
#undef PERMISSION
#define SPEC_FIELD(name, meaning)        { EXPLAIN_SPEC_FIELD, name, "", meaning },
#define SPEC_VALUE(field, word, meaning) { EXPLAIN_SPEC_VALUE, word, "of " field, meaning },
#include "soloctl/spec_fields.def"
#undef SPEC_FIELD
#undef SPEC_VALUE
#define SETTING(kind, key, effect, environment, otherwise, meaning)                                \
    { EXPLAIN_SETTING, #key, #kind ", " environment ", default " otherwise, meaning },
#include "common/daemon/settings.def"
#undef SETTING
};
const size_t explanation_count = COUNT_OF(explanations);

static const struct {
    enum explanation_kind kind;
    const char *word;
    const char *next;
} advice[] = {
#define ADVICE(kind, word, next) { EXPLAIN_##kind, #word, next },
#include "soloctl/advice.def"
#undef ADVICE
#define FINDING(name, fix, words, next) { EXPLAIN_FINDING, #name, next },
#include "common/plan/finding_codes.def"
#undef FINDING
#define VAULT_REASON(name, state, words, next) { EXPLAIN_VAULT_REASON, #name, next },
#include "common/api/vault_reasons.def"
#undef VAULT_REASON
#define RESOURCE(name, words, next) { EXPLAIN_RESOURCE, #name, next },
#include "common/api/resources.def"
#undef RESOURCE
#define EXIT_CODE(number, meaning, next) { EXPLAIN_EXIT_CODE, #number, next },
#include "soloctl/exit_codes.def"
#undef EXIT_CODE
};

const char *explanation_kind_text(enum explanation_kind kind)
{
    static const char *const texts[EXPLAIN_KINDS] = {
        [EXPLAIN_STATE] = "state of a service",
        [EXPLAIN_PLAN_CODE] = "reason code of a recovery",
        [EXPLAIN_FINDING] = "finding of a verification",
        [EXPLAIN_STATUS] = "error code",
        [EXPLAIN_EXIT_CODE] = "exit code",
        [EXPLAIN_VAULT_REASON] = "reason why the vault is not open",
        [EXPLAIN_EVENT_TYPE] = "event type",
        [EXPLAIN_RESOURCE] = "resource that a daemon may run out of",
        [EXPLAIN_PERMISSION] = "permission of a token",
        [EXPLAIN_SPEC_FIELD] = "spec field",
        [EXPLAIN_SPEC_VALUE] = "value in a spec",
        [EXPLAIN_SETTING] = "setting",
    };
    return texts[kind];
}

/* Whether SIGHUP takes a setting over. */
static bool is_live(const char *key)
{
    enum effect { LIVE, RESTART };
    static const struct {
        const char *key;
        enum effect effect;
    } settings[] = {
#define SETTING(kind, key, effect, environment, otherwise, meaning) { #key, effect },
#include "common/daemon/settings.def"
#undef SETTING
    };
    for (size_t i = 0; i < COUNT_OF(settings); i++)
        if (strcmp(settings[i].key, key) == 0)
            return settings[i].effect == LIVE;
    return false;
}

static const char *advice_find(const struct explanation *explanation)
{
    for (size_t i = 0; i < COUNT_OF(advice); i++)
        if (advice[i].kind == explanation->kind && strcmp(advice[i].word, explanation->word) == 0)
            return advice[i].next;
    return "";
}

char *explanation_next(const struct explanation *explanation, char text[EXPLANATION_NEXT_BYTES])
{
    switch (explanation->kind) {
    case EXPLAIN_EVENT_TYPE:
        snprintf(text, EXPLANATION_NEXT_BYTES, "`soloctl events --type %s` lists them",
                 explanation->word);
        break;
    case EXPLAIN_PERMISSION:
        snprintf(text, EXPLANATION_NEXT_BYTES,
                 "a token has it from when it is granted; `docs/methods.md` lists what needs `%s`",
                 explanation->word);
        break;
    case EXPLAIN_SPEC_FIELD:
    case EXPLAIN_SPEC_VALUE:
        snprintf(text, EXPLANATION_NEXT_BYTES,
                 "set it in the spec and `soloctl apply -f FILE`; `docs/service-spec.md` has its "
                 "bounds");
        break;
    case EXPLAIN_SETTING:
        snprintf(text, EXPLANATION_NEXT_BYTES,
                 "set it in solo.conf or its variable, or start solod with `--set %s=VALUE`; it "
                 "counts from %s",
                 explanation->word,
                 is_live(explanation->word) ? "the next SIGHUP to solod, or `systemctl reload`, on"
                                            : "the next start of Solo");
        break;
    default:
        snprintf(text, EXPLANATION_NEXT_BYTES, "%s", advice_find(explanation));
        break;
    }
    return text;
}
