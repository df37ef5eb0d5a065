#ifndef SOLO_SOLOCTL_EXPLANATIONS_H
#define SOLO_SOLOCTL_EXPLANATIONS_H

#include <stdbool.h>
#include <stddef.h>

/* Every word of Solo's output and input that a person may ask about, from the tables that the
 * programs themselves are made of, each with what it means and what to do next. */
enum explanation_kind {
    EXPLAIN_STATE,
    EXPLAIN_PLAN_CODE,
    EXPLAIN_FINDING,
    EXPLAIN_STATUS,
    EXPLAIN_EXIT_CODE,
    EXPLAIN_VAULT_REASON,
    EXPLAIN_EVENT_TYPE,
    EXPLAIN_RESOURCE,
    EXPLAIN_PERMISSION,
    EXPLAIN_SPEC_FIELD,
    EXPLAIN_SPEC_VALUE,
    EXPLAIN_SETTING,
    EXPLAIN_KINDS
};

struct explanation {
    enum explanation_kind kind;
    const char *word;
    const char *detail; /* of its kind: its action, exit code, writer; "" for none */
    const char *meaning;
};

extern const struct explanation explanations[];
extern const size_t explanation_count;

/* "state of a service" */
const char *explanation_kind_text(enum explanation_kind kind);

/* What to do: a sentence with a command. "" would be a mistake in advice.def. */
enum { EXPLANATION_NEXT_BYTES = 320 };
char *explanation_next(const struct explanation *explanation, char text[EXPLANATION_NEXT_BYTES]);

#endif
