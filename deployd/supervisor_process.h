#ifndef SOLO_DEPLOYD_SUPERVISOR_PROCESS_H
#define SOLO_DEPLOYD_SUPERVISOR_PROCESS_H

#include "deployd/deployd.h"

/* The process of a supervisor: its lock, its start, its end. */

enum status supervisor_lock_path(const struct deployd *deployd, const char *tenant,
                                 char path[4096]);
enum status supervisor_socket_path(const struct deployd *deployd, const char *tenant,
                                   char path[4096]);

/* Starts tenantd, which lies beside this program, in a session of its own. *pid is our child: the
 * outer half, which ends as soon as the inner one listens; *pidfd (close-on-exec, the caller's)
 * becomes readable then. Failures are logged and said in `problem`. */
enum status supervisor_process_start(struct deployd *deployd, const struct tenant *tenant, int *pid,
                                     int *pidfd, char problem[256]);

/* Collects the child after its pidfd became readable; says in `problem` how it ended. OK: it
 * listens; locked: another supervisor of this tenant runs already. */
enum status supervisor_process_collect(int pidfd, char problem[256]);

/* Calls `visit` with each tenant whose lock is held. */
enum status supervisor_locks_each(struct deployd *deployd,
                                  void (*visit)(struct deployd *deployd, const char *tenant));

#endif
