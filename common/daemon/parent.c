/* The conversation with whoever started us. */
#include "common/daemon/parent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"
#include "common/base/unix_socket.h"
#include "common/daemon/journal.h"

enum { LISTENERS_MAX = 64, STATUS_BYTES_MAX = 512 };

static const unsigned long long progress_us_max = 60ull * 1000 * 1000;

static void on_watchdog(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop, (void)watcher, (void)events;
    sd_notify(0, "WATCHDOG=1");
}

static void on_stopping(void)
{
    sd_notify(0, "STOPPING=1");
}

enum status parent_join(struct lifecycle *lifecycle)
{
    journal_join();
    lifecycle->on_stopping = on_stopping;
    ev_timer_init(&lifecycle->watchdog, on_watchdog, 0, 0);
    uint64_t timeout_us;
    int rc = sd_watchdog_enabled(0, &timeout_us);
    if (rc < 0)
        return log_failure(STATUS_INVALID_ARGUMENT, "read WATCHDOG_USEC", "reason", strerror(-rc));
    if (rc > 0) {
        /* Half of the time allowed, as sd_watchdog_enabled(3) advises. */
        ev_timer_set(&lifecycle->watchdog, 0, (double)timeout_us / 2e6);
        ev_timer_start(lifecycle->loop, &lifecycle->watchdog);
    }
    return STATUS_OK;
}

void parent_ready(void)
{
    sd_notify(0, "READY=1");
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
    char text[STATUS_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    status_text_fill(text, format, arguments);
    va_end(arguments);
    sd_notifyf(0, "STATUS=%s", text);
}

void parent_progress(const char *format, ...)
{
    char text[STATUS_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    status_text_fill(text, format, arguments);
    va_end(arguments);
    /* The loop may have to wait for this, which is no hanging. */
    sd_notifyf(0, "STATUS=%s\nWATCHDOG=1\nEXTEND_TIMEOUT_USEC=%llu", text, progress_us_max);
}

static void names_free(char ***names)
{
    for (char **name = *names; name != NULL && *name != NULL; name++)
        free(*name);
    free(*names);
}

/* The passed descriptor of that name; -1 when there is none. */
static enum status listener_passed(const char *name, int *fd)
{
    AUTO(names_free) char **names = NULL;
    *fd = -1;
    int count = sd_listen_fds_with_names(0, &names);
    if (count < 0)
        return log_failure(STATUS_INVALID_ARGUMENT, "read LISTEN_FDS", "reason", strerror(-count));
    if (count > LISTENERS_MAX)
        return log_failure(STATUS_INVALID_ARGUMENT, "too many sockets in LISTEN_FDS");
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) {
            int passed = SD_LISTEN_FDS_START + i;
            if (sd_is_socket_unix(passed, SOCK_STREAM, 1, NULL, 0) <= 0)
                return log_failure(STATUS_INVALID_ARGUMENT,
                                   "the descriptor in LISTEN_FDS is no listening Unix socket",
                                   "name", name);
            *fd = passed;
            return STATUS_OK;
        }
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
    if (flags < 0 || fcntl(passed, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(passed, F_SETFD, FD_CLOEXEC) < 0)
        return log_failure(status_from_errno(errno), "set up the passed socket", "name", name,
                           "reason", strerror(errno));
    *fd = passed;
    return STATUS_OK;
}
