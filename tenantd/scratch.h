#ifndef SOLO_TENANTD_SCRATCH_H
#define SOLO_TENANTD_SCRATCH_H

#include "tenantd/site.h"

/* The folder that a build works in: RUN/tenants/T/NAME, the tenant's own, with the source file in
 * it. Emptied with RUN/tenants/T when a supervisor starts. */

/* Makes it. The caller closes `*fd`. */
enum status scratch_make(const struct site *site, const char *name, const char *code_name,
                         struct span code, int *fd);
/* Removes it and everything in it, whatever the tenant made of it. */
void scratch_remove(const struct site *site, const char *name);

/* Whether what is in it is within the bounds of a build; otherwise `*what` says which one is not.
 */
bool scratch_is_within(int fd, const char **what);

#endif
