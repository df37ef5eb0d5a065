/* The pid in the file is believed only while its start time fits: pids are used again. */
#include "tenantd/claim.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "tenantd/process.h"

enum { CLAIM_WAIT_MS = 5000, CLAIM_STEP_MS = 5, CLAIM_TEXT_BYTES = 160 };

static enum status failure(const char *what)
{
    return log_failure(status_from_errno(errno), what, "file", ".supervisor", "reason",
                       strerror(errno));
}

/* Whose claim it is, when that process still lives. */
static bool holder_find(const char *path, int proc_fd, struct process *holder)
{
    struct buffer text = { .limit = CLAIM_TEXT_BYTES };
    uint64_t pid = 0, ticks = 0;
    bool is_found = file_read(path, &text) == STATUS_OK &&
                    buffer_append(&text, "", 1) == STATUS_OK &&
                    sscanf((const char *)text.data, "%" SCNu64 " %" SCNu64, &pid, &ticks) == 2 &&
                    process_read(proc_fd, (pid_t)pid, holder) && holder->start_ticks == ticks;
    buffer_close(&text);
    return is_found;
}

enum status claim_take(struct file_lock *claim, int log_fd, int proc_fd)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d/.supervisor", log_fd);
    enum status status = file_lock_take(claim, path, 0);
    if (status != STATUS_LOCKED)
        return status;
    struct process holder;
    if (holder_find(path, proc_fd, &holder)) {
        log_warning("ending the supervisor of another run directory", "pid", NUMBER(holder.pid));
        process_kill(proc_fd, &holder);
    }
    status = file_lock_take(claim, path, CLAIM_WAIT_MS);
    return status == STATUS_LOCKED
               ? log_failure(status, "claim a tenant", "reason",
                             "a supervisor with another run directory holds it and does not end")
               : status;
}

/* Which directory it is; nothing when there is none. */
static struct stat directory_of(int cgroup)
{
    struct stat stat = { 0 };
    if (cgroup < 0 || fstat(cgroup, &stat) < 0)
        stat.st_dev = stat.st_ino = 0;
    return stat;
}

/* What the last one that signed says of itself; false when that cannot be read. */
struct signature {
    struct process self;
    bool is_of_this_boot, is_enclosed;
    uint64_t device, inode;
};

static bool signature_read(const struct file_lock *claim, struct signature *signature)
{
    char text[CLAIM_TEXT_BYTES] = "", boot_id[BOOT_ID_BYTES], now[BOOT_ID_BYTES];
    uint64_t pid;
    int is_enclosed = 0;
    *signature = (struct signature){ 0 };
    if (pread(claim->fd, text, sizeof text - 1, 0) <= 0 || clock_boot_id(now) != STATUS_OK ||
        sscanf(text, "%" SCNu64 " %" SCNu64 " %36s %" SCNu64 " %" SCNu64 " %d\n", &pid,
               &signature->self.start_ticks, boot_id, &signature->device, &signature->inode,
               &is_enclosed) < 5)
        return false;
    signature->self.pid = (pid_t)pid;
    signature->is_of_this_boot = strcmp(boot_id, now) == 0;
    signature->is_enclosed = is_enclosed == 1;
    return true;
}

bool claim_is_within(const struct file_lock *claim, int cgroup)
{
    struct signature signature;
    const struct stat directory = directory_of(cgroup);
    if (directory.st_ino == 0 || !signature_read(claim, &signature))
        return false;
    return !signature.is_of_this_boot ||
           (directory.st_dev == signature.device && directory.st_ino == signature.inode);
}

/* An init is a zombie only when nothing is left in its namespace. */
static bool has_ended(int proc_fd, const struct process *process)
{
    struct process now;
    return !process_read(proc_fd, process->pid, &now) || now.start_ticks != process->start_ticks ||
           now.state == 'Z' || now.state == 'X';
}

bool claim_is_over(const struct file_lock *claim, int proc_fd)
{
    struct signature signature;
    if (!signature_read(claim, &signature))
        return false;
    if (!signature.is_of_this_boot)
        return true;
    if (!signature.is_enclosed)
        return false;
    for (int waited_ms = 0; !has_ended(proc_fd, &signature.self); waited_ms += CLAIM_STEP_MS) {
        if (waited_ms >= CLAIM_WAIT_MS)
            return false;
        /* At start only, before there is a loop. */
        nanosleep(&(struct timespec){ .tv_nsec = CLAIM_STEP_MS * 1000000 }, NULL);
    }
    return true;
}

enum status claim_sign(const struct file_lock *claim, uint64_t host_pid, int proc_fd, int cgroup,
                       bool is_enclosed)
{
    struct process self;
    char text[CLAIM_TEXT_BYTES], boot_id[BOOT_ID_BYTES];
    const struct stat directory = directory_of(cgroup);
    TRY(clock_boot_id(boot_id));
    if (!process_read(proc_fd, (pid_t)host_pid, &self))
        return log_failure(STATUS_INTERNAL, "read our own process", "pid", NUMBER(host_pid));
    int size =
        snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64 " %s %" PRIu64 " %" PRIu64 " %d\n",
                 host_pid, self.start_ticks, boot_id, (uint64_t)directory.st_dev,
                 (uint64_t)directory.st_ino, is_enclosed ? 1 : 0);
    if (ftruncate(claim->fd, 0) < 0 || pwrite(claim->fd, text, (size_t)size, 0) != size)
        return failure("sign the claim");
    return STATUS_OK;
}
