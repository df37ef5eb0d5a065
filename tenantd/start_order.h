#ifndef SOLO_TENANTD_START_ORDER_H
#define SOLO_TENANTD_START_ORDER_H

#include "tenantd/service.h"

/* Who waits for a start: for the one that is under way, or for the one that is ordered and comes
 * when what runs has ended. */

/* It is to be held as this service_row says, parked. The row is copied. */
enum status start_order_park(struct start_order *order, struct span row);
void start_order_free(struct start_order *order);
/* The order that waits, if any, is not carried out; its callers are told why. */
void start_order_drop(struct service *service, enum status status, const char *why);

/* Adds a call to those that wait for the start of what is held or ordered, or until it is ready. */
void service_join(struct service *service, struct rpc_call *call, bool until_ready);
/* What is about to be started is started for this event as well, when that is the newer one: its
 * report will say so. */
void service_lead(struct service *service, uint64_t cause_id);

/* The start under way is given up for the order, which starts the same generation again: who waits
 * for that goes on waiting. */
void start_waiters_keep(struct service *service, struct start_order *order);
/* Who waits for the start under way is told what became of it, or that it is not carried out. */
void start_waiters_fail(struct service *service, const struct problem *problem);
void start_waiters_abort(struct service *service, const char *why);

#endif
