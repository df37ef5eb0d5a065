#ifndef SOLO_TENANTD_SERVICE_PROCESS_H
#define SOLO_TENANTD_SERVICE_PROCESS_H

#include "tenantd/service.h"

/* For service.c: its process comes and goes. */

/* Starts it: on success it is running, or starting and watched until it is ready (see
 * service_readiness.h for `after_attempt`), and who waited for its start is answered. Otherwise
 * nothing has changed but the problem, which says why. */
enum status service_process_begin(struct service *service,
                                  void (*after_attempt)(struct service *service),
                                  struct problem *problem);
/* It could not be started, for good: it becomes `failed`, and says why. */
void service_start_failed(struct service *service, const char *why);
/* It is ready: it becomes `running`, its start is reported, and who waited is answered. */
void service_is_ready(struct service *service);
/* Starts its readiness probe beside it: same rights, same environment, same tree. */
enum status service_probe_begin(struct service *service, pid_t *pid, struct problem *problem);

/* Its process has ended: notes what its limits had to do with that. */
void service_breach_find(struct service *service);

/* The shorter of what the spec allows and what was asked for. */
uint64_t service_grace_ms(const struct service *service);
/* Sends the stop signal to its process group. */
void service_process_ask(struct service *service);
/* SIGKILL to whatever can be named at once; the rest of the tree follows when it has ended. */
void service_process_kill(struct service *service);

#endif
