#ifndef SOLO_TENANTD_LIMITS_H
#define SOLO_TENANTD_LIMITS_H

#include <stdbool.h>

#include "common/spec/spec_limits.h"
#include "tenantd/cgroup_limits.h"
#include "tenantd/spawn.h"

/* How a service is kept to the limits of its spec: by the controllers of its cgroup where they are
 * there, by rlimits of its processes otherwise, and not at all where neither can. Which it is, is
 * said. */
enum limit_way { LIMIT_NOT_ASKED, LIMIT_BY_CGROUP, LIMIT_BY_RLIMIT, LIMIT_NOT_HELD };

struct limits_held {
    enum limit_way memory, tasks, files, cpu;
    uint64_t files_given; /* fewer than asked for when we have not more to give */
};

/* What the supervisor's place offers, and the tenant's share of it. */
struct limits_site {
    bool counts_alone; /* RLIMIT_NPROC counts this tenant's processes and nobody else's */
    uint64_t processes_max, memory_bytes_max; /* of the tenant; 0: no bound */
    bool is_processes_max_held;               /* by the tenant's cgroup */
    uint64_t tasks_default;                   /* limits_tasks_default, or 0: no bound */
};

/* What a service may have that is kept by nothing else, so that a fork bomb does not fill the
 * machine's table of processes: half of that, or of what our own user may have. 0 when that cannot
 * be told. */
uint64_t limits_tasks_default(void);

/* Bounds the tenant's own directory (-1 for none). */
void limits_bound_tenant(struct limits_site *site, int cgroup);

/* Bounds a service's directory (-1 for none) before its process is started; `rlimits` gets what the
 * process has to take upon itself. */
struct limits_held limits_hold(const struct limits_site *site, const struct spec_limits *limits,
                               int cgroup, struct spawn_limits *rlimits);

/* "memory 256 MiB (cgroup), tasks 64 (rlimit, of the tenant together)"; "" for none. */
enum { LIMITS_TEXT_BYTES = 256 };
char *limits_text(char text[LIMITS_TEXT_BYTES], const struct spec_limits *limits,
                  const struct limits_held *held);

/* What limits had to do with an exit. */
enum { BREACH_TEXT_BYTES = 112 };
struct limits_breach {
    const char
        *limit; /* "memory", "tasks", "cpu"; NULL: none is known to have been reached, or nearly */
    bool is_killed;               /* by the kernel, for it */
    char text[BREACH_TEXT_BYTES]; /* "killed for memory: 256 of 256 MiB"; may be "" */
};
/* `exit_status` as waitpid has it; `use` of its directory, zeros for none; `resident_bytes_max` the
 * most that one of its processes had in memory, 0 when that is not known. */
struct limits_breach limits_breach_of(const struct spec_limits *limits,
                                      const struct limits_held *held, const struct cgroup_use *use,
                                      int exit_status, uint64_t resident_bytes_max);

#endif
