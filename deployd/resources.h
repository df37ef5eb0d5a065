#ifndef SOLO_DEPLOYD_RESOURCES_H
#define SOLO_DEPLOYD_RESOURCES_H

#include "deployd/deployd.h"

/* Looks from now on at what deployd may run out of, in deployd->resources, which its owner closes;
 * what is nearly used up is recorded once eventd takes it. */
enum status resources_open(struct deployd *deployd);

#endif
