#ifndef SOLO_DEPLOYD_QUOTA_H
#define SOLO_DEPLOYD_QUOTA_H

#include "deployd/deployd.h"

/* What one tenant's services may ask for together, by the settings tenant_*_max. */

/* Whether this canonical spec still fits beside what the log wants of its tenant's other services
 * and what is being deployed: resource_exhausted, with what is used and allowed, otherwise. What it
 * replaces is not counted, and what does not grow is never refused. `service` may be NULL for one
 * that is not there yet. With `keeps_place` its place is kept, on success, while its deploy is on
 * the way into the log. */
enum status quota_check(struct deployd *deployd, const char *tenant_name, struct service *service,
                        struct span canonical, bool keeps_place, struct problem *problem);

/* After what the log wants of a tenant has changed: has resource_usage_high recorded, with `cause`,
 * for each total of which 90 % are used now; once, until less than 75 % are. */
void quota_look(struct deployd *deployd, struct tenant *tenant, uint64_t cause);

/* Whether one of its totals was nearly used up when it was looked at last. */
bool quota_is_high(const struct tenant *tenant);

/* A list of maps with total, field, used, allowed and is_size, of those that are bounded. */
void quota_write(struct deployd *deployd, struct tenant *tenant, struct buffer *buffer);
/* The same with `growth`: what this spec would add, `service` and `tenant` NULL for those that are
 * not there yet. */
enum status quota_foresee(struct deployd *deployd, struct tenant *tenant, struct service *service,
                          struct span canonical, struct buffer *buffer, struct problem *problem);

#endif
