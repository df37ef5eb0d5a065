#ifndef SOLO_DEPLOYD_VERIFICATION_H
#define SOLO_DEPLOYD_VERIFICATION_H

#include "deployd/deployd.h"

/* The repairs of `recoveryd verify --fix` that are no actions of a plan. */

/* Appends inconsistency_found, or inconsistency_fixed when the request names what was found. */
enum status verification_record(struct deployd *deployd, struct rpc_call *call,
                                const struct verification_record_request *request);

/* Kills one process, if it is still the one that is meant and no supervisor holds its instance:
 * failed_precondition when one does. */
enum status verification_end_process(struct deployd *deployd,
                                     const struct process_end_request *request,
                                     struct problem *problem);

#endif
