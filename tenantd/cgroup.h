#ifndef SOLO_TENANTD_CGROUP_H
#define SOLO_TENANTD_CGROUP_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/base/status.h"
#include "tenantd/cgroup_limits.h"

/* One cgroup v2 directory per service, below our own: what is born in it stays in it, however often
 * it forks and whatever it does to its session and environment, and cgroup.kill ends all of it.
 * Needs no controllers. Where there is no writable v2 tree, or none with cgroup.kill, `fd` is -1.
 */
struct cgroup {
    int fd;             /* the tenant's directory */
    bool has_leftovers; /* an earlier supervisor's empty directories may be below it */
};
#define CGROUP_NONE ((struct cgroup){ .fd = -1 })

/* Finds the mount and makes <place>/solo-<store id>/t-<tenant>. Not having it is no failure. The
 * place is solo-tenants.service beside the unit of systemd that we are in, and we move there, too
 * (systemd/units says why); without one our own cgroup, or the one above, where that can bound
 * children and ours cannot. */
void cgroup_open(struct cgroup *cgroup, const char *store_id, const char *tenant);
/* Removes the tenant's directory if it is empty. */
void cgroup_close(struct cgroup *cgroup);

/* Kills what an earlier supervisor left in the tenant's directories; waits up to five seconds. The
 * directories are removed, unless nothing had to be killed and they are as good as new ones:
 * without controllers they count and bound nothing, and `is_out_of_reach` of what ran in them
 * nothing of theirs was changed. Then they stay, because most are needed again at once and making
 * one costs as much as the start itself. */
enum status cgroup_end_leftovers(struct cgroup *cgroup, bool is_out_of_reach);
/* Removes the directories in which no process is. */
void cgroup_remove_leftovers(const struct cgroup *cgroup);

/* A directory for a service; the caller closes `fd`. */
enum status cgroup_service_open(const struct cgroup *cgroup, const char *service, int *fd);
/* What is known of its limits and their breaches. */
struct cgroup_use cgroup_service_use(const struct cgroup *cgroup, const char *service);
/* What is used now, and by whom: both nothing where there is no directory. At most `room` pids, of
 * our own pid namespace. */
struct cgroup_load cgroup_service_load(const struct cgroup *cgroup, const char *service);
size_t cgroup_service_pids(const struct cgroup *cgroup, const char *service, pid_t *pids,
                           size_t room);
void cgroup_service_kill(const struct cgroup *cgroup, const char *service);
/* true when no process is left in it; the directory is then gone as well, if it can be. */
bool cgroup_service_remove(const struct cgroup *cgroup, const char *service);

#endif
