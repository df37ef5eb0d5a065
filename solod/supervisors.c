/* Supervisors are nobody's children. The kernel names the process behind a listening socket
 * (SO_PEERCRED gives who called listen), without that process having to answer. */
#include "solod/supervisors.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/name.h"
#include "common/base/unix_socket.h"

static void directory_close(DIR **directory)
{
    if (*directory != NULL)
        closedir(*directory);
}

/* Whether a supervisor of that tenant ran. The pidfd is taken while the connection proves that the
 * pid is the listener's, and the lock is asked after it: held by the same process, or it is gone.
 */
static bool supervisor_kill(const char *directory, const char *tenant)
{
    char file[NAME_BYTES_MAX + 8], socket_path[4096], lock_path[4096];
    snprintf(file, sizeof file, "%s.sock", tenant);
    if (path_join(socket_path, directory, file) != STATUS_OK)
        return false;
    snprintf(file, sizeof file, "%s.lock", tenant);
    if (path_join(lock_path, directory, file) != STATUS_OK)
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

size_t supervisors_kill(const char *run_dir)
{
    char path[4096];
    if (path_join(path, run_dir, "internal/tenants") != STATUS_OK)
        return 0;
    AUTO(directory_close) DIR *directory = opendir(path);
    if (directory == NULL) {
        log_error("open directory", "path", path, "reason", strerror(errno));
        return 0;
    }
    size_t killed = 0, seen = 0;
    for (const struct dirent *entry; seen < TENANTS_MAX && (entry = readdir(directory)) != NULL;) {
        char tenant[NAME_BYTES_MAX + 1];
        size_t length = strlen(entry->d_name);
        if (length <= 5 || length - 5 > NAME_BYTES_MAX ||
            strcmp(entry->d_name + length - 5, ".sock") != 0)
            continue;
        snprintf(tenant, sizeof tenant, "%.*s", (int)(length - 5), entry->d_name);
        seen++;
        killed += supervisor_kill(path, tenant);
    }
    return killed;
}
