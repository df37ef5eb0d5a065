#ifndef SOLO_DEPLOYD_OPERATION_OUTCOME_H
#define SOLO_DEPLOYD_OPERATION_OUTCOME_H

#include "deployd/fence.h"
#include "deployd/operation.h"

/* What became of an operation, and how it is said. */

/* The reason code of a failed start. */
const char *operation_code_of(enum status status);
/* What recovery.act answers, and what is recorded. */
void operation_said(struct operation *operation, const char *result, const char *code,
                    const char *reason);
/* Unless a supervisor holds it: its row becomes `failed` with this reason. It stays wanted. */
void operation_row_failed(struct operation *operation, const char *reason);

/* Whether it may be done, by the rule of fence.h; `is_refused`: its supervisor said `aborted`. The
 * live row must be fresh. */
enum fence operation_fence(const struct operation *operation, bool is_refused);
/* Whether the log still wants what reconciling or recovery asked for. The row must be fresh. */
bool operation_is_due(struct operation *operation);

/* Ends a deploy that is in the log with what the log says became of it. */
void operation_answer_from_log(struct operation *operation);
/* Ends one whose start failed: reconciling and recovery are answered "failed", and why; a deploy
 * that ran before has the outcome that it had, and its row says the rest; others are refused. */
void operation_end_failed(struct operation *operation);
/* Another event has overtaken what it was for: it ends, with what the log says became of it. Only
 * for FENCE_OVERTAKEN. */
void operation_superseded(struct operation *operation);

#endif
