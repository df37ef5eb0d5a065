/* fork, a few calls, exec. The child is watched through its pidfd, so that no other part of the
 * process can take its exit away and no signal ever goes to a process that only inherited its
 * number. */
#include "solod/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/daemon/reload.h"

enum { EXIT_NOT_STARTED = 127, FIRST_PASSED = 3, PLACES_ABOVE = 16, CLOSE_MS_MAX = 5000 };

static void set(const char *name, const char *value)
{
    if (value == NULL)
        unsetenv(name);
    else
        setenv(name, value, 1);
}

static void environment_set(const struct child_options *options, bool has_listener, int key_place)
{
    set("LISTEN_FDS", has_listener ? "1" : NULL);
    set("LISTEN_PID", has_listener ? NUMBER(getpid()) : NULL);
    set("LISTEN_FDNAMES", has_listener ? options->name : NULL);
    set("SOLO_KEY_FD", key_place >= 0 ? NUMBER(key_place) : NULL);
    set("NOTIFY_SOCKET", options->notify);
    set("SOLO_DIE_WITH_PARENT", "1");
    if (options->settings != NULL && settings_export(options->settings) != STATUS_OK)
        _exit(EXIT_NOT_STARTED);
    /* Those of our own parent are not for our children. */
    set("WATCHDOG_USEC", NULL);
    set("WATCHDOG_PID", NULL);
}

/* Puts what is passed at 3 and above, without close-on-exec. The copies in between keep one from
 * being overwritten by the other. */
static bool descriptors_place(const struct child_options *options, int *key_place)
{
    int from[] = { options->listener, options->key_fd };
    int place = FIRST_PASSED;
    *key_place = -1;
    for (size_t i = 0; i < 2; i++)
        if (from[i] >= 0 && (from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, PLACES_ABOVE)) < 0)
            return false;
    for (size_t i = 0; i < 2; i++) {
        if (from[i] < 0)
            continue;
        if (dup2(from[i], place) < 0)
            return false;
        if (i == 1)
            *key_place = place;
        place++;
    }
    return true;
}

/* The mask is still full: a signal that comes before the exec waits until our handlers, which would
 * swallow it, are gone. */
static void signals_reset(void)
{
    static const int numbers[] = { SIGPIPE, SIGTERM, SIGINT };
    sigset_t none;
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        signal(numbers[i], SIG_DFL);
    signal(SIGHUP, SIG_IGN); /* until it can reload: a reload must not end what is starting */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn static void child_become(const struct child_options *options, pid_t parent)
{
    int key_place;
    signals_reset();
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_NOT_STARTED); /* it died before the line above */
    if (descriptors_place(options, &key_place)) {
        environment_set(options, options->listener >= 0, key_place);
        execv(options->program, options->arguments);
    }
    log_error("start a program", "path", options->program, "reason", strerror(errno));
    _exit(EXIT_NOT_STARTED);
}

static void on_exit_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)events;
    struct child *child = watcher->data;
    siginfo_t info = { 0 };
    if (waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
        return;
    ev_io_stop(loop, watcher);
    close(child->pidfd);
    child->pidfd = -1;
    child->pid = 0;
    const struct child_exit exit = {
        .by_signal = info.si_code != CLD_EXITED,
        .number = info.si_status,
    };
    child->ended(child->context, &exit);
}

enum status child_start(struct child *child, struct ev_loop *loop,
                        const struct child_options *options,
                        void (*ended)(void *context, const struct child_exit *exit), void *context)
{
    ensure(child->pid == 0);
    pid_t parent = getpid();
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0)
        child_become(options, parent);
    int error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return log_failure(status_from_errno(error), "fork", "program", options->program, "reason",
                           strerror(error));
    /* Nobody else reaps, so the number is still this child's. */
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        enum status status = log_failure(status_from_errno(errno), "pidfd_open", "program",
                                         options->program, "reason", strerror(errno));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return status;
    }
    child->pid = pid;
    child->is_given_up = false;
    child->pidfd = pidfd;
    child->ended = ended;
    child->context = context;
    ev_io_init(&child->on_exit, on_exit_readable, pidfd, EV_READ);
    child->on_exit.data = child;
    ev_io_start(loop, &child->on_exit);
    return STATUS_OK;
}

void child_signal(const struct child *child, int signal_number)
{
    if (child->pid == 0)
        return;
    if (syscall(SYS_pidfd_send_signal, child->pidfd, signal_number, NULL, 0) < 0 && errno != ESRCH)
        log_error("signal a child", "pid", NUMBER(child->pid), "reason", strerror(errno));
}

/* "D": it waits for a device or a file server. */
static char state_in_kernel(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    AUTO(buffer_close) struct buffer line = { .limit = 4096 };
    if (file_read(path, &line) != STATUS_OK || buffer_append(&line, "", 1) != STATUS_OK)
        return '?';
    const char *after_name = strrchr((const char *)line.data, ')');
    return after_name != NULL && after_name[1] == ' ' ? after_name[2] : '?';
}

void child_give_up(struct child *child, const char *name)
{
    char state[] = { state_in_kernel(child->pid), '\0' };
    child->is_given_up = true;
    log_error("not even SIGKILL ends it; it is left behind", "name", name, "pid",
              NUMBER(child->pid), "state", state);
}

void child_close(struct child *child, struct ev_loop *loop)
{
    if (child->pid == 0)
        return;
    child_signal(child, SIGKILL);
    struct pollfd end = { .fd = child->pidfd, .events = POLLIN };
    siginfo_t info;
    if (!child->is_given_up && poll(&end, 1, CLOSE_MS_MAX) > 0)
        (void)waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG);
    ev_io_stop(loop, &child->on_exit);
    close(child->pidfd);
    child->pidfd = -1;
    child->pid = 0;
}

char *child_exit_text(char text[CHILD_EXIT_TEXT_BYTES], const struct child_exit *exit)
{
    if (exit->by_signal)
        snprintf(text, CHILD_EXIT_TEXT_BYTES, "signal %d (%s)", exit->number,
                 strsignal(exit->number));
    else
        snprintf(text, CHILD_EXIT_TEXT_BYTES, "exit code %d", exit->number);
    return text;
}
