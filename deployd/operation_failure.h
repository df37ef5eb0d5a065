#ifndef SOLO_DEPLOYD_OPERATION_FAILURE_H
#define SOLO_DEPLOYD_OPERATION_FAILURE_H

#include "deployd/operation.h"

/* What follows when a generation could not be started, whoever asked for it. One rule, read from
 * the log when it fails: what was never ready is taken back and the log falls back; what ran before
 * stays wanted, for a person to see. All of these end the operation, or move it on. */

/* Whether its generation was never ready, by the log; false for one that came by a fallback. */
enum status operation_never_ran(const struct operation *operation, bool *never_ran);

/* Its result, code and reason are said (operation_said). `field` and `said` are for the caller;
 * output of the program may follow in `said`. */
void operation_failed(struct operation *operation, const char *field, const char *said);

/* The same for a failed start: says it, and logs it. `problem` may be NULL. */
void operation_start_failed(struct operation *operation, enum status status,
                            const struct problem *problem);

/* The generation before runs again, or cannot be started either: then that is recorded, with its
 * code. `why` is one line. */
void operation_fallback_started(struct operation *operation);
void operation_fallback_failed(struct operation *operation, const char *code, const char *why);

/* Appends what code and reason of the operation say: service_deployment_failed where the log falls
 * back, else service_recovery_failed. */
void operation_record_failure(struct operation *operation);
/* service_deployment_failed is on its way into the log. */
bool operation_records_failure(const struct operation *operation);
/* The payload of either. `previous` is what the log falls back to; NULL when it does not. */
void operation_failure_write(struct buffer *payload, uint64_t generation, const uint64_t *previous,
                             const char *code, const char *reason);

#endif
