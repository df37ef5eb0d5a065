#ifndef SOLO_SOLOCTL_TARGET_H
#define SOLO_SOLOCTL_TARGET_H

#include "common/base/name.h"
#include "common/base/problem.h"

/* Which service or secret is meant: "TENANT/NAME", or NAME with the tenant of -t. */
struct target {
    char tenant[NAME_BYTES_MAX + 1];
    char name[NAME_BYTES_MAX + 1];
    char key[SERVICE_KEY_BYTES]; /* TENANT/NAME */
};

/* `tenant` is "" without -t. usage when a tenant is missing, when both name different ones, or when
 * a part is no name. */
enum status target_parse(const char *text, const char *tenant, struct target *target,
                         struct problem *problem);
/* The same for a secret, whose name may have capitals. */
enum status target_parse_secret(const char *text, const char *tenant, struct target *target,
                                struct problem *problem);

#endif
