/* The flow of one build. Callbacks record what happened and call build_step. Whatever ends a build
 * before its compiler exits is a verdict: the first one counts, its process group is killed, and
 * what is left of the tree is ended as a service's would be. */
#include "tenantd/build.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/spec/printable.h"
#include "common/spec/signal_name.h"
#include "tenantd/build_process.h"
#include "tenantd/scratch.h"
#include "tenantd/supervisor.h"

enum {
    READ_BYTES = 64 * 1024,
    READS_AT_END_MAX = 4, /* a pipe holds no more */
    MEASURE_MS = 200,
    WHY_BYTES = 160,
};

#define TO(state) (1u << BUILD_##state)
static const struct {
    const char *name;
    unsigned next;
} build_states[BUILD_STATES] = {
    [BUILD_QUEUED] = { "queued", TO(RUNNING) | TO(DONE) },
    [BUILD_RUNNING] = { "running", TO(ENDING) },
    [BUILD_ENDING] = { "ending", TO(DONE) },
    [BUILD_DONE] = { "done", 0 },
};

bool build_may_move(enum build_state from, enum build_state to)
{
    return (build_states[from].next & (1u << to)) != 0;
}

static void build_move(struct build *build, enum build_state state)
{
    ensure(build_may_move(build->state, state));
    log_debug("build moves", "build", build->name, "from", build_states[build->state].name, "to",
              build_states[state].name);
    build->state = state;
}

/* ---- verdicts ---- */

void build_add_output(struct build *build)
{
    char text[EXIT_OUTPUT_BYTES_MAX + 1];
    struct problem *problem = &build->problem;
    size_t used = strlen(problem->message);
    const char *lines = output_tail_text(&build->tail, text);
    const char *newline = strchr(lines, '\n');
    if (build->tail.size == EXIT_OUTPUT_BYTES_MAX && newline != NULL && newline[1] != '\0')
        lines = newline + 1;
    if (lines[0] != '\0')
        snprintf(problem->message + used, sizeof problem->message - used, "\n%s", lines);
}

static void verdict(struct build *build, enum status status, const char *why)
{
    if (build->status == STATUS_OK)
        build->status = problem_set(&build->problem, status, "build", "%s %s", build->shown, why);
}

static void judge_exit(struct build *build)
{
    char why[WHY_BYTES];
    if (WIFSIGNALED(build->exit_status))
        snprintf(why, sizeof why, "was killed by SIG%s", signal_text(WTERMSIG(build->exit_status)));
    else
        snprintf(why, sizeof why, "exited with code %d", WEXITSTATUS(build->exit_status));
    if (build->lacked_memory)
        snprintf(why + strlen(why), sizeof why - strlen(why),
                 "; something of it was killed for memory: its own bound, its tenant's or the "
                 "machine's was "
                 "reached");
    bool is_good = WIFEXITED(build->exit_status) && WEXITSTATUS(build->exit_status) == 0;
    if (!is_good)
        verdict(build, STATUS_FAILED_PRECONDITION, why);
    if (build->status == STATUS_FAILED_PRECONDITION)
        build_add_output(build);
}

/* ---- the flow ---- */

static void stop_watching(struct build *build)
{
    struct ev_loop *loop = build->supervisor->loop;
    ev_timer_stop(loop, &build->deadline);
    ev_timer_stop(loop, &build->measure);
}

static void close_output(struct build *build)
{
    if (build->on_output.fd < 0)
        return;
    ev_io_stop(build->supervisor->loop, &build->on_output);
    close(build->on_output.fd);
    ev_io_set(&build->on_output, -1, EV_READ);
}

/* false when there is nothing (any more). */
static bool read_output(struct build *build)
{
    static uint8_t bytes[READ_BYTES];
    ssize_t size = build->on_output.fd < 0 ? 0 : read(build->on_output.fd, bytes, sizeof bytes);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (size <= 0) {
        close_output(build);
        return false;
    }
    output_tail_keep(&build->tail, span_of(bytes, (size_t)size));
    build->output_bytes += (uint64_t)size;
    return true;
}

static void kill_process(struct build *build)
{
    const struct cgroup *cgroup = &build->supervisor->site->cgroup;
    build->was_killed = true;
    /* It leads a group of its own and is not reaped: the number means nobody else. */
    if (kill(-build->helper.pid, SIGKILL) < 0 && errno != ESRCH)
        log_failure(status_from_errno(errno), "kill a build", "reason", strerror(errno));
    if (cgroup->fd >= 0)
        cgroup_service_kill(cgroup, build->name);
}

static void finish(struct build *build)
{
    build->took_ms = build->began_ns == 0 ? 0 : (clock_boottime_ns() - build->began_ns) / 1000000;
    build_move(build, BUILD_DONE);
    build->on_done(build);
}

/* Whoever calls it must not touch the build afterwards. */
static void build_step(struct build *build)
{
    switch (build->state) {
    case BUILD_QUEUED:
        if (build->status != STATUS_OK)
            finish(build);
        break;
    case BUILD_RUNNING:
        if (build->helper.pid == 0) {
            stop_watching(build);
            build->lacked_memory =
                cgroup_service_use(&build->supervisor->site->cgroup, build->name).memory_kills > 0;
            build_move(build, BUILD_ENDING);
            ending_begin(&build->ending);
        } else if (build->status != STATUS_OK && !build->was_killed) {
            kill_process(build);
        }
        break;
    case BUILD_ENDING:
        if (build->ending.is_active)
            break;
        for (int i = 0; i < READS_AT_END_MAX && read_output(build); i++)
            continue;
        close_output(build);
        judge_exit(build);
        finish(build);
        break;
    default:
        break;
    }
}

/* ---- what happens to it ---- */

static void on_exit_of(struct helper *helper, int exit_status)
{
    struct build *build = OWNER_OF(helper, struct build, helper);
    build->exit_status = exit_status;
    build_step(build);
}

static void on_tree_ended(struct ending *ending)
{
    build_step(OWNER_OF(ending, struct build, ending));
}

static void on_output(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop, (void)events;
    struct build *build = OWNER_OF(watcher, struct build, on_output);
    read_output(build);
    if (build->output_bytes > BUILD_OUTPUT_BYTES_MAX)
        verdict(build, STATUS_FAILED_PRECONDITION, "printed without end and was stopped");
    build_step(build);
}

static void on_deadline(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct build *build = OWNER_OF(timer, struct build, deadline);
    char why[WHY_BYTES], allowed[DURATION_TEXT_BYTES];
    snprintf(why, sizeof why, "did not end within %s and was stopped",
             duration_text(allowed, build->supervisor->builds.timeout_ms));
    verdict(build, STATUS_FAILED_PRECONDITION, why);
    build_step(build);
}

static void on_measure(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct build *build = OWNER_OF(timer, struct build, measure);
    const char *what;
    char why[WHY_BYTES];
    if (!scratch_is_within(build->fd, &what)) {
        snprintf(why, sizeof why, "made too many %s and was stopped", what);
        verdict(build, STATUS_FAILED_PRECONDITION, why);
    }
    build_step(build);
}

/* ---- birth and end ---- */

struct build *build_new(struct supervisor *supervisor, uint64_t number, const struct hash *key,
                        struct span spec, const struct spec *read)
{
    struct build *build = calloc(1, sizeof *build);
    uint8_t *copy = malloc(spec.size);
    if (build == NULL || copy == NULL) {
        free(build);
        free(copy);
        return NULL;
    }
    memcpy(copy, spec.data, spec.size);
    build->supervisor = supervisor;
    build->key = *key;
    build->spec = span_of(copy, spec.size);
    build->fd = -1;
    snprintf(build->name, sizeof build->name, "+build-%" PRIu64, number);
    text_printable(build->shown, sizeof build->shown, span_of_text(read->build.items[0]));
    build->helper.on_exit = on_exit_of;
    ending_init(&build->ending, &supervisor->endings, build->name, on_tree_ended);
    ev_io_init(&build->on_output, on_output, -1, EV_READ);
    ev_timer_init(&build->deadline, on_deadline, (double)supervisor->builds.timeout_ms / 1e3, 0);
    ev_timer_init(&build->measure, on_measure, MEASURE_MS / 1e3, MEASURE_MS / 1e3);
    return build;
}

void build_free(struct build *build)
{
    stop_watching(build);
    close_output(build);
    ending_cancel(&build->ending);
    if (build->helper.pid != 0) {
        kill_process(build);
        supervisor_helper_forget(build->supervisor, &build->helper);
    }
    fd_close(&build->fd);
    if (build->has_scratch)
        scratch_remove(build->supervisor->site, build->name);
    output_tail_reset(&build->tail);
    free((void *)build->spec.data);
    free(build);
}

void build_begin(struct build *build)
{
    struct supervisor *supervisor = build->supervisor;
    int output = -1;
    build->began_ns = clock_boottime_ns();
    enum status status = build_process_begin(build, &output, &build->problem);
    free((void *)build->spec.data);
    build->spec = (struct span){ 0 };
    if (status != STATUS_OK) {
        if (build->problem.message[0] == '\0')
            problem_set(&build->problem, status, "build", "%s cannot be started: %s", build->shown,
                        status_text(status));
        build->status = status;
        build_step(build);
        return;
    }
    build_move(build, BUILD_RUNNING);
    supervisor_helper_started(supervisor, &build->helper);
    ev_io_set(&build->on_output, output, EV_READ);
    ev_io_start(supervisor->loop, &build->on_output);
    ev_now_update(supervisor->loop);
    ev_timer_start(supervisor->loop, &build->deadline);
    ev_timer_start(supervisor->loop, &build->measure);
}

void build_end(struct build *build, enum status status, const char *why)
{
    verdict(build, status, why);
    build_step(build);
}
