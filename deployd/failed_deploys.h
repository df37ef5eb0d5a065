#ifndef SOLO_DEPLOYD_FAILED_DEPLOYS_H
#define SOLO_DEPLOYD_FAILED_DEPLOYS_H

#include "deployd/deployd.h"

/* Reads the failures of first deploys from the log into the catalog, so that they are shown after a
 * start of deployd as before it: with the last exits while the registry still has them. After what
 * is wanted was read. */
enum status failed_deploys_load(struct deployd *deployd);

#endif
