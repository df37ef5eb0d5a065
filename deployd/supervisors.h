#ifndef SOLO_DEPLOYD_SUPERVISORS_H
#define SOLO_DEPLOYD_SUPERVISORS_H

#include "deployd/deployd.h"

/* The supervisors' lives: started when needed, found again when deployd comes back, asked what they
 * hold, listened to, and started again when they die. */

/* Once for each tenant, before anything else. */
void supervisor_init(struct deployd *deployd, struct tenant *tenant);
/* Makes sure that it runs, or will: operations of its services go on when it is ready. */
void supervisor_need(struct supervisor *supervisor);
/* Connects to every supervisor whose lock is held; each counts in boot.adopting until it has told
 * what it holds. */
enum status supervisors_adopt(struct deployd *deployd);

/* One call to a ready one. The callback runs unless the connection has to be given up: then
 * on_cut is called instead. `timeout_ms` 0: as long as it lives. */
enum status supervisor_call(struct supervisor *supervisor, const struct method *method,
                            const void *request, uint64_t timeout_ms, rpc_on_reply on_reply,
                            void *context);

/* The same with a descriptor, which is the call's from now on. */
enum status supervisor_pass(struct supervisor *supervisor, const struct method *method,
                            const void *request, uint64_t timeout_ms, int file,
                            rpc_on_reply on_reply, void *context);

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

/* The first one that has said how it separates, NULL for none: they all run on the same machine. */
const struct supervisor *supervisors_any(const struct deployd *deployd);
/* What separates this tenant's services from others'; of the whole when `tenant` is NULL. */
const char *supervisors_isolation(const struct deployd *deployd, const struct tenant *tenant);

#endif
