/* Stands in for the programs that solod starts, under their names. It says what happens to it, one
 * line each, in RUN/story, and misbehaves as the environment STAND_IN_<NAME> asks:
 *
 *     silent         never says that it is ready
 *     stranger       a process of its own says it instead
 *     late           says it after 3 s
 *     far            says before how far it is
 *     exit=N         ends at once; exit_once=N only the first time
 *     code=N         ends with N when it is asked to stop (recoveryd: at once)
 *     deaf           ignores SIGTERM
 *     stuck          is not ended by any signal, as long as RUN is there: another process traces it
 * and keeps it from its exit drain_kills    answers the drain with one killed service drain_fails
 * refuses the drain; drain_hangs never answers slow           recoveryd: runs until SIGTERM */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/access/daemon_methods.h"
#include "common/access/operators.h"
#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "common/base/process_identity.h"
#include "common/daemon/lifecycle.h"
#include "common/daemon/parent.h"
#include "common/daemon/settings.h"
#include "common/rpc/server.h"

extern char **environ;

static const char *name;
static char run_dir[4096];
static struct access access_state;
static struct lifecycle lifecycle;
static struct ev_timer late;

static bool is_asked(const char *word)
{
    char variable[64];
    snprintf(variable, sizeof variable, "STAND_IN_%s", name);
    for (char *c = variable; *c != '\0'; c++)
        *c = (char)toupper((unsigned char)*c);
    const char *words = getenv(variable);
    return words != NULL && strstr(words, word) != NULL;
}

static int asked_number(const char *word, int otherwise)
{
    char variable[64];
    snprintf(variable, sizeof variable, "STAND_IN_%s", name);
    for (char *c = variable; *c != '\0'; c++)
        *c = (char)toupper((unsigned char)*c);
    const char *words = getenv(variable);
    const char *found = words == NULL ? NULL : strstr(words, word);
    return found == NULL ? otherwise : atoi(found + strlen(word));
}

static void tell(const char *what)
{
    char path[4200], line[128];
    snprintf(path, sizeof path, "%s/story", run_dir);
    int size = snprintf(line, sizeof line, "%s %s\n", name, what);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0 || write(fd, line, (size_t)size) != size)
        abort();
    close(fd);
}

static enum status on_drain(void *context, struct rpc_call *call, const void *request, void *reply)
{
    (void)context;
    const struct system_drain_request *drain = request;
    struct system_drain_reply *answer = reply;
    tell(drain->quiet ? "drain quietly" : "drain");
    if (is_asked("drain_hangs")) {
        rpc_call_defer(call);
        return STATUS_OK;
    }
    if (is_asked("drain_fails"))
        return problem_set(&call->problem, STATUS_INTERNAL, "", "as asked");
    answer->killed = is_asked("drain_kills");
    return STATUS_OK;
}

static enum status on_close_log(void *context, struct rpc_call *call, const void *request,
                                void *reply)
{
    (void)context, (void)call, (void)reply;
    const struct event_close_log_request *close_log = request;
    char line[96];
    snprintf(line, sizeof line, "close_log%s%s%s", close_log->is_forced ? " forced" : "",
             close_log->killed[0] == '\0' ? "" : ": ", close_log->killed);
    tell(line);
    return STATUS_OK;
}

static const struct rpc_route routes[] = {
    { &method_system_drain, on_drain },
    { &method_event_close_log, on_close_log },
    { &method_daemon_hello, daemon_hello_route },
    { &method_daemon_health, daemon_health_route },
    { NULL, NULL },
};

static void on_late(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
    parent_ready();
}

/* Whoever is traced so stops at its exit, and SIGKILL does not wake it. */
static int trace(pid_t pid, const char *directory)
{
    const struct timespec moment = { .tv_nsec = 5 * 1000000 };
    if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)PTRACE_O_TRACEEXIT) < 0)
        return 1;
    for (int i = 0; i < 6000 && access(directory, F_OK) == 0; i++)
        nanosleep(&moment, NULL);
    return 0;
}

static bool is_traced(void)
{
    AUTO(buffer_close) struct buffer status = { .limit = 8192 };
    return file_read("/proc/self/status", &status) == STATUS_OK &&
           buffer_append(&status, "", 1) == STATUS_OK &&
           strstr((const char *)status.data, "TracerPid:\t0\n") == NULL;
}

static void be_stuck(char *self)
{
    const struct timespec moment = { .tv_nsec = 1000000 };
    char number[16];
    pid_t pid;
    snprintf(number, sizeof number, "%d", getpid());
    char *argv[] = { "tracer", number, run_dir, NULL };
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    if (posix_spawn(&pid, self, NULL, NULL, argv, environ) != 0)
        abort();
    for (int i = 0; i < 10000 && !is_traced(); i++)
        nanosleep(&moment, NULL);
}

static void say_ready(char *self)
{
    pid_t pid;
    char *argv[] = { "stranger", NULL };
    if (is_asked("far"))
        parent_progress("3 of 4");
    if (is_asked("silent"))
        return;
    if (is_asked("stranger")) {
        if (posix_spawn(&pid, self, NULL, NULL, argv, environ) != 0)
            abort();
    } else if (is_asked("late")) {
        ev_timer_init(&late, on_late, 3, 0);
        ev_timer_start(lifecycle.loop, &late);
    } else {
        parent_ready();
    }
}

static void on_stop(void *context)
{
    (void)context;
    tell("stop");
    lifecycle_end(&lifecycle, STATUS_OK);
}

static int recover(void)
{
    if (!is_asked("slow"))
        return asked_number("code=", 0);
    lifecycle.on_stop = on_stop;
    parent_progress("7 of 9");
    return status_exit_code(lifecycle_run(&lifecycle));
}

/* Like a supervisor that does not listen (yet): holds a lock, says so in it, is nobody's child and
 * stays. */
static int supervise(const char *directory)
{
    char path[4200];
    struct file_lock lock = FILE_LOCK_NONE;
    snprintf(path, sizeof path, "%s/acme.lock", directory);
    if (file_lock_take(&lock, path, 0) != STATUS_OK ||
        file_lock_sign(&lock, (uint64_t)getpid(), process_ticks((uint64_t)getpid())) != STATUS_OK)
        return 1;
    snprintf(path, sizeof path, "%s/acme.is_held", directory);
    if (mkdir(path, 0700) < 0)
        return 1;
    return pause();
}

static int close_behind(const char *killed, const char *directory)
{
    char line[96], run_id[4200];
    umask(0);
    snprintf(run_dir, sizeof run_dir, "%s", directory);
    snprintf(run_id, sizeof run_id, "%s/internal/run_id", directory);
    snprintf(line, sizeof line, "close_behind%s%s%s", killed[0] == '\0' ? "" : " ", killed,
             access(run_id, F_OK) == 0 ? " though the run goes on" : "");
    tell(line);
    return 0;
}

static bool is_first(void)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s.once", run_dir, name);
    return access(path, F_OK) < 0 && mkdir(path, 0700) == 0;
}

int main(int argc, char **argv)
{
    static struct settings settings;
    static uint8_t key[RUN_KEY_BYTES];
    char self[4096] = "";
    bool has_key = false;
    int listener = -1;
    struct rpc_server *server = NULL;
    const struct daemon_self daemon = { .name = argv[0], .access = &access_state };
    const struct rpc_service service = { .routes = routes,
                                         .authorise = access_authorise,
                                         .access = &access_state };

    name = strrchr(argv[0], '/') == NULL ? argv[0] : strrchr(argv[0], '/') + 1;
    if (strcmp(name, "stranger") == 0) {
        parent_ready();
        return 0;
    }
    if (strcmp(name, "tracer") == 0)
        return trace(atoi(argv[1]), argv[2]);
    if (argc == 2)
        return supervise(argv[1]);
    if (argc == 7 && strcmp(argv[5], "--progress") == 0)
        argc = 5;
    if (argc == 7 && strcmp(argv[1], "--close-log") == 0)
        return close_behind(argv[2], argv[6]);
    if (settings_load(&settings, name, NULL, argc, argv) != STATUS_OK ||
        die_with_parent() != STATUS_OK || lifecycle_run_key(key, &has_key) != STATUS_OK ||
        readlink("/proc/self/exe", self, sizeof self - 1) < 0 ||
        access_open(&access_state, &settings, has_key ? key : NULL) != STATUS_OK ||
        lifecycle_open(&lifecycle) != STATUS_OK)
        return 70;
    umask(0);
    snprintf(run_dir, sizeof run_dir, "%s", settings.run_dir);
    tell("start");
    if (strcmp(name, "recoveryd") == 0)
        return recover();
    if (!has_key || getenv("LISTEN_FDS") == NULL)
        return 70;
    if (asked_number("exit=", -1) >= 0) {
        parent_say("it has had enough");
        return asked_number("exit=", 0);
    }
    if (asked_number("exit_once=", -1) >= 0 && is_first())
        return asked_number("exit_once=", 0);
    daemon_methods_setup(&daemon, routes);
    lifecycle.on_stop = on_stop;
    if (parent_listener(run_dir, name, &listener) != STATUS_OK ||
        rpc_server_open(&server, lifecycle.loop, &service, listener) != STATUS_OK)
        return 70;
    if (is_asked("deaf"))
        ev_signal_stop(lifecycle.loop, &lifecycle.on_term), signal(SIGTERM, SIG_IGN);
    if (is_asked("stuck"))
        be_stuck(self);
    say_ready(self);
    enum status status = lifecycle_run(&lifecycle);
    rpc_server_close(&server);
    lifecycle_close(&lifecycle);
    return asked_number("code=", status_exit_code(status));
}
