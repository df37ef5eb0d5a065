#ifndef SOLO_DEPLOYD_METHODS_H
#define SOLO_DEPLOYD_METHODS_H

#include "deployd/deployd.h"

/* Once at start: what can be asked. */
void methods_setup(struct deployd *deployd);
/* Begins to answer: when deployd is ready, or knows that it is damaged. */
enum status methods_open(struct deployd *deployd);

#endif
