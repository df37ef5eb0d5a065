/* Drives tenantd by way of rpc_client, on one loop. */
#include "tests/unit/tenantd/supervisor_bed.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/wire/reader.h"
#include "tenantd/cgroup.h"
#include "tests/support/criterion.h"

enum { ARGUMENTS_MAX = 24 };

extern char **environ;

static size_t look_for_marks(const struct bed *bed, bool is_killing);

static const char *store_id(const struct bed *bed)
{
    /* Different for each bed, so that leftovers of one cannot disturb another. */
    static char text[33];
    snprintf(text, sizeof text, "%016x%016x", (unsigned)getpid(), (unsigned)(uintptr_t)bed);
    return text;
}

static void path_in(const struct bed *bed, char path[PATH_MAX], const char *name)
{
    cr_assert_eq(path_join(path, bed->scratch.path, name), STATUS_OK);
}

/* The programs may lie below somebody's private home: the tenant gets copies. */
static void copy_programs(struct bed *bed)
{
    static const char *const names[] = { "spawn_probe", "announcer",     "sleeper",  "exiter",
                                         "crasher",     "double_forker", "stubborn", "printer",
                                         "hog",         "hydra" };
    char to[PATH_MAX], from[PATH_MAX];
    path_in(bed, to, "programs");
    cr_assert_eq(mkdir(to, 0755), 0);
    cr_assert_eq(chmod(to, 0755), 0);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        AUTO(buffer_close) struct buffer content = { .limit = 64u << 20 };
        cr_assert_eq(path_join(from, PROGRAM_DIR, names[i]), STATUS_OK);
        cr_assert_eq(file_read(from, &content), STATUS_OK, "%s", from);
        char name[128];
        snprintf(name, sizeof name, "programs/%s", names[i]);
        path_in(bed, to, name);
        cr_assert_eq(file_write(to, buffer_span(&content), 0755), STATUS_OK);
    }
}

static void on_wake(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
}

void bed_open(struct bed *bed, const char *const *options)
{
    memset(bed, 0, sizeof *bed);
    bed->options = options;
    bed->arena.limit = 8u << 20;
    scratch_open(&bed->scratch);
    copy_programs(bed);
    signal(SIGPIPE, SIG_IGN);
    bed->loop = ev_loop_new(EVFLAG_NOENV);
    ev_timer_init(&bed->wake, on_wake, 0.005, 0.005);
    cr_assert_eq(bed_supervisor_start(bed), 0);
}

/* A supervisor that was killed leaves its empty directories to the next one. */
static void remove_cgroup(const struct bed *bed)
{
    struct cgroup cgroup = CGROUP_NONE;
    cgroup_open(&cgroup, store_id(bed), "acme");
    cr_assert_eq(cgroup_end_leftovers(&cgroup, false), STATUS_OK);
    cgroup_close(&cgroup);
}

bool bed_has_cgroup(const struct bed *bed, const char *service, bool if_there_are_none)
{
    char name[NAME_BYTES_MAX + 8];
    struct cgroup cgroup = CGROUP_NONE;
    cgroup_open(&cgroup, store_id(bed), "acme");
    if (cgroup.fd < 0)
        return if_there_are_none;
    snprintf(name, sizeof name, "s-%s", service);
    bool is_there = faccessat(cgroup.fd, name, F_OK, 0) == 0;
    close(cgroup.fd); /* cgroup_close would remove it */
    return is_there;
}

void bed_close(struct bed *bed)
{
    if (bed->loop == NULL)
        return;
    bed_supervisor_kill(bed);
    /* Without a namespace double-forked processes outlive their supervisor. */
    while (look_for_marks(bed, true) > 0)
        usleep(1000);
    remove_cgroup(bed);
    arena_close(&bed->arena);
    ev_loop_destroy(bed->loop);
    bed->loop = NULL;
    scratch_close(&bed->scratch);
}

int bed_supervisor_start(struct bed *bed)
{
    char run[PATH_MAX], data[PATH_MAX], uid[16];
    const char *arguments[ARGUMENTS_MAX] = { TENANTD, "--tenant", "acme", "--store-id" };
    size_t count = 4;
    path_in(bed, run, "run");
    path_in(bed, data, "data");
    snprintf(uid, sizeof uid, "%d", TEST_UID);
    arguments[count++] = store_id(bed);
    arguments[count++] = "--run";
    arguments[count++] = run;
    arguments[count++] = "--data";
    arguments[count++] = data;
    arguments[count++] = "--log-level";
    arguments[count++] = "error";
    if (geteuid() == 0) {
        arguments[count++] = "--uid";
        arguments[count++] = uid;
        arguments[count++] = "--gid";
        arguments[count++] = uid;
    }
    for (size_t i = 0; bed->options != NULL && bed->options[i] != NULL; i++)
        arguments[count++] = bed->options[i];
    pid_t pid;
    int status;
    /* Into a file: it must not hold our own output open when a test ends early. */
    posix_spawn_file_actions_t actions;
    char log[PATH_MAX];
    path_in(bed, log, "tenantd.log");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    cr_assert_eq(posix_spawn(&pid, TENANTD, &actions, NULL, (char *const *)arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (code == 0 && bed->client == NULL)
        bed_connect(bed);
    return code;
}

static struct rpc_client *client_of(struct bed *bed)
{
    char path[PATH_MAX];
    struct rpc_client *client;
    path_in(bed, path, "run/internal/tenants/acme.sock");
    const struct rpc_client_options options = { .path = path };
    cr_assert_eq(rpc_client_open(&client, bed->loop, &options), STATUS_OK);
    return client;
}

void bed_connect(struct bed *bed)
{
    struct supervisor_hello_reply hello = { 0 };
    if (bed->client != NULL)
        rpc_client_close(&bed->client);
    bed->client = client_of(bed);
    cr_assert_eq(
        bed_call(bed, &method_supervisor_hello, &(const struct supervisor_hello_request){}, &hello),
        STATUS_OK, "hello: %s", bed->problem.message);
    cr_assert_str_eq(hello.tenant, "acme");
    cr_assert_eq(hello.protocol, SUPERVISOR_PROTOCOL);
    bed->pid = (pid_t)hello.pid;
    snprintf(bed->isolation, sizeof bed->isolation, "%s", hello.isolation);
    snprintf(bed->stop_method, sizeof bed->stop_method, "%s", hello.stop_method);
}

static void expect_no_sanitizer(const struct bed *bed)
{
    AUTO(scratch_free) char *said = scratch_read(&bed->scratch, "tenantd.log");
    if (said != NULL && (strstr(said, "Sanitizer") != NULL || strstr(said, "runtime error")))
        cr_assert_fail("tenantd said:\n%s", said);
}

void bed_supervisor_kill(struct bed *bed)
{
    bed_unwatch(bed);
    if (bed->client != NULL)
        rpc_client_close(&bed->client);
    if (bed->pid > 0) {
        kill(bed->pid, SIGKILL);
        cr_assert(is_gone_soon((uint64_t)bed->pid));
    }
    bed->pid = 0;
    expect_no_sanitizer(bed);
}

enum status bed_call(struct bed *bed, const struct method *method, const void *request, void *reply)
{
    const struct rpc_call_options options = { .timeout_ms = BED_WAIT_MS };
    arena_reset(&bed->arena);
    bed->problem = (struct problem){ 0 };
    return rpc_client_call_wait(bed->client, method, request, &options, &bed->arena, reply,
                                &bed->problem);
}

/* ---- watch ---- */

static void on_notify(void *context, const char *method, struct span params)
{
    struct bed *bed = context;
    if (strcmp(method, "supervisor.state") == 0) {
        bed->states++;
        return;
    }
    cr_assert_str_eq(method, "supervisor.report");
    cr_assert_lt(bed->report_count, REPORTS_SEEN_MAX);
    struct seen_report *seen = &bed->reports[bed->report_count++];
    seen->number = map_u64(params, "number", 0);
    seen->generation = map_u64(params, "generation", 0);
    seen->since = map_u64(params, "since", 0);
    seen->causation_id = map_u64(params, "causation_id", 0);
    map_text(params, "type", seen->type, sizeof seen->type);
    map_text(params, "name", seen->name, sizeof seen->name);
}

static void on_watch_over(void *context, enum status status, const struct problem *problem,
                          const void *reply)
{
    (void)status, (void)problem, (void)reply;
    ((struct bed *)context)->is_watch_over = true;
}

void bed_watch(struct bed *bed)
{
    const struct rpc_call_options options = { .on_reply = on_watch_over,
                                              .on_notify = on_notify,
                                              .context = bed };
    bed->watch = client_of(bed);
    bed->is_watch_over = false;
    cr_assert_eq(rpc_client_call(bed->watch, &method_supervisor_watch,
                                 &(const struct supervisor_watch_request){}, &options, NULL),
                 STATUS_OK);
    bed_turn(bed, 100);
}

void bed_unwatch(struct bed *bed)
{
    if (bed->watch != NULL)
        rpc_client_close(&bed->watch);
}

void bed_turn(struct bed *bed, int milliseconds)
{
    uint64_t until = clock_boottime_ns() + (uint64_t)milliseconds * 1000000u;
    ev_timer_start(bed->loop, &bed->wake);
    do
        ev_run(bed->loop, EVRUN_ONCE);
    while (clock_boottime_ns() < until);
    ev_timer_stop(bed->loop, &bed->wake);
}

size_t bed_reports_of(const struct bed *bed, const char *type, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < bed->report_count; i++)
        count += strcmp(bed->reports[i].type, type) == 0 && strcmp(bed->reports[i].name, name) == 0;
    return count;
}

void bed_await_report(struct bed *bed, const char *type, const char *name, size_t count)
{
    uint64_t deadline = clock_boottime_ns() + BED_WAIT_MS * 1000000ull;
    while (bed_reports_of(bed, type, name) < count) {
        cr_assert_lt(clock_boottime_ns(), deadline, "%zu %s of %s, not %zu",
                     bed_reports_of(bed, type, name), type, name, count);
        bed_turn(bed, 5);
    }
}

/* ---- logs and processes ---- */

char *bed_log(const struct bed *bed, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "data/logs/acme/%s.log", name);
    char *text = scratch_read(&bed->scratch, path);
    if (text == NULL)
        return strdup("");
    char *to = text;
    for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        memmove(to, line + 31, (size_t)(end + 1 - (line + 31)));
        to += end + 1 - (line + 31);
    }
    *to = '\0';
    return text;
}

void bed_await_log(struct bed *bed, const char *name, const char *text)
{
    uint64_t deadline = clock_boottime_ns() + BED_WAIT_MS * 1000000ull;
    for (;;) {
        char *log = bed_log(bed, name);
        bool is_there = strstr(log, text) != NULL;
        cr_assert(is_there || clock_boottime_ns() < deadline, "no %s in the log of %s:\n%s", text,
                  name, log);
        free(log);
        if (is_there)
            return;
        bed_turn(bed, 5);
    }
}

bool is_alive(uint64_t pid)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%llu/stat", (unsigned long long)pid);
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (pid == 0 || fd < 0 || read(fd, text, sizeof text - 1) <= 0)
        return false;
    const char *name_end = strrchr(text, ')');
    return name_end != NULL && name_end[2] != 'Z' && name_end[2] != 'X';
}

bool is_gone_soon(uint64_t pid)
{
    for (int i = 0; i < 60000 && is_alive(pid); i++)
        usleep(1000);
    return !is_alive(pid);
}

/* Kills what carries our mark when told to; how many there were. */
static size_t look_for_marks(const struct bed *bed, bool is_killing)
{
    char mark[128];
    snprintf(mark, sizeof mark, "SOLO_INSTANCE=%s/acme/", store_id(bed));
    DIR *directory = opendir("/proc");
    size_t found = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        AUTO(buffer_close) struct buffer environment = { .limit = 1u << 20 };
        char path[512];
        pid_t pid = (pid_t)atoi(entry->d_name);
        snprintf(path, sizeof path, "/proc/%s/environ", entry->d_name);
        AUTO(fd_close) int fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        char chunk[4096];
        for (ssize_t size; fd >= 0 && (size = read(fd, chunk, sizeof chunk)) > 0;)
            buffer_append(&environment, chunk, (size_t)size);
        if (environment.size == 0 ||
            memmem(environment.data, environment.size, mark, strlen(mark)) == NULL)
            continue;
        found++;
        if (is_killing)
            kill(pid, SIGKILL);
    }
    closedir(directory);
    return found;
}

size_t bed_marked(const struct bed *bed)
{
    return look_for_marks(bed, false);
}
