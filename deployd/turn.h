#ifndef SOLO_DEPLOYD_TURN_H
#define SOLO_DEPLOYD_TURN_H

#include "deployd/deployd.h"

/* The one place where operations are begun and carried on, once per turn of the loop, before it
 * sleeps. Callbacks record what happened and mark the queue of its service. */

/* Steps marked queues and begins what reconciling found, as far as one turn allows. False when
 * nothing is left; true when the loop should come round again without sleeping. */
bool turn_step(struct deployd *deployd);

#endif
