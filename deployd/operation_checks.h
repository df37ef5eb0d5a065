#ifndef SOLO_DEPLOYD_OPERATION_CHECKS_H
#define SOLO_DEPLOYD_OPERATION_CHECKS_H

#include "deployd/operation.h"

/* What may refuse an operation before its event is appended. Each fills the operation's problem. */

/* aborted: the service's newest event is not the one that the caller has seen. */
enum status operation_check_event(struct operation *operation);
/* unavailable: its supervisor is silent. What cannot be carried out now is not promised either. A
 * kill is: it stands in the log. */
enum status operation_check_supervisor(struct operation *operation);
/* A log that was salvaged may have lost what was decided last about the service: until it is
 * deployed again nothing of it is started. */
enum status operation_check_proven(const struct operation *operation, struct problem *problem);
/* What runs is not ended for a program that is gone. That of a build may be there without its
 * compiler. */
enum status operation_check_restart(struct operation *operation);

/* A process that runs would end first, and the next one wait for secrets: so vaultd is asked for
 * them before. Goes on at once when nothing runs, or no secrets are named; otherwise moves to
 * `secrets`, and goes on when they can be had. It ends with vaultd's refusal if not. */
void operation_ask_for_secrets(struct operation *operation, void (*go_on)(struct operation *));

#endif
