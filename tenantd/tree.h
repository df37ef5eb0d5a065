#ifndef SOLO_TENANTD_TREE_H
#define SOLO_TENANTD_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "tenantd/process.h"

/* Finds and kills what is left of services whose main process has ended, where there is no cgroup
 * to do it. Processes whose parent died are handed to us (as init of a pid namespace, or as
 * subreaper), so everything that a living main process does not account for hangs below us. Such an
 * orphan and what hangs below it belongs to the service whose mark (SOLO_INSTANCE) it carries, or
 * in whose session it is. One round serves all services that are being ended. */
struct tree {
    int proc_fd; /* /proc of our own pid namespace */
    pid_t self;
    bool is_own_namespace;   /* every process in it is ours */
    const char *mark_prefix; /* "<store id>/<tenant>/" */
    /* Orphans without mark and session that the last round saw: killed if they are still so in the
     * next one (between fork and exec a process has no environment for a moment). */
    struct process *strays;
    size_t stray_count;
};

/* Who owns what; an owner is whatever the caller likes, NULL for nobody. */
struct tree_services {
    void *context;
    void *(*by_main)(void *context, pid_t pid);        /* whose living main process this is */
    void *(*by_session)(void *context, pid_t session); /* whose last main process led it */
    void *(*by_mark)(void *context, const char *mark);
    /* Called for each process that was found; true: kill it. */
    bool (*must_end)(void *context, void *owner);
};

void tree_close(struct tree *tree);

/* One look at all processes. `*strays` counts those that belong to nobody, killed or not: the round
 * has to be repeated. */
enum status tree_round(struct tree *tree, const struct tree_services *services, size_t *strays);

/* Ends every process on the machine whose mark begins with `mark_prefix`, in rounds until two find
 * none; waits up to five seconds. As root, `uid` narrows the search to the tenant's; otherwise to
 * our own. For the start of a supervisor, in the host's pid namespace. */
enum status tree_end_leftovers(int proc_fd, const char *mark_prefix, uid_t uid);

#endif
