#ifndef SOLO_RECOVERYD_FAIR_ORDER_H
#define SOLO_RECOVERYD_FAIR_ORDER_H

#include "common/plan/plan.h"

/* The places, in plan->entries, of what is to be carried out (start, replace, stop), one of each
 * tenant in turn, so that a tenant with a thousand services does not hold up one with a single
 * service. A tenant's own entries keep the plan's order. `order` has room for plan->count; returns
 * how many there are. resource_exhausted when memory runs out. */
enum status fair_order(const struct plan *plan, size_t *order, size_t *count);

#endif
