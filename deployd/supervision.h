#ifndef SOLO_DEPLOYD_SUPERVISION_H
#define SOLO_DEPLOYD_SUPERVISION_H

#include "deployd/supervisor.h"

/* What follows when something happens to a supervisor: the one place that knows both the
 * supervisors' lives, which tell it, and the parts that decide. */
extern const struct supervisor_events supervision;

#endif
