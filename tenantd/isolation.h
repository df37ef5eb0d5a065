#ifndef SOLO_TENANTD_ISOLATION_H
#define SOLO_TENANTD_ISOLATION_H

#include "tenantd/options.h"
#include "tenantd/site.h"

/* Goes on as another process, which is nobody's child and has the tenant to itself: as root pid 1
 * of a new pid and mount namespace, as an ordinary user the same within a user namespace, and where
 * neither is permitted a subreaper. Each way that fails at any step is followed by the next plainer
 * one. There is no exec: open descriptors, and with them the tenant's lock, stay.
 *
 * Returns only in the new process, with site->isolation, proc_fd, home_seen and code_seen set. The
 * old one waits and exits: 0 after isolation_ready, otherwise as the new one did. */
enum status isolation_enter(struct site *site, const struct options *options, int *ready_fd);

/* Lets the old process go: we listen now. */
void isolation_ready(int *ready_fd);

#endif
