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

enum { MESSAGE_BYTES_MAX = 4096, MESSAGES_PER_TURN_MAX = 64, RANDOM_BYTES = 16 };

/* 0 unless the kernel attached who sent it. Descriptors that came along are closed. */
static pid_t sender_of(struct msghdr *message)
{
    pid_t pid = 0;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL;
         part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET)
            continue;
        if (part->cmsg_type == SCM_CREDENTIALS &&
            part->cmsg_len >= CMSG_LEN(sizeof(struct ucred))) {
            struct ucred sender;
            memcpy(&sender, CMSG_DATA(part), sizeof sender);
            pid = sender.pid;
        } else if (part->cmsg_type == SCM_RIGHTS) {
            size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (size_t i = 0; i < count; i++) {
                int fd;
                memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
                close(fd);
            }
        }
    }
    return pid;
}

static void message_tell(struct notify_socket *notify, pid_t pid, char *text)
{
    bool is_ready = false;
    const char *status = NULL;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (strcmp(line, "READY=1") == 0)
            is_ready = true;
        else if (strncmp(line, "STATUS=", 7) == 0)
            status = line + 7;
    }
    if (is_ready || status != NULL)
        notify->told(notify->context, pid, is_ready, status);
}

static void on_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop, (void)events;
    struct notify_socket *notify = watcher->data;
    for (int i = 0; i < MESSAGES_PER_TURN_MAX; i++) {
        char text[MESSAGE_BYTES_MAX + 1];
        _Alignas(struct cmsghdr) char
            control[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(64 * sizeof(int))];
        struct iovec part = { text, MESSAGE_BYTES_MAX };
        struct msghdr message = { .msg_iov = &part,
                                  .msg_iovlen = 1,
                                  .msg_control = control,
                                  .msg_controllen = sizeof control };
        ssize_t size = recvmsg(notify->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (size < 0)
            return;
        text[size] = '\0';
        pid_t pid = sender_of(&message);
        if (pid != 0 && (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0)
            message_tell(notify, pid, text);
    }
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
