#ifndef SOLO_DEPLOYD_OPERATION_TRIAL_H
#define SOLO_DEPLOYD_OPERATION_TRIAL_H

#include "deployd/operation.h"

/* A deploy over a generation that was never ready takes that one back in its own commit: the log
 * falls back to what was there before, and wants the new one in its place. So what it falls back to
 * in turn was ready, however many deploys came since; it is not started in between. */

/* Whether what the log wants now is such a generation. Not a first deploy that only waits for a
 * secret or its supervisor: it has failed in nothing, and nothing else is left. */
enum status operation_ends_trial(const struct operation *deploy, bool *ends_trial);

/* Sends both events. The callback gets a struct event_append_batch_reply, whose last one is the
 * deploy. */
enum status operation_commit_over_trial(struct operation *operation,
                                        const struct event_append_request *deploy,
                                        rpc_on_reply on_committed);

#endif
