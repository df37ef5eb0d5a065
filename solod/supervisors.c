/* Supervisors are nobody's children. The kernel names the process behind a listening socket
 * (SO_PEERCRED gives who called listen), without that process having to answer. */
#include "solod/supervisors.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"
#include "common/base/unix_socket.h"

enum { LOOK_MS = 20, KILL_MS = 2000 };

/* Whether a supervisor of that tenant ran. The pidfd is taken while the connection proves that the
 * pid is the listener's, and the lock is asked after it: held by the same process, or it is gone.
 */
static bool supervisor_signal(const char *run_dir, const char *tenant, int number)
{
    char socket_path[4096], lock_path[4096];
    if (tenant_socket_path(socket_path, run_dir, tenant) != STATUS_OK ||
        tenant_lock_path(lock_path, run_dir, tenant) != STATUS_OK)
        return false;
    AUTO(fd_close) int connection = -1;
    struct ucred peer = { 0 };
    socklen_t size = sizeof peer;
    if (unix_socket_connect(socket_path, &connection) != STATUS_OK ||
        getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.pid <= 1)
        return false;
    AUTO(fd_close) int pidfd = (int)syscall(SYS_pidfd_open, peer.pid, 0);
    bool is_held = false;
    if (pidfd < 0 || file_lock_is_held(lock_path, &is_held) != STATUS_OK || !is_held)
        return false;
    log_write(number == SIGKILL ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO,
              number == SIGKILL ? "supervisor is killed" : "supervisor is told to end", "tenant",
              tenant, "pid", NUMBER(peer.pid), (const char *)0);
    return syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0) == 0;
}

struct signalling {
    const char *run_dir;
    int number;
    size_t count;
};

static enum status signal_one(void *context, const char *tenant)
{
    struct signalling *signalling = context;
    if (supervisor_signal(signalling->run_dir, tenant, signalling->number))
        signalling->count++;
    return STATUS_OK;
}

static size_t signal_all(const char *run_dir, int number)
{
    struct signalling signalling = { .run_dir = run_dir, .number = number };
    tenants_locked_each(run_dir, signal_one, &signalling);
    return signalling.count;
}

size_t supervisors_kill(const char *run_dir)
{
    return signal_all(run_dir, SIGKILL);
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
