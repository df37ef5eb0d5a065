/* Three variables and a datagram. Not by way of libsystemd, which brings seven libraries along:
 * every program of ours, and every supervisor of a recovery, would load and relocate them first. */
#include "common/daemon/parent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"

enum { LISTENERS_FIRST = 3, LISTENERS_MAX = 64 };

/* A decimal number and nothing else. */
static bool number_parse(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

/* Whether what the variables say is meant for us and not for whoever started us. */
static bool is_our_pid(const char *text)
{
    uint64_t pid;
    return number_parse(text, &pid) && pid == (uint64_t)getpid();
}

void parent_notify(const char *text)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const char *path = getenv("NOTIFY_SOCKET");
    size_t size = path == NULL ? 0 : strlen(path);
    if (size < 2 || size >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(address.sun_path, path, size + 1);
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* abstract: all of its bytes count, and no end */
    else
        size++;
    AUTO(fd_close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&address,
                         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)) < 0)
        log_debug("the parent is not listening", "reason", strerror(errno));
}

static bool option_is(int fd, int option, int wanted)
{
    int value;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 && value == wanted;
}

/* The place of `name` in "a:b:c", which has `count` names; -1 when it is not among them. */
static enum status place_find(const char *names, uint64_t count, const char *name, int *place)
{
    size_t size = strlen(name);
    uint64_t i = 0;
    *place = -1;
    for (; names != NULL; i++) {
        size_t length = strcspn(names, ":");
        if (*place < 0 && length == size && memcmp(names, name, size) == 0)
            *place = (int)i;
        names = names[length] == ':' ? names + length + 1 : NULL;
    }
    if (i != count && i != 0)
        return log_failure(STATUS_INVALID_ARGUMENT, "read LISTEN_FDNAMES", "reason",
                           "as many names as LISTEN_FDS says");
    return STATUS_OK;
}

enum status parent_listener(const char *name, int *fd)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t count;
    int place;
    *fd = -1;
    if (pid == NULL || fds == NULL || !is_our_pid(pid))
        return STATUS_OK;
    if (!number_parse(fds, &count) || count > LISTENERS_MAX)
        return log_failure(STATUS_INVALID_ARGUMENT, "read LISTEN_FDS", "value", fds);
    TRY(place_find(getenv("LISTEN_FDNAMES"), count, name, &place));
    for (int passed = LISTENERS_FIRST; passed < LISTENERS_FIRST + (int)count; passed++)
        if (fcntl(passed, F_SETFD, FD_CLOEXEC) < 0)
            return log_failure(STATUS_INVALID_ARGUMENT, "a descriptor of LISTEN_FDS is not open");
    if (place < 0)
        return STATUS_OK;
    int passed = LISTENERS_FIRST + place;
    if (!option_is(passed, SO_DOMAIN, AF_UNIX) || !option_is(passed, SO_TYPE, SOCK_STREAM) ||
        !option_is(passed, SO_ACCEPTCONN, 1))
        return log_failure(STATUS_INVALID_ARGUMENT,
                           "the descriptor in LISTEN_FDS is no listening Unix socket", "name",
                           name);
    *fd = passed;
    return STATUS_OK;
}

enum status parent_watchdog(uint64_t *timeout_us)
{
    const char *text = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    *timeout_us = 0;
    if (text == NULL || (pid != NULL && !is_our_pid(pid)))
        return STATUS_OK;
    if (!number_parse(text, timeout_us) || *timeout_us == 0)
        return log_failure(STATUS_INVALID_ARGUMENT, "read WATCHDOG_USEC", "value", text);
    return STATUS_OK;
}
