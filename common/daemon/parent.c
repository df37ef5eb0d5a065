/* The conversation with whoever started us, as sd_notify(3), sd_listen_fds(3) and
 * sd_watchdog_enabled(3) describe it: a datagram, and four variables. Not by way of libsystemd,
 * which brings seven libraries more: to load them took most of a daemon's start, and of its
 * probe's. */
#include "common/daemon/parent.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"
#include "common/base/unix_socket.h"
#include "common/daemon/journal.h"

enum { LISTENERS_MAX = 64, LISTENERS_START = 3, STATUS_BYTES_MAX = 512, TOLD_BYTES_MAX = 640 };

static const unsigned long long progress_us_max = 60ull * 1000 * 1000;

/* Nobody hears it without a parent, or with one that is spoken to another way (vsock:). A name that
 * begins with @ is an abstract one. */
static void tell(const char *text)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t size = name == NULL ? 0 : strlen(name);
    if (size == 0 || size > sizeof address.sun_path || (name[0] != '/' && name[0] != '@'))
        return;
    memcpy(address.sun_path, name, size);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    socklen_t address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    AUTO(fd_close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 ||
        sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address, address_size) < 0)
        log_warning("the parent cannot be told", "socket", name, "reason", strerror(errno));
}

/* What stands in the environment may be meant for a process before this one. */
static bool is_for_us(const char *variable, bool otherwise)
{
    const char *pid = getenv(variable);
    return pid == NULL ? otherwise : strtol(pid, NULL, 10) == (long)getpid();
}

/* 0 when it is none, or too large. */
static unsigned long number_in(const char *text, unsigned long max)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && number <= max ? number : 0;
}

static void on_watchdog(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop, (void)watcher, (void)events;
    tell("WATCHDOG=1");
}

static void on_stopping(void)
{
    tell("STOPPING=1");
}

enum status parent_join(struct lifecycle *lifecycle)
{
    journal_join();
    lifecycle->on_stopping = on_stopping;
    ev_timer_init(&lifecycle->watchdog, on_watchdog, 0, 0);
    const char *timeout = getenv("WATCHDOG_USEC");
    if (timeout == NULL || !is_for_us("WATCHDOG_PID", true))
        return STATUS_OK;
    unsigned long timeout_us = number_in(timeout, ULONG_MAX);
    if (timeout_us == 0)
        return log_failure(STATUS_INVALID_ARGUMENT, "read WATCHDOG_USEC", "value", timeout);
    /* Half of the time allowed, as sd_watchdog_enabled(3) advises. */
    ev_timer_set(&lifecycle->watchdog, 0, (double)timeout_us / 2e6);
    ev_timer_start(lifecycle->loop, &lifecycle->watchdog);
    return STATUS_OK;
}

void parent_ready(void)
{
    tell("READY=1");
}

static void status_text_fill(char text[STATUS_BYTES_MAX], const char *format, va_list arguments)
{
    vsnprintf(text, STATUS_BYTES_MAX, format, arguments);
    for (char *c = text; *c != '\0'; c++)
        if (*c == '\n')
            *c = ' '; /* a line of its own would be another assignment to the parent */
}

void parent_say(const char *format, ...)
{
    char text[STATUS_BYTES_MAX], told[TOLD_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    status_text_fill(text, format, arguments);
    va_end(arguments);
    snprintf(told, sizeof told, "STATUS=%s", text);
    tell(told);
}

void parent_progress(const char *format, ...)
{
    char text[STATUS_BYTES_MAX], told[TOLD_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    status_text_fill(text, format, arguments);
    va_end(arguments);
    /* The loop may have to wait for this, which is no hanging. */
    snprintf(told, sizeof told, "STATUS=%s\nWATCHDOG=1\nEXTEND_TIMEOUT_USEC=%llu", text,
             progress_us_max);
    tell(told);
}

static bool listens(int fd)
{
    static const struct {
        int name, wanted;
    } options[] = { { SO_DOMAIN, AF_UNIX }, { SO_TYPE, SOCK_STREAM }, { SO_ACCEPTCONN, 1 } };
    for (size_t i = 0; i < COUNT_OF(options); i++) {
        int value = -1;
        if (getsockopt(fd, SOL_SOCKET, options[i].name, &value, &(socklen_t){ sizeof value }) < 0 ||
            value != options[i].wanted)
            return false;
    }
    return true;
}

/* The passed descriptor of that name; -1 when there is none. All of them become close-on-exec. */
static enum status listener_passed(const char *name, int *fd)
{
    const char *count_text = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
    *fd = -1;
    if (count_text == NULL || !is_for_us("LISTEN_PID", false))
        return STATUS_OK;
    int count = (int)number_in(count_text, LISTENERS_MAX);
    if (count == 0)
        return log_failure(STATUS_INVALID_ARGUMENT, "read LISTEN_FDS", "value", count_text,
                           "reason", "no number of sockets that can be passed");
    for (int i = 0; i < count; i++) {
        size_t size = names == NULL ? 0 : strcspn(names, ":");
        if (fcntl(LISTENERS_START + i, F_SETFD, FD_CLOEXEC) < 0)
            return log_failure(STATUS_INVALID_ARGUMENT, "take the sockets of LISTEN_FDS", "reason",
                               strerror(errno));
        if (*fd < 0 && size == strlen(name) && memcmp(names, name, size) == 0)
            *fd = LISTENERS_START + i;
        names = names == NULL || names[size] == '\0' ? NULL : names + size + 1;
    }
    if (*fd >= 0 && !listens(*fd))
        return log_failure(STATUS_INVALID_ARGUMENT,
                           "the descriptor in LISTEN_FDS is no listening Unix socket", "name",
                           name);
    return STATUS_OK;
}

enum status parent_listener(const char *run_dir, const char *name, int *fd)
{
    int passed;
    TRY(listener_passed(name, &passed));
    if (passed < 0) {
        char path[4096];
        TRY(run_socket_path(path, run_dir, name));
        return unix_socket_listen(path, 0666, fd);
    }
    int flags = fcntl(passed, F_GETFL);
    if (flags < 0 || fcntl(passed, F_SETFL, flags | O_NONBLOCK) < 0)
        return log_failure(status_from_errno(errno), "set up the passed socket", "name", name,
                           "reason", strerror(errno));
    *fd = passed;
    return STATUS_OK;
}
