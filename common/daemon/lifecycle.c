/* One loop, two signals, and the first steps of a process of ours. */
#include "common/daemon/lifecycle.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "common/base/log.h"

void lifecycle_stop(struct lifecycle *lifecycle)
{
    if (lifecycle->is_stopping)
        return;
    lifecycle->is_stopping = true;
    if (lifecycle->on_stopping != NULL)
        lifecycle->on_stopping();
    if (lifecycle->on_stop != NULL)
        lifecycle->on_stop(lifecycle->context);
    else
        lifecycle_end(lifecycle, STATUS_OK);
}

static void on_stop_signal(struct ev_loop *loop, struct ev_signal *watcher, int events)
{
    (void)loop, (void)events;
    struct lifecycle *lifecycle = watcher->data;
    log_info("stop requested", "signal", strsignal(watcher->signum), "repeated",
             lifecycle->is_stopping ? "true" : "false");
    lifecycle_stop(lifecycle);
}

enum status lifecycle_open(struct lifecycle *lifecycle)
{
    /* Not libev's default loop: that one reaps every child of the process at SIGCHLD, behind the
     * back of whoever waits for it. */
    lifecycle->loop = ev_loop_new(EVFLAG_NOENV);
    if (lifecycle->loop == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "make the event loop");
    signal(SIGPIPE, SIG_IGN);
    ev_signal_init(&lifecycle->on_term, on_stop_signal, SIGTERM);
    ev_signal_init(&lifecycle->on_int, on_stop_signal, SIGINT);
    lifecycle->on_term.data = lifecycle->on_int.data = lifecycle;
    ev_signal_start(lifecycle->loop, &lifecycle->on_term);
    ev_signal_start(lifecycle->loop, &lifecycle->on_int);
    return STATUS_OK;
}

void signal_retire(struct ev_loop *loop, struct ev_signal *watcher)
{
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, watcher->signum);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    ev_signal_stop(loop, watcher); /* which puts the default action back: death */
    signal(watcher->signum, SIG_IGN);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void lifecycle_close(struct lifecycle *lifecycle)
{
    if (lifecycle->loop == NULL)
        return;
    signal_retire(lifecycle->loop, &lifecycle->on_term);
    signal_retire(lifecycle->loop, &lifecycle->on_int);
    if (ev_is_active(&lifecycle->watchdog))
        ev_timer_stop(lifecycle->loop, &lifecycle->watchdog);
    ev_loop_destroy(lifecycle->loop);
    lifecycle->loop = NULL;
}

/* What the parent passed as a descriptor (solod) or as a credential (systemd); -1 for nothing. */
static enum status run_key_open(int *fd)
{
    const char *text = getenv("SOLO_KEY_FD"), *credentials = getenv("CREDENTIALS_DIRECTORY");
    *fd = -1;
    if (text != NULL && text[0] != '\0') {
        char *end;
        long number = strtol(text, &end, 10);
        if (*end != '\0' || number <= STDERR_FILENO || number > 65535)
            return log_failure(STATUS_INVALID_ARGUMENT, "SOLO_KEY_FD is no descriptor", "value",
                               text);
        *fd = (int)number;
        unsetenv("SOLO_KEY_FD");
        return STATUS_OK;
    }
    if (credentials == NULL || credentials[0] != '/')
        return STATUS_OK;
    char path[4096];
    TRY(path_join(path, credentials, RUN_KEY_CREDENTIAL));
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    return *fd >= 0 || errno == ENOENT ? STATUS_OK
                                       : log_failure(status_from_errno(errno), "open the run key",
                                                     "path", path, "reason", strerror(errno));
}

enum status lifecycle_run_key(uint8_t key[RUN_KEY_BYTES], bool *has_key)
{
    AUTO(fd_close) int fd = -1;
    *has_key = false;
    TRY(run_key_open(&fd));
    if (fd < 0)
        return STATUS_OK;
    uint8_t content[RUN_KEY_BYTES + 1];
    /* From its beginning: siblings share the file offset. */
    ssize_t size = pread(fd, content, sizeof content, 0);
    if (size != RUN_KEY_BYTES)
        return log_failure(STATUS_INVALID_ARGUMENT, "what was passed is no run key", "reason",
                           size < 0 ? strerror(errno) : "wrong size");
    memcpy(key, content, RUN_KEY_BYTES);
    explicit_bzero(content, sizeof content);
    *has_key = true;
    return STATUS_OK;
}

enum status lifecycle_run(struct lifecycle *lifecycle)
{
    ensure(lifecycle->loop != NULL);
    if (!lifecycle->has_ended)
        ev_run(lifecycle->loop, 0);
    return lifecycle->result;
}

void lifecycle_end(struct lifecycle *lifecycle, enum status result)
{
    /* The first failure is the one that explains the others. */
    if (!lifecycle->has_ended || lifecycle->result == STATUS_OK)
        lifecycle->result = result;
    lifecycle->has_ended = true;
    ev_break(lifecycle->loop, EVBREAK_ALL);
}

static enum status descriptors_fill(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (fd < 0)
            return log_failure(status_from_errno(errno), "open /dev/null", "reason",
                               strerror(errno));
        if (fd <= STDERR_FILENO)
            fcntl(fd, F_SETFD, 0); /* 0 to 2 belong to children as well */
    } while (fd < STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
    return STATUS_OK;
}

/* One byte: to a program (core_pattern "|...") the kernel gives a core whatever the limit is,
 * unless it is this one (fs/coredump.c); a file needs a page. Who was given 0 cannot raise it. */
static enum status forbid_cores(void)
{
    const struct rlimit one = { 1, 1 }, none = { 0, 0 };
    if (setrlimit(RLIMIT_CORE, &one) == 0 || setrlimit(RLIMIT_CORE, &none) == 0)
        return STATUS_OK;
    return log_failure(status_from_errno(errno), "forbid core dumps", "reason", strerror(errno));
}

enum status harden_process(void)
{
    TRY(descriptors_fill());
    umask(077);
    TRY(forbid_cores());
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return log_failure(status_from_errno(errno), "read RLIMIT_NOFILE", "reason",
                           strerror(errno));
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        return log_failure(status_from_errno(errno), "raise RLIMIT_NOFILE", "reason",
                           strerror(errno));
    /* Who was started from a terminal stays with it, or Ctrl-C would not end it any more. */
    int terminal = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
    if (terminal >= 0)
        close(terminal);
    else if (setsid() < 0 && errno != EPERM)
        return log_failure(status_from_errno(errno), "setsid", "reason", strerror(errno));
    return STATUS_OK;
}

enum status hide_memory(void)
{
    return prctl(PR_SET_DUMPABLE, 0) == 0
               ? STATUS_OK
               : log_failure(status_from_errno(errno), "hide memory", "reason", strerror(errno));
}

enum status die_with_parent(void)
{
    const char *wanted = getenv("SOLO_DIE_WITH_PARENT");
    bool is_wanted = wanted != NULL && strcmp(wanted, "1") == 0;
    /* Not for what we start ourselves: supervisors outlive us. */
    unsetenv("SOLO_DIE_WITH_PARENT");
    if (is_wanted && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return log_failure(status_from_errno(errno), "prctl PR_SET_PDEATHSIG", "reason",
                           strerror(errno));
    return STATUS_OK;
}
