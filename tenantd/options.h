#ifndef SOLO_TENANTD_OPTIONS_H
#define SOLO_TENANTD_OPTIONS_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/daemon/settings.h"

enum { STORE_ID_DIGITS = 32 };

/* tenantd's own part of the command line; the rest is settings. */
struct options {
    const char *tenant;
    const char *store_id;          /* STORE_ID_DIGITS hexadecimal digits */
    const char *store_incarnation; /* the same; NULL: not said */
    bool has_uid, has_gid;
    uid_t uid;
    gid_t gid;
    /* The plain paths on request: for tests, and for a machine whose namespaces or cgroups
     * misbehave. */
    bool without_namespaces;
    bool without_cgroup;
    bool is_bad; /* an argument of ours did not parse; said on stderr */
};

extern const char options_usage[];

/* For struct settings_own; `context` is a struct options. */
int options_take(void *context, const char *argument, const char *next);
/* After settings_load: everything that is required is there. `usage`, with a message on stderr. */
enum status options_check(const struct options *options);

#endif
