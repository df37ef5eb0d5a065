#ifndef SOLO_SOLOD_NOTIFY_SOCKET_H
#define SOLO_SOLOD_NOTIFY_SOCKET_H

#include <ev.h>

#include "common/base/status.h"
#include "common/daemon/notify_message.h"

/* Where children say READY=1, STATUS=... (sd_notify(3)). Anybody on the machine can send to it, so
 * each message comes with the sender's pid as the kernel vouches for it. */
struct notify_socket {
    int fd;
    char address[64]; /* for NOTIFY_SOCKET: "@..." */
    struct ev_io on_readable;
    /* Once per message that says something. */
    void (*told)(void *context, const struct notify_message *message);
    void *context;
};
#define NOTIFY_SOCKET_NONE ((struct notify_socket){ .fd = -1 })

enum status notify_socket_open(struct notify_socket *notify, struct ev_loop *loop);
void notify_socket_close(struct notify_socket *notify, struct ev_loop *loop);

#endif
