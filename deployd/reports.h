#ifndef SOLO_DEPLOYD_REPORTS_H
#define SOLO_DEPLOYD_REPORTS_H

#include "deployd/deployd.h"

/* What supervisors report goes into the log under their own numbers (source "tenantd/TENANT"), so
 * that a report that comes twice is recorded once; what is recorded is acknowledged to the
 * supervisor, which keeps it until then. */

/* A notification supervisor.report. */
void reports_take(struct supervisor *supervisor, struct span report);

/* A connection was made: its supervisor will send again everything that was not acknowledged. */
void reports_connected(struct supervisor *supervisor);

/* For before_sleep: one acknowledgement per supervisor and turn. */
void reports_acknowledge(struct deployd *deployd);

/* Records that everything the supervisor ran ended with it, in few batches. */
void reports_supervisor_died(struct supervisor *supervisor);

/* For the end, when eventd's client closes and calls back no more. */
void reports_close(struct deployd *deployd);

#endif
