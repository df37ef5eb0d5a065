#ifndef SOLO_TENANTD_CLONE_VFORK_H
#define SOLO_TENANTD_CLONE_VFORK_H

#include <stdbool.h>
#include <sys/types.h>

/* What the kernel has done for the child already; written before it runs. Where the kernel or the
 * processor's port cannot do that, the child has to do it itself. */
struct clone_done {
    bool is_in_cgroup;
    bool has_no_handlers; /* every signal that we handle is at its default; ignored ones are not */
};

/* Makes a child that shares our memory and runs `child(argument)` on a stack of its own, while we
 * are suspended until it has exec'd or exited (vfork semantics: no page table is copied). It shares
 * our descriptors too, until it makes a table of its own, first of all (close_range(2),
 * unshare(2)): ours may be long, and the child needs three of it. The child may make system calls
 * and nothing else: no allocation, no libc function that keeps state.
 *
 * `cgroup` is a descriptor of a cgroup v2 directory in which the child is to begin, or -1. `pidfd`
 * may be NULL. Returns the pid, or -1 with errno. */
pid_t clone_vfork(int (*child)(void *argument), void *argument, int cgroup, struct clone_done *done,
                  int *pidfd);

#endif
