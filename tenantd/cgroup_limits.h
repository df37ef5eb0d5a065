#ifndef SOLO_TENANTD_CGROUP_LIMITS_H
#define SOLO_TENANTD_CGROUP_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

/* What the controllers of cgroup v2 do for a directory of ours: bound what is in it, and tell what
 * it used. A controller that is not there is no failure; the answer says so. `fd` is the directory.
 */

/* Hands the controllers memory, pids and cpu down to the directory's children, as far as the kernel
 * lets us. True when children can have a bound of memory and of tasks. */
bool cgroup_hand_down(int fd);
/* Whether its children have any controller; true when that cannot be told. */
bool cgroup_hands_down(int fd);

/* Each true when the bound holds from now on. */
bool cgroup_bound_memory(int fd, uint64_t bytes); /* swap included */
bool cgroup_bound_tasks(int fd, uint64_t tasks);
bool cgroup_bound_cpu(int fd, uint64_t cpu_milli);

/* When the kernel kills one of its processes for memory, its own bound's or one above, it kills
 * them all. Not for a directory with several services in it: they would all die of one. */
void cgroup_end_together(int fd);

/* What happened in it since it was made; what cannot be read is 0. */
struct cgroup_use {
    uint64_t memory_peak_bytes;
    uint64_t memory_bound_hits; /* allocations that its own bound refused */
    uint64_t memory_kills;      /* processes of it that were killed for memory, whoever lacked it */
    uint64_t forks_refused;
    uint64_t throttled_us;
};
struct cgroup_use cgroup_use_read(int fd);

/* What is used in it now; the kernel tells each only where it counts it. */
struct cgroup_load {
    bool has_memory, has_tasks, has_cpu;
    uint64_t memory_bytes; /* without the cache of files that could be dropped */
    uint64_t tasks, cpu_ns;
};
struct cgroup_load cgroup_load_read(int fd);

#endif
