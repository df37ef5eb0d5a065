#ifndef SOLO_TENANTD_SERVICE_READINESS_H
#define SOLO_TENANTD_SERVICE_READINESS_H

#include "common/daemon/notify_message.h"
#include "tenantd/readiness.h"
#include "tenantd/service.h"

/* For service.c: the time between its process's start and its being ready. */

/* Its process runs from now on: it is ready, or is watched until it is. `after_attempt` is called
 * when there is something to decide. false when there is no memory; then nothing has changed. */
bool service_readiness_begin(struct service *service,
                             void (*after_attempt)(struct service *service));
/* In `starting`, with a process: becomes `running` when it is ready; when its time is over its
 * process is ended, first with its stop signal, then without asking. */
void service_readiness_step(struct service *service);
/* In `starting`, its process has ended: what happened, in words. */
enum { UNREADY_BYTES = 224 };
char *service_unready_what(const struct service *service, char text[UNREADY_BYTES]);
bool service_readiness_is_over(const struct service *service); /* its time was */
void service_readiness_end(struct service *service);

/* What a process of the service said. */
void service_told(struct service *service, const struct notify_message *message);

#endif
