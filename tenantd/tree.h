#ifndef SOLO_TENANTD_TREE_H
#define SOLO_TENANTD_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "tenantd/process.h"

/* Finds and kills what is left of services whose main process has ended, where there is no cgroup
 * to do it. Processes whose parent died are handed to us (as init of a pid namespace, or as
 * subreaper), so everything that no living main process accounts for hangs below a child of ours
 * that we did not start: an orphan. It belongs to the service whose mark (SOLO_INSTANCE) it
 * carries, or in whose session it is; without both it is a stray, is nobody's, and is killed.
 *
 * How one that forks and ends without pause is not overlooked: the kernel hands a dying process's
 * children to us in the same step in which it dies, and our list of children loses nobody before
 * we reap it. So whatever lives at the start of a look has an ancestor in the list, and a look
 * that found no orphan, dead or alive, proves that none lived when it began. */
struct orphan;
struct tree {
    int proc_fd;             /* /proc of our own pid namespace */
    bool is_without_list;    /* of children: all of /proc is read instead */
    const char *mark_prefix; /* "<store id>/<tenant>/" */
    /* Orphans that the last look saw, in the order in which they came to us. */
    struct orphan *orphans;
    size_t orphan_count;
    uint64_t turn;
};

/* Who owns what; an owner is whatever the caller likes, NULL for nobody. */
struct tree_services {
    void *context;
    bool (*is_started)(void *context, pid_t pid);      /* by us, and will be waited for */
    void *(*by_session)(void *context, pid_t session); /* whose last main process led it */
    void *(*by_mark)(void *context, const char *mark);
    /* Called for each orphan with an owner; true: kill it. */
    bool (*must_end)(void *context, void *owner);
};

struct tree_left {
    size_t strays;  /* that belong to nobody or have just died: nothing can be called empty */
    bool is_moving; /* new ones were killed or reaped: look again at once */
};

void tree_close(struct tree *tree);

/* Before the first look of a turn: owners may have changed, and children may have been reaped, what
 * nobody but tree_look may do until the last look of the turn. */
void tree_begin(struct tree *tree);

/* One look at our children. Reaps dead orphans, kills strays and what must end. */
enum status tree_look(struct tree *tree, const struct tree_services *services,
                      struct tree_left *left);

/* Ends every process on the machine whose mark begins with `mark_prefix`, in rounds until two find
 * none; waits up to five seconds. As root, `uid` narrows the search to the tenant's; otherwise to
 * our own. For the start of a supervisor, in the host's pid namespace. */
enum status tree_end_leftovers(int proc_fd, const char *mark_prefix, uid_t uid);

#endif
