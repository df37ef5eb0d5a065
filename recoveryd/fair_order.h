#ifndef SOLO_RECOVERYD_FAIR_ORDER_H
#define SOLO_RECOVERYD_FAIR_ORDER_H

#include "common/plan/plan.h"

/* The places, in plan->entries, of what is handed to deployd, one of each tenant in turn, so that a
 * tenant with a thousand services does not hold up one with a single service. A tenant's own
 * entries keep the plan's order. It is what is to be started, replaced or stopped, and what cannot
 * be recovered, does not run either and was not tried in this run: deployd's attempt records why.
 * `order` has room for plan->count; `count` is how many there are. resource_exhausted when memory
 * runs out. */
enum status fair_order(const struct plan *plan, size_t *order, size_t *count);

#endif
