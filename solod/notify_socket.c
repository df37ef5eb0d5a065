/* A datagram socket in the abstract namespace: no path to clean up, none that is too long. */
#include "solod/notify_socket.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/log.h"

enum { RANDOM_BYTES = 16 };

static void on_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop, (void)events;
    struct notify_socket *notify = watcher->data;
    struct notify_message message;
    for (int i = 0;
         i < NOTIFY_MESSAGES_PER_TURN_MAX && notify_message_receive(notify->fd, &message); i++)
        if (message.pid != 0 && (message.is_ready || message.status != NULL))
            notify->told(notify->context, &message);
}

enum status notify_socket_open(struct notify_socket *notify, struct ev_loop *loop)
{
    uint8_t random[RANDOM_BYTES];
    char hex[2 * RANDOM_BYTES + 1];
    random_fill(random, sizeof random);
    int size = snprintf(notify->address, sizeof notify->address, "@solo-notify-%s",
                        hex_text(hex, random, sizeof random));
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    memcpy(address.sun_path + 1, notify->address + 1, (size_t)size - 1);
    AUTO(fd_close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &(int){ 1 }, sizeof(int)) < 0 ||
        bind(fd, (struct sockaddr *)&address,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)size)) < 0)
        return log_failure(status_from_errno(errno), "open the notify socket", "reason",
                           strerror(errno));
    notify->fd = fd;
    fd = -1;
    ev_io_init(&notify->on_readable, on_readable, notify->fd, EV_READ);
    /* What a child has said is read before its end is seen. */
    ev_set_priority(&notify->on_readable, EV_MAXPRI);
    notify->on_readable.data = notify;
    ev_io_start(loop, &notify->on_readable);
    return STATUS_OK;
}

void notify_socket_close(struct notify_socket *notify, struct ev_loop *loop)
{
    if (notify->fd < 0)
        return;
    ev_io_stop(loop, &notify->on_readable);
    fd_close(&notify->fd);
}
