#ifndef SOLO_DEPLOYD_QUOTA_H
#define SOLO_DEPLOYD_QUOTA_H

#include "deployd/deployd.h"

/* What one tenant's services may ask for together, by the settings tenant_*_max. */

/* Whether this canonical spec still fits beside what the log wants of its tenant's other services
 * and what is being deployed: resource_exhausted, with what is used and allowed, otherwise. What it
 * replaces is not counted, and what does not grow is never refused. `service` may be NULL for one
 * that is not there yet. On success the service's place is kept while its deploy is on the way into
 * the log. */
enum status quota_check(struct deployd *deployd, const char *tenant_name, struct service *service,
                        struct span canonical, struct problem *problem);

#endif
