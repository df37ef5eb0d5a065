#include "common/rpc/passed.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/file.h"

static void drop(int fd)
{
    fd_close(&fd);
}

static bool keep(struct passed *passed, int fd, uint64_t at)
{
    if (passed->count == PASSED_MAX) {
        drop(fd);
        return false;
    }
    passed->items[passed->count].fd = fd;
    passed->items[passed->count++].at = at;
    return true;
}

ssize_t passed_receive(struct passed *passed, int socket, void *room, size_t size)
{
    union {
        struct cmsghdr header; /* aligns */
        char bytes[CMSG_SPACE(PASSED_MAX * sizeof(int))];
    } control;
    struct iovec vector = { room, size };
    struct msghdr message = {
        .msg_iov = &vector,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    ssize_t received = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (received < 0)
        return received;
    passed->received += (uint64_t)received;
    bool has_room = (message.msg_flags & MSG_CTRUNC) == 0;
    for (struct cmsghdr *item = CMSG_FIRSTHDR(&message); item != NULL;
         item = CMSG_NXTHDR(&message, item)) {
        if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; at + sizeof(int) <= item->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
            int fd;
            memcpy(&fd, CMSG_DATA(item) + at, sizeof fd);
            has_room = keep(passed, fd, passed->received - 1) && has_room;
        }
    }
    if (has_room)
        return received;
    errno = EPROTO;
    return -1;
}

int passed_take(struct passed *passed, size_t bytes)
{
    int taken = -1;
    size_t used = 0;
    uint64_t begin = passed->done;
    passed->done += bytes;
    while (used < passed->count && passed->items[used].at < passed->done) {
        drop(taken);
        taken = passed->items[used].fd;
        if (passed->items[used++].at < begin) {
            drop(taken);
            taken = -1;
        }
    }
    passed->count -= used;
    memmove(passed->items, passed->items + used, passed->count * sizeof passed->items[0]);
    return taken;
}

void passed_close(struct passed *passed)
{
    for (size_t i = 0; i < passed->count; i++)
        drop(passed->items[i].fd);
    *passed = (struct passed){ 0 };
}
