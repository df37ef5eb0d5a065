/* Supervisors are nobody's children. Each says in its lock who it is, from the moment that it has
 * it: one that hangs, or does not listen yet, is found as well. */
#include "solod/supervisors.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"

enum { LOOK_MS = 20, KILL_MS = 2000 };

static enum status supervisor_signal(const char *lock_path, const char *tenant, int number)
{
    AUTO(fd_close) int pidfd = -1;
    uint64_t pid;
    TRY(file_lock_holder(lock_path, &pid, &pidfd));
    log_write(number == SIGKILL ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO,
              number == SIGKILL ? "supervisor is killed" : "supervisor is told to end", "tenant",
              tenant, "pid", NUMBER(pid), (const char *)0);
    return syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0) == 0 || errno == ESRCH
               ? STATUS_OK
               : status_from_errno(errno);
}

struct signalling {
    const char *run_dir;
    int number;
};

static enum status signal_one(void *context, const char *tenant)
{
    const struct signalling *signalling = context;
    char path[4096];
    enum status status = tenant_lock_path(path, signalling->run_dir, tenant);
    if (status == STATUS_OK)
        status = supervisor_signal(path, tenant, signalling->number);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        log_error("supervisor cannot be ended, its services go on", "tenant", tenant, "lock", path,
                  "status", status_name(status));
    return STATUS_OK;
}

static void signal_all(const char *run_dir, int number)
{
    struct signalling signalling = { .run_dir = run_dir, .number = number };
    (void)tenants_locked_each(run_dir, signal_one, &signalling); /* what failed was logged there */
}

void supervisors_kill(const char *run_dir)
{
    signal_all(run_dir, SIGKILL);
}

static bool are_gone_within(const char *run_dir, uint64_t timeout_ms)
{
    const struct timespec moment = { .tv_nsec = LOOK_MS * 1000000 };
    uint64_t end_ns = clock_boottime_ns() + timeout_ms * 1000000;
    bool are_there = supervisors_are_there(run_dir);
    for (; are_there && clock_boottime_ns() < end_ns; are_there = supervisors_are_there(run_dir))
        nanosleep(&moment, NULL);
    return !are_there;
}

bool supervisors_end(const char *run_dir, uint64_t timeout_ms)
{
    (void)run_id_forget(run_dir); /* what failed was logged there */
    signal_all(run_dir, SIGTERM);
    if (are_gone_within(run_dir, timeout_ms))
        return true;
    signal_all(run_dir, SIGKILL);
    if (!are_gone_within(run_dir, KILL_MS))
        log_error("some supervisors are still there");
    return false;
}

static enum status found_one(void *context, const char *tenant)
{
    (void)tenant;
    *(bool *)context = true;
    return STATUS_OK;
}

bool supervisors_are_there(const char *run_dir)
{
    bool is_found = false;
    return tenants_locked_each(run_dir, found_one, &is_found) != STATUS_OK || is_found;
}
