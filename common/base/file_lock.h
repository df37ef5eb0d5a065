#ifndef SOLO_COMMON_BASE_FILE_LOCK_H
#define SOLO_COMMON_BASE_FILE_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/status.h"

/* An exclusive open-file-description lock (fcntl(2), F_OFD_SETLK) on a file of its own, created
 * 0600. It goes with the last descriptor of the open file, so it is close-on-exec and dies with its
 * holder. `fd` is 0-initialised as { .fd = -1 }. */
struct file_lock {
    int fd;
};
#define FILE_LOCK_NONE ((struct file_lock){ .fd = -1 })

/* Takes the lock, waiting up to `wait_ms` for a dying holder. STATUS_LOCKED when somebody holds it
 * (not logged: the caller knows what it means). */
enum status file_lock_take(struct file_lock *lock, const char *path, uint64_t wait_ms);
void file_lock_release(struct file_lock *lock);

/* The holder says who it is, since the lock does not: process `pid`, which began at `start_ticks`
 * (see process_ticks). */
enum status file_lock_sign(const struct file_lock *lock, uint64_t pid, uint64_t start_ticks);
/* Who holds it, by what the holder says: its pid and a descriptor of it (pidfd_open), which the
 * caller owns. not_found when nobody holds it, unavailable when the holder has not signed (yet);
 * neither is logged. */
enum status file_lock_holder(const char *path, uint64_t *pid, int *pidfd);

/* Whether somebody holds it now; asks only, creates nothing. A file that is not there is not held.
 */
enum status file_lock_is_held(const char *path, bool *is_held);

#endif
