#ifndef SOLO_DEPLOYD_TENANTS_H
#define SOLO_DEPLOYD_TENANTS_H

#include "deployd/deployd.h"

/* Tenants in the log: each has an index, given once and never again, from which its uid follows. */

/* Appends tenant_created, once; operations that wait in `tenant` go on (or are refused) afterwards.
 */
void tenant_create(struct deployd *deployd, struct tenant *tenant,
                   void (*on_done)(struct tenant *tenant, const struct problem *refusal));

/* Reads all tenants of the log into the catalog. */
enum status tenants_load(struct deployd *deployd);

#endif
