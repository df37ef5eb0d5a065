#ifndef SOLO_COMMON_DAEMON_PARENT_H
#define SOLO_COMMON_DAEMON_PARENT_H

#include <stdint.h>

#include "common/base/status.h"

/* What a service manager and its children say to each other by way of the environment
 * (sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3)): solod or systemd on the other side. */

/* "READY=1", "STATUS=..." to NOTIFY_SOCKET; nothing happens without one. A parent that does not
 * listen is no failure of ours. */
void parent_notify(const char *text);

/* The listening Unix socket that was passed under `name`, close-on-exec; -1 when there is none. */
enum status parent_listener(const char *name, int *fd);

/* How often the parent wants to hear WATCHDOG=1; 0: not at all. */
enum status parent_watchdog(uint64_t *timeout_us);

#endif
