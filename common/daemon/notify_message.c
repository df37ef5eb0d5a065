/* Anybody who can reach the socket can send to it: a message counts by who sent it, and one that
 * was cut off does not count at all. */
#include "common/daemon/notify_message.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DESCRIPTORS_MAX = 64 };

static void descriptors_close(const struct cmsghdr *part)
{
    size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
        close(fd);
    }
}

static void sender_take(struct msghdr *header, struct notify_message *message)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part != NULL;
         part = CMSG_NXTHDR(header, part)) {
        if (part->cmsg_level != SOL_SOCKET)
            continue;
        if (part->cmsg_type == SCM_CREDENTIALS &&
            part->cmsg_len >= CMSG_LEN(sizeof(struct ucred))) {
            struct ucred sender;
            memcpy(&sender, CMSG_DATA(part), sizeof sender);
            message->pid = sender.pid;
            message->uid = sender.uid;
        } else if (part->cmsg_type == SCM_RIGHTS) {
            descriptors_close(part);
        }
    }
}

static void text_take(struct notify_message *message)
{
    char *rest = NULL;
    for (char *line = strtok_r(message->text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (strcmp(line, "READY=1") == 0)
            message->is_ready = true;
        else if (strcmp(line, "STOPPING=1") == 0)
            message->is_stopping = true;
        else if (strncmp(line, "EXTEND_TIMEOUT_USEC=", 20) == 0)
            message->is_progress = true;
        else if (strncmp(line, "STATUS=", 7) == 0)
            message->status = line + 7;
    }
}

bool notify_message_receive(int fd, struct notify_message *message)
{
    _Alignas(struct cmsghdr) char
        control[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
    message->pid = 0;
    message->uid = (uid_t)-1;
    message->is_ready = message->is_stopping = message->is_progress = false;
    message->status = NULL;
    struct iovec part = { message->text, NOTIFY_MESSAGE_BYTES_MAX };
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
    };
    ssize_t size = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0)
        return false;
    message->text[size] = '\0';
    sender_take(&header, message);
    if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
        message->pid = 0;
    if (message->pid != 0)
        text_take(message);
    return true;
}
