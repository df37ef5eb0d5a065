/* The life of a service. Callbacks record what happened and call service_step, which holds the
 * whole flow; service_move is the only writer of the state.
 *
 *     starting ──► running ──► backoff ──► starting     (crash)
 *        │            │  └───► parked, completed, failed
 *        │            ▼
 *        └───────► stopping ──► starting                (replace, restart)
 *                     └───────► forgotten               (stop)
 *
 * backoff, parked, completed and failed hold no process; on request they go to stopping as well,
 * which then has nothing to wait for but what is left of the tree. A crash leaves processes behind
 * at most for moments: nothing is started before the tree is gone. */
#include "tenantd/service.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
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
#include "tenantd/service_row.h"
#include "tenantd/supervisor.h"

static const uint64_t NS_PER_MS = 1000000;

#define TO(state) (1u << SERVICE_##state)
static const unsigned next_states[SERVICE_STATES] = {
    [SERVICE_starting] = TO(running) | TO(backoff) | TO(parked) | TO(failed) | TO(stopping),
    [SERVICE_running] = TO(backoff) | TO(parked) | TO(completed) | TO(failed) | TO(stopping),
    [SERVICE_backoff] = TO(starting) | TO(stopping),
    [SERVICE_parked] = TO(stopping),
    [SERVICE_completed] = TO(stopping),
    [SERVICE_failed] = TO(stopping),
    [SERVICE_stopping] = TO(starting),
};

static void service_step(struct service *service);

unsigned service_name_hash(const void *key, size_t size)
{
    static uint8_t secret[crypto_shorthash_KEYBYTES];
    static bool is_drawn;
    if (!is_drawn)
        random_fill(secret, sizeof secret);
    is_drawn = true;
    uint8_t hash[crypto_shorthash_BYTES];
    unsigned value;
    crypto_shorthash(hash, key, size, secret);
    memcpy(&value, hash, sizeof value);
    return value;
}

void service_touch(struct service *service)
{
    supervisor_changed(service->supervisor, service);
}

static void service_move(struct service *service, enum service_state state, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void service_move(struct service *service, enum service_state state, const char *format, ...)
{
    ensure((next_states[service->state] & (1u << state)) != 0);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(service->reason, sizeof service->reason, format, arguments);
    va_end(arguments);
    log_debug("service moves", "service", service->name, "from", service_state_name(service->state),
              "to", service_state_name(state), "reason", service->reason);
    service->state = state;
    service_touch(service);
}

/* What happened, short enough for a reason, cut between characters. */
enum { WHAT_BYTES = 160 };
static char *shorten(char text[WHAT_BYTES], const char *what)
{
    snprintf(text, WHAT_BYTES, "%s", what);
    for (size_t size = strlen(text); size > 0 && !utf8_is_valid(span_of(text, size));)
        text[--size] = '\0';
    return text;
}

/* ---- timer ---- */

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct service *service = OWNER_OF(timer, struct service, timer);
    service->is_due = true;
    service_step(service);
}

static void timer_start(struct service *service, uint64_t delay_ms)
{
    struct ev_loop *loop = service->supervisor->loop;
    ev_timer_stop(loop, &service->timer);
    ev_now_update(loop);
    ev_timer_set(&service->timer, (double)delay_ms / 1000.0, 0.0);
    ev_timer_start(loop, &service->timer);
    service->is_due = false;
    service->due_wall_ns = clock_wall_ns() + delay_ms * NS_PER_MS;
}

static void timer_stop(struct service *service)
{
    ev_timer_stop(service->supervisor->loop, &service->timer);
    service->is_due = false;
    service->due_wall_ns = 0;
}

/* ---- birth and end ---- */

void start_order_free(struct start_order *order)
{
    if (order == NULL)
        return;
    free(order->launch);
    free(order);
}

struct service *service_new(struct supervisor *supervisor, const char *name,
                            struct start_order *order)
{
    struct service *service = calloc(1, sizeof *service);
    if (service == NULL)
        return NULL;
    service->supervisor = supervisor;
    snprintf(service->name, sizeof service->name, "%s", name);
    service->state = SERVICE_stopping; /* nothing, about to become what is ordered */
    service->order = order;
    service->since = order->since;
    service->generation = order->generation;
    capture_init(&service->capture, &supervisor->hub, service->name);
    ev_timer_init(&service->timer, on_timer, 0, 0);
    supervisor_add(supervisor, service);
    service_step(service);
    return service;
}

void service_free(struct service *service)
{
    const struct problem gone = { .code = STATUS_UNAVAILABLE, .message = "the supervisor ends" };
    timer_stop(service);
    if (service->order != NULL)
        calls_fail(&service->order->calls, STATUS_UNAVAILABLE, &gone);
    calls_fail(&service->start_calls, STATUS_UNAVAILABLE, &gone);
    calls_fail(&service->stop_calls, STATUS_UNAVAILABLE, &gone);
    start_order_free(service->order);
    supervisor_remove(service->supervisor, service);
    capture_free(&service->capture);
    for (size_t i = 0; i < EXITS_KEPT; i++)
        free(service->exits[i]);
    free(service->launch);
    free(service);
}

/* ---- starting ---- */

/* Becomes what was ordered. */
static void adopt(struct service *service)
{
    struct start_order *order = service->order;
    service->order = NULL;
    if (order->launch != NULL) {
        if (service->launch != NULL && service->launch->has_code &&
            service->generation != order->generation)
            site_code_remove(service->supervisor->site, service->name, service->generation);
        free(service->launch);
        service->launch = order->launch;
        order->launch = NULL;
        service->spec_hash = order->spec_hash;
    }
    service->generation = order->generation;
    service->since = order->since;
    service->cause_id = order->cause_id;
    service->start_cause = order->cause;
    service->start_calls = order->calls;
    service->history = (struct restart_history){ 0 };
    service->restarts = 0;
    service->owes_restarted = false;
    start_order_free(order);
    service_move(service, SERVICE_starting, "is being started");
}

static void report_start(struct service *service)
{
    uint64_t cause = service->cause_id != 0 ? service->cause_id : service->generation;
    switch (service->start_cause) {
    case START_DEPLOY:
    case START_FALLBACK:
        service_report(service, "service_started", cause, REPORT_PLAIN);
        break;
    case START_RECOVER:
        service_report(service, "service_recovered", cause, REPORT_PLAIN);
        break;
    case START_RESTART:
        service_report(service, "service_restarted", cause, REPORT_PLAIN);
        break;
    case START_AFTER_CRASH:
        if (service->owes_restarted)
            service_report(service, "service_restarted", service->generation, REPORT_PLAIN);
        service->owes_restarted = false;
        break;
    }
}

static const char *start_reason(enum start_cause cause)
{
    static const char *const reasons[] = {
        [START_DEPLOY] = "was deployed",
        [START_FALLBACK] = "its newer generation could not be started",
        [START_RECOVER] = "was recovered",
        [START_RESTART] = "was restarted on request",
        [START_AFTER_CRASH] = "was restarted after it ended",
    };
    return reasons[cause];
}

static void started(struct service *service, pid_t pid, int pidfd)
{
    struct supervisor *supervisor = service->supervisor;
    struct process process;
    service->pid = service->session = pid;
    service->started_wall_ns = clock_wall_ns();
    service->started_boot_ns = clock_boottime_ns();
    service->host_pid = pidfd < 0
                            ? (uint64_t)pid
                            : (uint64_t)process_outer_pid(supervisor->site->host_proc_fd, pidfd);
    service->start_ticks =
        process_read(supervisor->site->proc_fd, pid, &process) ? process.start_ticks : 0;
    if (service->start_cause == START_AFTER_CRASH)
        service->restarts++;
    supervisor_process_started(supervisor, service);
    timer_stop(service);
    service_move(service, SERVICE_running, "%s", start_reason(service->start_cause));
    report_start(service);
    service_answer_rows(service, &service->start_calls);
}

static enum status spawn_process(struct service *service, struct problem *problem)
{
    struct supervisor *supervisor = service->supervisor;
    const struct site *site = supervisor->site;
    AUTO(fd_close) int cgroup = -1;
    AUTO(fd_close) int pidfd = -1;
    TRY(site_home_make(site, service->name));
    if (site->cgroup.fd >= 0)
        TRY(cgroup_service_open(&site->cgroup, service->name, &cgroup));
    int ends[2];
    TRY(capture_open(&service->capture, &service->launch->logs, ends));
    random_fill(&service->nonce, sizeof service->nonce);
    const struct launch_identity identity = { service->name, service->generation, service->nonce };
    pid_t pid = 0;
    enum status status =
        launch_run(service->launch, site, &identity, ends[0], ends[1], cgroup, &pid,
                   site->isolation == ISOLATION_NONE ? NULL : &pidfd, problem);
    close(ends[0]);
    close(ends[1]);
    if (status == STATUS_OK) {
        started(service, pid, pidfd);
        return STATUS_OK;
    }
    capture_close(&service->capture);
    if (site->cgroup.fd >= 0)
        cgroup_service_remove(&site->cgroup, service->name);
    return status;
}

static void decide(struct service *service, const struct restart_exit *exit, const char *what);

static void begin_process(struct service *service)
{
    struct problem problem = { 0 };
    char text[WHAT_BYTES];
    enum status status = spawn_process(service, &problem);
    if (status == STATUS_OK)
        return;
    if (problem.message[0] == '\0')
        problem_set(&problem, status, "", "%s cannot be started: %s", service->name,
                    status_text(status));
    log_warning("service not started", "service", service->name, "generation",
                NUMBER(service->generation), "reason", problem.message);
    if (service->start_cause == START_AFTER_CRASH) {
        /* It ran before: whatever is missing may come back, so this is one more crash. */
        const struct restart_exit exit = { .code = 127 };
        decide(service, &exit, problem.message);
        return;
    }
    service_move(service, SERVICE_failed, "%s", shorten(text, problem.message));
    calls_fail(&service->start_calls, status, &problem);
}

/* ---- after an exit that nobody asked for ---- */

static void back_off(struct service *service, const struct restart_decision *decision,
                     const char *what)
{
    char delay[DURATION_TEXT_BYTES], text[WHAT_BYTES];
    timer_start(service, decision->delay_ms);
    service_move(service, SERVICE_backoff, "%s; restarts in %s", shorten(text, what),
                 duration_text(delay, decision->delay_ms));
}

static void decide(struct service *service, const struct restart_exit *exit, const char *what)
{
    char window[DURATION_TEXT_BYTES], text[WHAT_BYTES];
    const struct restart_settings *settings = &service->launch->restart;
    uint64_t cause = service->generation;
    struct restart_decision decision =
        restart_decide(settings, &service->history, exit, clock_boottime_ns());
    switch (decision.verdict) {
    case RESTART_COMPLETE:
        service_move(service, SERVICE_completed, "%s", what);
        service_report(service, "service_completed", cause, REPORT_WITH_EXIT);
        return;
    case RESTART_FAIL:
        service_move(service, SERVICE_failed, "%s; its restart policy is never", what);
        service_report(service, "service_crashed", cause, REPORT_WITH_EXIT);
        return;
    case RESTART_AGAIN:
        back_off(service, &decision, what);
        break;
    case RESTART_PARK:
        service_move(service, SERVICE_parked, "crashed %" PRIu64 " times in %s; last: %s",
                     decision.crashes, duration_text(window, settings->window_ms),
                     shorten(text, what));
        break;
    }
    if (decision.is_first_crash) {
        service_report(service, "service_crashed", cause, REPORT_WITH_EXIT);
        service->owes_restarted = true;
    }
    if (decision.verdict == RESTART_PARK)
        service_report(service, "service_parked", cause, REPORT_WITH_EXIT);
}

static void decide_after_exit(struct service *service)
{
    char text[EXIT_TEXT_BYTES], ran[DURATION_TEXT_BYTES], what[EXIT_TEXT_BYTES + 64];
    const struct restart_exit exit = {
        .is_signalled = WIFSIGNALED(service->exit_status),
        .code = WIFSIGNALED(service->exit_status) ? WTERMSIG(service->exit_status)
                                                  : WEXITSTATUS(service->exit_status),
        .ran_ns = service->ran_ns,
    };
    snprintf(what, sizeof what, "%s after %s", exit_text(text, service->exit_status),
             duration_text(ran, service->ran_ns / NS_PER_MS));
    decide(service, &exit, what);
}

/* ---- stopping ---- */

static void signal_process(struct service *service, int number)
{
    /* It leads a group of its own for life, and is not reaped: the number means nobody else. */
    if (kill(-service->pid, number) < 0 && errno != ESRCH)
        log_failure(status_from_errno(errno), "signal", "service", service->name, "signal",
                    signal_text(number), "reason", strerror(errno));
}

static void kill_tree(struct service *service)
{
    const struct site *site = service->supervisor->site;
    service->was_killed = true;
    timer_stop(service);
    signal_process(service, SIGKILL);
    if (site->cgroup.fd >= 0)
        cgroup_service_kill(&site->cgroup, service->name);
}

static uint64_t grace_ms(const struct service *service)
{
    uint64_t own = service->launch->stop_timeout_ms;
    return own < service->stop_grace_ms ? own : service->stop_grace_ms;
}

static void begin_stop(struct service *service)
{
    char grace[DURATION_TEXT_BYTES];
    service->was_running_at_stop = service->pid != 0;
    service->was_killed = false;
    timer_stop(service);
    if (service->pid == 0) {
        service_move(service, SERVICE_stopping, "is being ended");
        return;
    }
    service_move(service, SERVICE_stopping, "was sent SIG%s; is killed after %s",
                 signal_text(service->launch->stop_signal),
                 duration_text(grace, grace_ms(service)));
    if (grace_ms(service) == 0) {
        kill_tree(service);
        return;
    }
    signal_process(service, service->launch->stop_signal);
    signal_process(service, SIGCONT); /* one that was halted could not react */
    timer_start(service, grace_ms(service));
}

/* Its tree is gone. Frees the service unless something else is ordered. */
static void finish_stop(struct service *service)
{
    if (service->was_running_at_stop && service->stop_cause != STOP_KILL) {
        uint64_t cause = service->stop_cause_id != 0 ? service->stop_cause_id : service->generation;
        service_report(service, "service_stopped", cause, REPORT_WITH_EXIT | REPORT_WITH_STOP);
    }
    if (service->was_running_at_stop)
        supervisor_service_stopped(service->supervisor, service);
    service_answer_stopped(service, &service->stop_calls);
    service->is_stop_wanted = false;
    service->was_running_at_stop = false;
    if (service->order != NULL) {
        adopt(service);
        return;
    }
    if (service->launch != NULL && service->launch->has_code)
        site_code_remove(service->supervisor->site, service->name, service->generation);
    service_free(service);
}

/* The whole flow. Whoever calls it must not touch the service afterwards: it may be gone. */
static void service_step(struct service *service)
{
    for (;;) {
        enum service_state before = service->state;
        switch (before) {
        case SERVICE_starting:
            if (service->is_stop_wanted)
                begin_stop(service);
            else if (!service->is_ending)
                begin_process(service);
            break;
        case SERVICE_running:
            if (service->pid == 0)
                decide_after_exit(service);
            else if (service->is_stop_wanted)
                begin_stop(service);
            break;
        case SERVICE_backoff:
            if (service->is_stop_wanted) {
                begin_stop(service);
            } else if (service->is_due) {
                service->start_cause = START_AFTER_CRASH;
                service->due_wall_ns = 0;
                service_move(service, SERVICE_starting, "is being restarted");
            }
            break;
        case SERVICE_parked:
        case SERVICE_completed:
        case SERVICE_failed:
            if (service->is_stop_wanted)
                begin_stop(service);
            break;
        case SERVICE_stopping:
            if (service->pid != 0) {
                if (service->is_due && !service->was_killed)
                    kill_tree(service);
            } else if (!service->is_ending) {
                bool is_last = service->order == NULL;
                finish_stop(service);
                if (is_last)
                    return;
            }
            break;
        default:
            ensure(!"a state that services here do not have");
        }
        if (service->state == before)
            return;
    }
}

/* ---- what happens to it ---- */

static void drop_order(struct service *service, const char *why)
{
    struct problem problem = { 0 };
    if (service->order == NULL)
        return;
    problem_set(&problem, STATUS_ABORTED, "", "%s", why);
    calls_fail(&service->order->calls, STATUS_ABORTED, &problem);
    if (service->order->launch != NULL && service->order->launch->has_code &&
        service->order->generation != service->generation)
        site_code_remove(service->supervisor->site, service->name, service->order->generation);
    start_order_free(service->order);
    service->order = NULL;
}

static void fail_start_calls(struct service *service, const char *why)
{
    struct problem problem = { 0 };
    problem_set(&problem, STATUS_ABORTED, "", "%s", why);
    calls_fail(&service->start_calls, STATUS_ABORTED, &problem);
}

void service_order(struct service *service, struct start_order *order)
{
    drop_order(service, "a newer generation was ordered");
    fail_start_calls(service, "a newer generation was ordered");
    service->order = order;
    if (!service->is_stop_wanted) {
        service->is_stop_wanted = true;
        service->stop_cause = order->launch == NULL ? STOP_RESTART : STOP_REPLACE;
        service->stop_cause_id = order->cause_id;
        service->stop_grace_ms = UINT64_MAX;
    }
    service_step(service);
}

void service_join(struct service *service, struct rpc_call *call)
{
    struct rpc_call **list =
        service->order != NULL ? &service->order->calls : &service->start_calls;
    call->user = *list;
    *list = call;
}

void service_stop(struct service *service, const struct stop_request *request,
                  struct rpc_call *call)
{
    drop_order(service, "it was asked to stop");
    fail_start_calls(service, "it was asked to stop");
    if (call != NULL) {
        call->user = service->stop_calls;
        service->stop_calls = call;
    }
    uint64_t grace = request->has_grace ? request->grace_ms : UINT64_MAX;
    bool is_stopping = service->state == SERVICE_stopping;
    if (!service->is_stop_wanted || request->cause == STOP_KILL ||
        service->stop_cause == STOP_REPLACE || service->stop_cause == STOP_RESTART) {
        service->stop_cause = request->cause;
        service->stop_cause_id = request->cause_id;
    }
    service->stop_grace_ms =
        service->is_stop_wanted && service->stop_grace_ms < grace ? service->stop_grace_ms : grace;
    service->is_stop_wanted = true;
    /* A shorter grace counts from now on; a longer one does not give time back. */
    if (is_stopping && service->pid != 0 && !service->was_killed && request->has_grace) {
        uint64_t due = clock_wall_ns() + grace_ms(service) * NS_PER_MS;
        if (grace_ms(service) == 0)
            kill_tree(service);
        else if (due < service->due_wall_ns)
            timer_start(service, grace_ms(service));
    }
    service_step(service);
}

void service_exited(struct service *service, int exit_status)
{
    ensure(service->pid != 0);
    service->exit_status = exit_status;
    service->ran_ns = clock_boottime_ns() - service->started_boot_ns;
    service->pid = 0;
    service->host_pid = 0;
    service->start_ticks = 0;
    capture_drain(&service->capture);
    service_exit_keep(service);
    supervisor_end_tree(service->supervisor, service);
    service_touch(service);
    service_step(service);
}

void service_tree_ended(struct service *service)
{
    capture_close(&service->capture);
    service_touch(service);
    service_step(service);
}
