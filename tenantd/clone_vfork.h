#ifndef SOLO_TENANTD_CLONE_VFORK_H
#define SOLO_TENANTD_CLONE_VFORK_H

#include <stdbool.h>
#include <sys/types.h>

/* Makes a child that shares our memory and runs `child(argument)` on a stack of its own, while we
 * are suspended until it has exec'd or exited (vfork semantics: no page table is copied). The child
 * may make system calls and nothing else: no allocation, no libc function that keeps state.
 *
 * `cgroup` is a descriptor of a cgroup v2 directory in which the child begins, or -1. Where the
 * kernel or the processor's port cannot do that, *is_in_cgroup is false and the child has to move
 * itself; it is written before the child runs. `pidfd` may be NULL. Returns the pid, or -1 with
 * errno. */
pid_t clone_vfork(int (*child)(void *argument), void *argument, int cgroup, bool *is_in_cgroup,
                  int *pidfd);

#endif
