/* A path and not an abstract name: only the tenant's own processes get through its folder. */
#include "tenantd/notify.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define SOCKET_NAME ".notify" /* no service's name begins with a dot */

char *notify_path(const struct site *site, char path[PATH_MAX])
{
    if (path_join(path, site->code_seen, SOCKET_NAME) != STATUS_OK)
        path[0] = '\0';
    return path;
}

static void on_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop, (void)events;
    struct notify *notify = OWNER_OF(watcher, struct notify, on_readable);
    struct notify_message message;
    for (int i = 0;
         i < NOTIFY_MESSAGES_PER_TURN_MAX && notify_message_receive(notify->fd, &message); i++)
        if (message.pid != 0)
            notify->told(notify->context, &message);
}

static enum status socket_make(const struct site *site, int *made)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/" SOCKET_NAME,
             site->code_fd);
    AUTO(fd_close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &(int){ 1 }, sizeof(int)) < 0 ||
        (unlinkat(site->code_fd, SOCKET_NAME, 0) < 0 && errno != ENOENT) ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 ||
        (site->has_ids && fchownat(site->code_fd, SOCKET_NAME, 0, site->gid, 0) < 0) ||
        fchmodat(site->code_fd, SOCKET_NAME, 0660, 0) < 0)
        return log_failure(status_from_errno(errno), "open the notify socket", "reason",
                           strerror(errno));
    *made = fd;
    fd = -1;
    return STATUS_OK;
}

enum status notify_open(struct notify *notify, struct ev_loop *loop, const struct site *site,
                        struct problem *problem)
{
    char path[PATH_MAX];
    size_t size = strlen(notify_path(site, path));
    const size_t most = sizeof((struct sockaddr_un){ 0 }).sun_path - 1;
    if (notify->is_open)
        return STATUS_OK;
    if (size == 0 || size > most)
        return problem_set(
            problem, STATUS_FAILED_PRECONDITION, "ready.by",
            "notify needs a socket at %s, but that is longer than the %zu bytes of a "
            "socket's address; use a shorter RUN directory",
            path, most);
    TRY(socket_make(site, &notify->fd));
    notify->is_open = true;
    ev_io_init(&notify->on_readable, on_readable, notify->fd, EV_READ);
    ev_io_start(loop, &notify->on_readable);
    return STATUS_OK;
}

void notify_close(struct notify *notify, struct ev_loop *loop)
{
    if (!notify->is_open)
        return;
    ev_io_stop(loop, &notify->on_readable);
    fd_close(&notify->fd);
    notify->is_open = false;
}
