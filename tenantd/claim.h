#ifndef SOLO_TENANTD_CLAIM_H
#define SOLO_TENANTD_CLAIM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/file_lock.h"
#include "common/base/status.h"

/* One supervisor per tenant of a DATA, whatever its RUN: the lock in RUN/internal keeps two of one
 * RUN apart, and a RUN can be moved or emptied while its supervisors live. They would start their
 * services again beside ours. The claim lies in DATA/logs/T, which is ours alone; the file says who
 * holds it. */

/* Takes the claim, ending the supervisor that holds it: its RUN is not ours, so nobody could ever
 * reach it again. `proc_fd` is the host's /proc. locked when the holder cannot be ended. */
enum status claim_take(struct file_lock *claim, int log_fd, int proc_fd);

/* Says who holds it: our host pid. `cgroup` is the directory that holds everything we shall start
 * and that nothing of it can leave, or -1. `is_enclosed`: nothing of it can leave our pid namespace
 * either, whose init we are. */
enum status claim_sign(const struct file_lock *claim, uint64_t host_pid, int proc_fd, int cgroup,
                       bool is_enclosed);

/* Both are to be asked before we sign, of the supervisor that signed last. Whether it can have left
 * processes nowhere but in `cgroup`: it held everything there, or was of an earlier boot. */
bool claim_is_within(const struct file_lock *claim, int cgroup);
/* Whether it can have left none at all: everything was enclosed and it has ended, which is waited
 * for, or it was of an earlier boot. */
bool claim_is_over(const struct file_lock *claim, int proc_fd);

#endif
