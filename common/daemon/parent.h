#ifndef SOLO_COMMON_DAEMON_PARENT_H
#define SOLO_COMMON_DAEMON_PARENT_H

#include "common/daemon/lifecycle.h"

/* What a daemon and its parent (solod or systemd: a daemon cannot tell) say to each other, by what
 * the parent put into the environment. Nothing happens without a parent. A supervisor has none:
 * tenantd does not link this. */

/* Logs to the journal where that is what stderr is (journal.h). Feeds the parent's watchdog from
 * the loop, when it has one, so that a loop that hangs is noticed; says STOPPING=1 when the stop
 * begins. */
enum status parent_join(struct lifecycle *lifecycle);

void parent_ready(void); /* READY=1 */
/* STATUS=..., on one line. */
void parent_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, from work that goes on and may keep the loop from turning: the watchdog is fed, and a
 * start or stop that takes long may take another minute. */
void parent_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The listening socket passed by the parent under `name` (LISTEN_FDNAMES), or, when there is no
 * parent, a new one at RUN/NAME.sock (mode 0666). Close-on-exec, does not block. */
enum status parent_listener(const char *run_dir, const char *name, int *fd);

#endif
