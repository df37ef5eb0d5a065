/* Open-file-description locks: they belong to the descriptor, not to the process, so closing some
 * other descriptor of the same file does not drop them. */
#include "common/base/file_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/process_identity.h"

enum { SIGNATURE_BYTES = 64 };

enum status file_lock_take(struct file_lock *lock, const char *path, uint64_t wait_ms)
{
    AUTO(fd_close) int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return log_failure(status_from_errno(errno), "open lock", "path", path, "reason",
                           strerror(errno));
    uint64_t deadline = clock_boottime_ns() + wait_ms * 1000000u;
    for (;;) {
        struct flock request = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        if (fcntl(fd, F_OFD_SETLK, &request) == 0)
            break;
        if (errno != EAGAIN && errno != EACCES)
            return log_failure(status_from_errno(errno), "lock", "path", path, "reason",
                               strerror(errno));
        if (clock_boottime_ns() >= deadline)
            return STATUS_LOCKED;
        /* At start only, before there is a loop; the kernel has no timed form of F_OFD_SETLKW. */
        nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000000 }, NULL);
    }
    lock->fd = fd;
    fd = -1;
    return STATUS_OK;
}

void file_lock_release(struct file_lock *lock)
{
    if (lock->fd > 0)
        close(lock->fd);
    lock->fd = -1;
}

enum status file_lock_sign(const struct file_lock *lock, uint64_t pid, uint64_t start_ticks)
{
    char text[SIGNATURE_BYTES];
    int size = snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64 "\n", pid, start_ticks);
    if (ftruncate(lock->fd, 0) < 0 || pwrite(lock->fd, text, (size_t)size, 0) != size)
        return log_failure(status_from_errno(errno), "sign a lock", "reason", strerror(errno));
    return STATUS_OK;
}

/* The lock is asked last: held still, the pid that was read is its holder's, or was signed by one
 * that has ended, which its start time shows. */
enum status file_lock_holder(const char *path, uint64_t *pid, int *pidfd)
{
    AUTO(buffer_close) struct buffer text = { .limit = SIGNATURE_BYTES };
    AUTO(fd_close) int opened = -1;
    uint64_t read_pid = 0, ticks = 0;
    bool is_held = false;
    TRY(file_read(path, &text));
    TRY(buffer_append(&text, "", 1));
    bool is_signed =
        sscanf((const char *)text.data, "%" SCNu64 " %" SCNu64, &read_pid, &ticks) == 2 &&
        read_pid > 1;
    if (is_signed)
        opened = (int)syscall(SYS_pidfd_open, (pid_t)read_pid, 0);
    is_signed = opened >= 0 && process_lives(read_pid, ticks);
    TRY(file_lock_is_held(path, &is_held));
    if (!is_held || !is_signed)
        return is_held ? STATUS_UNAVAILABLE : STATUS_NOT_FOUND;
    *pid = read_pid;
    *pidfd = opened;
    opened = -1;
    return STATUS_OK;
}

enum status file_lock_is_held(const char *path, bool *is_held)
{
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        *is_held = false;
        return STATUS_OK;
    }
    struct flock request = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
    if (fd < 0 || fcntl(fd, F_OFD_GETLK, &request) < 0)
        return log_failure(status_from_errno(errno), "ask for lock", "path", path, "reason",
                           strerror(errno));
    *is_held = request.l_type != F_UNLCK;
    return STATUS_OK;
}
