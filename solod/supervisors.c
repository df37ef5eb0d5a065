/* Supervisors are nobody's children. The kernel names the process behind a listening socket
 * (SO_PEERCRED gives who called listen), without that process having to answer. */
#include "solod/supervisors.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"
#include "common/base/unix_socket.h"

/* Whether a supervisor of that tenant ran. The pidfd is taken while the connection proves that the
 * pid is the listener's, and the lock is asked after it: held by the same process, or it is gone.
 */
static bool supervisor_kill(const char *run_dir, const char *tenant)
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
    log_error("supervisor is killed", "tenant", tenant, "pid", NUMBER(peer.pid));
    return syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0;
}

struct kill {
    const char *run_dir;
    size_t killed;
};

static enum status kill_one(void *context, const char *tenant)
{
    struct kill *kill = context;
    kill->killed += supervisor_kill(kill->run_dir, tenant) ? 1 : 0;
    return STATUS_OK;
}

size_t supervisors_kill(const char *run_dir)
{
    struct kill kill = { .run_dir = run_dir };
    tenants_locked_each(run_dir, kill_one, &kill);
    return kill.killed;
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
