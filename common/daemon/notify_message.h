#ifndef SOLO_COMMON_DAEMON_NOTIFY_MESSAGE_H
#define SOLO_COMMON_DAEMON_NOTIFY_MESSAGE_H

#include <stdbool.h>
#include <sys/types.h>

/* The receiving end of sd_notify(3). */
enum { NOTIFY_MESSAGE_BYTES_MAX = 4096, NOTIFY_MESSAGES_PER_TURN_MAX = 64 };

struct notify_message {
    pid_t pid; /* who sent it, as the kernel vouches for it; 0: unknown, nothing of it counts */
    uid_t uid;
    bool is_ready, is_stopping;
    bool is_progress;   /* it asks for more time, and says how far it is */
    const char *status; /* the last STATUS=; NULL for none */
    char text[NOTIFY_MESSAGE_BYTES_MAX + 1];
};

/* Takes the next message from a datagram socket that has SO_PASSCRED; false when there is none.
 * Descriptors that came along are closed, which is what BARRIER=1 waits for. */
bool notify_message_receive(int fd, struct notify_message *message);

#endif
