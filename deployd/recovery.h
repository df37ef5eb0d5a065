#ifndef SOLO_DEPLOYD_RECOVERY_H
#define SOLO_DEPLOYD_RECOVERY_H

#include "deployd/deployd.h"

/* recoveryd's requests: it plans, deployd acts and writes the events. */

enum status recovery_begin(struct deployd *deployd, struct rpc_call *call,
                           const struct recovery_begin_request *request);
enum status recovery_act(struct deployd *deployd, struct rpc_call *call,
                         const struct recovery_act_request *request);
void recovery_progress(struct deployd *deployd, const struct rpc_call *call,
                       const struct recovery_progress_request *request);
enum status recovery_end(struct deployd *deployd, struct rpc_call *call,
                         const struct recovery_end_request *request);

/* What the log says of this run's recoveries, when deployd comes back. */
void recovery_restore(struct deployd *deployd, const struct run_record *record);

void recovery_close(struct deployd *deployd);

void recovery_write_status(const struct deployd *deployd, struct buffer *buffer);

/* Whether everything that is wanted waits for the recovery of this run. */
bool recovery_is_due(const struct deployd *deployd);

#endif
