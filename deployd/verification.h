#ifndef SOLO_DEPLOYD_VERIFICATION_H
#define SOLO_DEPLOYD_VERIFICATION_H

#include "deployd/deployd.h"

/* The repairs of `recoveryd verify --fix` that are no actions of a plan, and what the last
 * verification found. */

/* Appends inconsistency_found, or inconsistency_fixed when the request names what was found. */
enum status verification_record(struct deployd *deployd, struct rpc_call *call,
                                const struct verification_record_request *request);

/* A verification has ended, and solod is not there to keep what it found: kept in the registry. */
void verification_note(struct deployd *deployd, const struct verification_note_request *result);
/* The newest of these: a map of what it found, and when; an empty one for none in this boot. */
void verification_write(struct deployd *deployd, struct buffer *map);

/* Kills one process, if it is still the one that is meant and no supervisor holds its instance:
 * failed_precondition when one does. */
enum status verification_end_process(struct deployd *deployd,
                                     const struct process_end_request *request,
                                     struct problem *problem);

#endif
