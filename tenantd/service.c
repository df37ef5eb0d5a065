/* The life of a service. Callbacks record what happened and call service_step, which holds the
 * whole flow; service_move (service_state.c) is the only writer of the state.
 *
 *     starting ◄─► waiting_for_secret                    (each start that needs secrets)
 *     starting ──► running ──► backoff ──► starting     (crash)
 *     starting ──► parked                                (as another supervisor held it)
 *        │            │  └───► parked, completed, failed
 *        │            ▼
 *        └───────► stopping ──► starting                (replace, restart)
 *                     └───────► forgotten               (stop)
 *
 * starting has a process from its exec until it is ready (service_readiness.h). One that is on
 * trial and does not become ready fails; any other that does not has crashed.
 *
 * backoff, parked, completed and failed hold no process; on request they go to stopping as well,
 * which then has nothing to wait for but what is left of the tree. A crash leaves processes behind
 * at most for moments: nothing is started before the tree is gone. */
#include "tenantd/service.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "tenantd/service_process.h"
#include "tenantd/service_readiness.h"
#include "tenantd/service_row.h"
#include "tenantd/service_secrets.h"
#include "tenantd/service_state.h"
#include "tenantd/start_order.h"
#include "tenantd/supervisor.h"

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

/* ---- timer ---- */

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct service *service = OWNER_OF(timer, struct service, timer);
    service->is_due = true;
    service_step(service);
}

/* ---- birth and end ---- */

/* Nothing is left of its tree. May free the service. */
static void on_tree_ended(struct ending *ending)
{
    struct service *service = OWNER_OF(ending, struct service, ending);
    capture_close(&service->capture);
    service_secrets_drop(service);
    service_touch(service);
    service_step(service);
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
    ending_init(&service->ending, &supervisor->endings, service->name, on_tree_ended);
    if (!supervisor_add(supervisor, service)) {
        free(service);
        return NULL;
    }
    service_step(service);
    return service;
}

void service_free(struct service *service)
{
    const struct problem gone = { .code = STATUS_UNAVAILABLE, .message = "the supervisor ends" };
    service_timer_stop(service);
    service_readiness_end(service);
    start_order_drop(service, gone.code, gone.message);
    start_waiters_fail(service, &gone);
    calls_fail(&service->stop_calls, STATUS_UNAVAILABLE, &gone);
    supervisor_remove(service->supervisor, service);
    capture_free(&service->capture);
    service_secrets_drop(service);
    for (size_t i = 0; i < EXITS_KEPT; i++)
        free(service->exits[i]);
    launch_free(service->launch);
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
        launch_free(service->launch);
        service->launch = order->launch;
        order->launch = NULL;
        service->spec_hash = order->spec_hash;
        service->is_on_trial = order->is_on_trial;
    }
    service->generation = order->generation;
    service->since = order->since;
    service->cause_id = order->cause_id;
    service->start_report = 0;
    service->start_cause = order->cause;
    service->start_calls = order->calls;
    service->ready_calls = order->ready_calls;
    service->history = (struct restart_history){ 0 };
    service->restarts = 0;
    service->breaches = 0;
    service->last_breach[0] = '\0';
    service->owes_restarted = false;
    char parked[REASON_BYTES_MAX + 1] = "";
    if (order->parked.size > 0)
        service_past_take(service, order->parked, parked);
    start_order_free(order);
    service_move(service, SERVICE_starting, "is being started");
    if (parked[0] == '\0')
        return;
    service_move(service, SERVICE_parked, "%s", parked);
    service_answer_rows(service, &service->start_calls);
    service_answer_rows(service, &service->ready_calls);
}

static void decide(struct service *service, const struct restart_exit *exit, const char *what);

static void begin_process(struct service *service)
{
    struct problem problem = { 0 };
    enum status status = service_process_begin(service, service_step, &problem);
    service_secrets_used(service);
    if (status == STATUS_OK)
        return;
    if (problem.message[0] == '\0')
        problem_set(&problem, status, "", "%s cannot be started: %s", service->name,
                    status_text(status));
    log_warning("service not started", "service", service->name, "generation",
                NUMBER(service->generation), "reason", problem.message);
    problem.code = status;
    if (service->start_cause == START_AFTER_CRASH) {
        /* It ran before: whatever is missing may come back, so this is one more crash. */
        const struct restart_exit exit = { .code = 127 };
        decide(service, &exit, problem.message);
    } else {
        service_start_failed(service, problem.message);
    }
    start_waiters_fail(service, &problem);
}

/* ---- after an exit that nobody asked for ---- */

static void back_off(struct service *service, const struct restart_decision *decision,
                     const char *what)
{
    char delay[DURATION_TEXT_BYTES], text[WHAT_BYTES];
    service_timer_start(service, decision->delay_ms);
    service_move(service, SERVICE_backoff, "%s; restarts in %s, attempt %" PRIu64 " of %" PRIu64,
                 service_what(text, what), duration_text(delay, decision->delay_ms),
                 decision->crashes, service->launch->restart.max_restarts);
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
        service_move(service, SERVICE_parked, "crashed %" PRIu64 " time%s in %s; last: %s",
                     decision.crashes, decision.crashes == 1 ? "" : "s",
                     duration_text(window, settings->window_ms), service_what(text, what));
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
    char what[EXIT_TEXT_BYTES], when[EXIT_WHEN_BYTES], ran[DURATION_TEXT_BYTES];
    const struct restart_exit exit = {
        .is_signalled = WIFSIGNALED(service->exit_status),
        .code = WIFSIGNALED(service->exit_status) ? WTERMSIG(service->exit_status)
                                                  : WEXITSTATUS(service->exit_status),
        .ran_ns = service->ran_ns,
    };
    snprintf(when, sizeof when, " after %s", duration_text(ran, service->ran_ns / NS_PER_MS));
    decide(service, &exit, exit_text(what, service, when));
}

/* Its process has ended before it was ready. What it printed last goes to the caller alone, behind
 * the reason: no log keeps it. */
static void decide_unready(struct service *service)
{
    char what[UNREADY_BYTES], tail[EXIT_OUTPUT_BYTES_MAX + 1];
    struct problem problem;
    bool is_over = service_readiness_is_over(service);
    service_unready_what(service, what);
    output_tail_text(&service->capture.tail, tail);
    problem_set(&problem, STATUS_DEADLINE_EXCEEDED, "", "%s%s%s", what, tail[0] == '\0' ? "" : "\n",
                tail);
    log_info("service not ready", "service", service->name, "generation",
             NUMBER(service->generation), "reason", what);
    service_readiness_end(service);
    if (service->is_on_trial) {
        service_move(service, SERVICE_failed, "%s", what);
    } else if (is_over) {
        const struct restart_exit exit = { .is_signalled = true,
                                           .code = SIGKILL,
                                           .ran_ns = service->ran_ns };
        decide(service, &exit, what);
    } else {
        decide_after_exit(service);
    }
    start_waiters_fail(service, &problem);
}

/* ---- stopping ---- */

static void begin_stop(struct service *service)
{
    char grace[DURATION_TEXT_BYTES];
    service_readiness_end(service);
    service->was_running_at_stop = service->pid != 0;
    service->was_killed = false;
    if (service->pid == 0) {
        service_move(service, SERVICE_stopping, "is being ended");
        return;
    }
    service_move(service, SERVICE_stopping, "was sent SIG%s; is killed after %s",
                 signal_text(service->launch->stop_signal),
                 duration_text(grace, service_grace_ms(service)));
    if (service_grace_ms(service) == 0) {
        service_process_kill(service);
        return;
    }
    service_process_ask(service);
    service_timer_start(service, service_grace_ms(service));
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
    /* Of one that never had a process; before the answer, which says that nothing is left. */
    if (service->order == NULL && service->supervisor->site->cgroup.fd >= 0)
        (void)cgroup_service_remove(&service->supervisor->site->cgroup, service->name);
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
            else if (service->readiness != NULL && service->pid == 0)
                decide_unready(service);
            else if (service->readiness != NULL)
                service_readiness_step(service);
            else if (!service->ending.is_active && !service_secrets_ask(service))
                begin_process(service);
            break;
        case SERVICE_waiting_for_secret:
            if (service->is_stop_wanted)
                begin_stop(service);
            else if (service->has_secrets)
                service_move(service, SERVICE_starting, "is being started");
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
                    service_process_kill(service);
            } else if (!service->ending.is_active) {
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

void service_order(struct service *service, struct start_order *order)
{
    start_order_drop(service, STATUS_ABORTED, "a newer generation was ordered");
    if (order->launch == NULL)
        start_waiters_keep(service, order);
    else
        start_waiters_abort(service, "a newer generation was ordered");
    service->order = order;
    if (!service->is_stop_wanted) {
        service->is_stop_wanted = true;
        service->stop_cause = order->launch == NULL ? STOP_RESTART : STOP_REPLACE;
        service->stop_cause_id = order->cause_id;
        service->stop_grace_ms = UINT64_MAX;
    }
    service_step(service);
}

void service_stop(struct service *service, const struct stop_request *request,
                  struct rpc_call *call)
{
    start_order_drop(service, STATUS_ABORTED, "it was asked to stop");
    start_waiters_abort(service, "it was asked to stop");
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
        uint64_t grace_ms = service_grace_ms(service);
        if (grace_ms == 0)
            service_process_kill(service);
        else if (grace_ms < service_timer_left_ms(service))
            service_timer_start(service, grace_ms);
    }
    service_step(service);
}

void service_go_on(struct service *service)
{
    service_step(service);
}

void service_exited(struct service *service, int exit_status, uint64_t resident_bytes_max)
{
    ensure(service->pid != 0);
    service->exit_status = exit_status;
    service->resident_bytes_max = resident_bytes_max;
    service->ran_ns = clock_boottime_ns() - service->started_boot_ns;
    service->pid = 0;
    service->host_pid = 0;
    service->start_ticks = 0;
    usage_end(service);
    capture_drain(&service->capture);
    service_breach_find(service);
    service_exit_keep(service);
    ending_begin(&service->ending);
    service_touch(service);
    service_step(service);
}
