#ifndef SOLO_TENANTD_START_ANSWER_H
#define SOLO_TENANTD_START_ANSWER_H

#include "tenantd/service.h"

/* What a start finds when it asks for what is there already, or nearly: a new order, one to wait
 * for, the row as it is, or something that is not older than what it asks for. */
enum answer { ANSWER_ORDER, ANSWER_JOIN, ANSWER_ROW, ANSWER_REFUSED };

/* A lower since is refused, the same generation is not started twice, and what its supervisor has
 * given up on is started again when somebody asks for just that. What deployd makes of a refusal is
 * decided by the log (deployd/fence.h). */
enum answer answer_to_start(const struct service *service, uint64_t generation, uint64_t since,
                            enum start_cause cause, bool until_ready);

/* Of what is ordered, else of what is held. */
uint64_t service_newest_since(const struct service *service);
uint64_t service_newest_generation(const struct service *service);
const struct hash *service_newest_spec_hash(const struct service *service);

#endif
