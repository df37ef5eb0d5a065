/* Sockets by directory descriptor and short name. */
#include "common/base/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"

enum { BACKLOG = 1024 };

/* Opens the directory of `path` and makes the address through it; the descriptor must stay open
 * until the address has been used. */
static enum status address_of(const char *path, int *directory, struct sockaddr_un *address)
{
    char parent[PATH_MAX];
    if (strlen(path) >= sizeof parent)
        return STATUS_INVALID_ARGUMENT;
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    if (slash == NULL)
        snprintf(parent, sizeof parent, ".");
    else
        snprintf(parent, sizeof parent, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    *directory = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*directory < 0)
        return status_from_errno(errno);
    *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    int length = snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s",
                          *directory, name);
    return length < 0 || (size_t)length >= sizeof address->sun_path ? STATUS_INVALID_ARGUMENT
                                                                    : STATUS_OK;
}

enum status unix_socket_listen(const char *path, mode_t mode, int *fd)
{
    AUTO(fd_close) int directory = -1;
    struct sockaddr_un address;
    enum status status = address_of(path, &directory, &address);
    if (status != STATUS_OK)
        return log_failure(status, "listen", "path", path);
    AUTO(fd_close) int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0)
        return log_failure(status_from_errno(errno), "socket", "reason", strerror(errno));
    unlink(path);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || chmod(path, mode) < 0 ||
        listen(listener, BACKLOG) < 0)
        return log_failure(status_from_errno(errno), "listen", "path", path, "reason",
                           strerror(errno));
    *fd = listener;
    listener = -1;
    return STATUS_OK;
}

enum status unix_socket_connect(const char *path, int *fd)
{
    AUTO(fd_close) int directory = -1;
    struct sockaddr_un address;
    TRY(address_of(path, &directory, &address));
    AUTO(fd_close) int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection < 0)
        return log_failure(status_from_errno(errno), "socket", "reason", strerror(errno));
    /* A stream connection to a Unix socket is made at once or not at all. */
    if (connect(connection, (struct sockaddr *)&address, sizeof address) < 0)
        return errno == EAGAIN ? STATUS_RESOURCE_EXHAUSTED : status_from_errno(errno);
    *fd = connection;
    connection = -1;
    return STATUS_OK;
}
