#ifndef SOLO_TENANTD_PROCESS_H
#define SOLO_TENANTD_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/process_identity.h"
#include "common/base/status.h"

/* What /proc says about a process. `proc_fd` is a descriptor of a /proc directory; pids are those
 * of its pid namespace. */
struct process {
    pid_t pid, parent, session;
    uint64_t start_ticks; /* field 22 of stat: with the pid it names one process of this boot */
    char state;           /* 'Z' and 'X' are dead already */
};

/* false when it is gone. */
bool process_read(int proc_fd, pid_t pid, struct process *process);

/* When a process was started that is known to have been made between two readings of
 * clock_boottime_ns; 0 when it is gone. Mostly that says it without a look at /proc, which is the
 * dearest call of a start. */
uint64_t process_start_ticks(int proc_fd, pid_t pid, uint64_t after_ns, uint64_t before_ns);

/* All processes, the dead that are not reaped among them, in the order of their pids. The caller
 * frees `*processes`. */
enum status processes_read(int proc_fd, struct process **processes, size_t *count);

/* What one process uses; false when it is gone. */
struct process_use {
    uint64_t resident_bytes;
    uint64_t data_bytes; /* what RLIMIT_DATA bounds, and its stack */
    uint64_t threads, cpu_ns;
};
bool process_use_read(int proc_fd, pid_t pid, struct process_use *use);

/* This process and all that hangs below it by parentage, at most `room` of them. */
size_t process_descendants(int proc_fd, pid_t pid, pid_t *pids, size_t room);

/* How many threads the processes of this uid have together. */
uint64_t process_tasks_of(int proc_fd, uid_t uid);

/* Within its exec a process has a new memory without an environment for a moment. */
bool process_is_within_exec(int proc_fd, pid_t pid);

/* The pids of our own children in the order in which they came to us, the dead that nobody has
 * reaped among them. Whoever was our child when the call began is in it. By a look at all of /proc
 * where the kernel has no list (CONFIG_PROC_CHILDREN), or when told so. The caller frees `*pids`.
 */
enum status children_read(int proc_fd, bool is_without_list, pid_t **pids, size_t *count);

/* SIGKILL to exactly this process, never to a later one with its number. `proc_fd` must be our own
 * pid namespace's. */
void process_kill(int proc_fd, const struct process *process);

/* The number of a process of our own pid namespace in the namespace that `namespace_fd`
 * (/proc/PID/ns/pid) is of; 0 if it has gone or the kernel (before Linux 6.11) does not say. */
pid_t process_number_in(int namespace_fd, pid_t pid);

/* The pid of a process that we hold a pidfd of, in the pid namespace of `proc_fd`; 0 if it has
 * gone. */
pid_t process_outer_pid(int proc_fd, int pidfd);

#endif
