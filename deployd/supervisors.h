#ifndef SOLO_DEPLOYD_SUPERVISORS_H
#define SOLO_DEPLOYD_SUPERVISORS_H

#include "deployd/deployd.h"

/* The supervisors' lives: started when needed, found again when deployd comes back, asked what they
 * hold, listened to, and started again when they die. */

enum { SUPERVISORS_SPAWNING_MAX = 64 };

/* Once for each tenant, before anything else. */
void supervisor_init(struct deployd *deployd, struct tenant *tenant);
/* Makes sure that it runs, or will: operations of its services go on when it is ready. */
void supervisor_need(struct supervisor *supervisor);
/* Connects to every supervisor whose lock is held; each counts in boot.adopting until it has told
 * what it holds. */
enum status supervisors_adopt(struct deployd *deployd);

/* One call to a ready one. The callback runs unless the connection has to be given up: then
 * operations_supervisor_lost is called instead. `timeout_ms` 0: as long as it lives. */
enum status supervisor_call(struct supervisor *supervisor, const struct method *method,
                            const void *request, uint64_t timeout_ms, rpc_on_reply on_reply,
                            void *context);

/* Takes a service_row over that it sent. */
void supervisor_take_row(struct supervisor *supervisor, struct span row);

/* Has all unacknowledged reports sent again, after a pause that grows while eventd does not take
 * them. Nothing else of the connection is touched. */
void supervisor_resync(struct supervisor *supervisor, const char *reason);
/* Reports that come before that are of no use. */
bool supervisor_is_resyncing(const struct supervisor *supervisor);
/* Past the end of a shutdown: SIGKILL to the supervisor, which ends everything of its tenant. */
void supervisor_kill(struct supervisor *supervisor);
void supervisor_close(struct supervisor *supervisor);

/* Why the last attempt to start it failed; "" for none. */
const char *supervisor_problem(const struct supervisor *supervisor);

/* Shared with supervisor_talk.c. */
void supervisor_move(struct supervisor *supervisor, enum supervisor_state state);
void supervisor_timer_set(struct supervisor *supervisor, uint64_t after_ms, uint64_t repeat_ms);
/* The connection is of no use any more; what that means is found out after this long. */
void supervisor_lose(struct supervisor *supervisor, uint64_t after_ms);
/* Boot waits no longer for this one. */
void supervisor_adopted(struct supervisor *supervisor);
/* Its death becomes readable; without a pidfd the lock is looked at when the connection breaks. */
void supervisor_watch_process(struct supervisor *supervisor);

#endif
