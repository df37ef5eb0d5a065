/* SIGTERM, step by step:
 *
 *     wait_deployd -> drain -> stop_deployd -> stop_stores -> close_log -> stop_eventd -> done
 *            (any of them, when the time is over) -> kill -> close_behind -> done
 *
 * deployd is needed to stop the services, so it is started if it is not there: a SIGTERM during the
 * start may find supervisors of an earlier run, and a SIGTERM after a crash must not leave services
 * behind. If this run has not begun to use deployd, or deployd cannot start, and no supervisor
 * lives, there is nothing to stop. The drain has shutdown_timeout_ms from the signal on and kills
 * what is left then; a margin above it is for the daemons to finish what they received. A daemon
 * that hangs is killed alone, as long as eventd answers; one that not even SIGKILL ends is left
 * behind. Behind an eventd that ended without closing the log another one does it. */
#include "solod/shutdown.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>

#include "common/api/api.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"
#include "solod/supervisors.h"

enum {
    MARGIN_MS = 3000,
    DRAIN_MS_MIN = 100,
    DRAIN_ANSWER_MS = 2000, /* deployd kills what is left of the drain by itself */
    CLOSE_LOG_MS = 2000,
    ANSWER_MS = 2000, /* of an eventd that does not hang */
    KILL_MS = 2000,   /* for the kernel to end what it was told to */
    EXIT_DAMAGED = 86,
};

#define TO(step) (1u << SHUTDOWN_##step)
static const struct {
    const char *name;
    unsigned next;
} steps[SHUTDOWN_STEPS] = {
    [SHUTDOWN_NONE] = { "none", TO(WAIT_DEPLOYD) },
    [SHUTDOWN_WAIT_DEPLOYD] = { "wait_deployd", TO(DRAIN) | TO(STOP_DEPLOYD) | TO(KILL) },
    [SHUTDOWN_DRAIN] = { "drain", TO(STOP_DEPLOYD) | TO(KILL) },
    [SHUTDOWN_STOP_DEPLOYD] = { "stop_deployd", TO(STOP_STORES) | TO(KILL) },
    [SHUTDOWN_STOP_STORES] = { "stop_stores", TO(CLOSE_LOG) | TO(STOP_EVENTD) | TO(KILL) },
    [SHUTDOWN_CLOSE_LOG] = { "close_log", TO(STOP_EVENTD) | TO(KILL) },
    [SHUTDOWN_STOP_EVENTD] = { "stop_eventd", TO(CLOSE_BEHIND) | TO(DONE) | TO(KILL) },
    [SHUTDOWN_KILL] = { "kill", TO(CLOSE_BEHIND) | TO(DONE) },
    [SHUTDOWN_CLOSE_BEHIND] = { "close_behind", TO(DONE) },
    [SHUTDOWN_DONE] = { "done", 0 },
};

static void move(struct shutdown *shutdown, enum shutdown_step step)
{
    ensure(step < SHUTDOWN_STEPS);
    ensure(steps[shutdown->step].next & (1u << step));
    log_debug("shutdown", "from", steps[shutdown->step].name, "to", steps[step].name);
    shutdown->step = step;
    shutdown->was_killed = false;
}

static struct daemon *deployd_of(struct shutdown *shutdown)
{
    return &shutdown->daemons->items[DAEMON_DEPLOYD];
}

static struct daemon *vaultd_of(struct shutdown *shutdown)
{
    return &shutdown->daemons->items[DAEMON_VAULTD];
}

static struct daemon *tokend_of(struct shutdown *shutdown)
{
    return &shutdown->daemons->items[DAEMON_TOKEND];
}

static struct daemon *eventd_of(struct shutdown *shutdown)
{
    return &shutdown->daemons->items[DAEMON_EVENTD];
}

static enum status client_open(struct shutdown *shutdown, const struct daemon *daemon,
                               struct rpc_client **client)
{
    char path[4096];
    rpc_client_close(client);
    TRY(run_socket_path(path, shutdown->daemons->instance->run_path, daemon->name));
    const struct rpc_client_options options = {
        .path = path,
        .daemon = "solod",
        .key = span_of(shutdown->daemons->instance->key, RUN_KEY_BYTES),
    };
    return rpc_client_open(client, shutdown->daemons->loop, &options);
}

static void deployd_stop(struct shutdown *shutdown)
{
    move(shutdown, SHUTDOWN_STOP_DEPLOYD);
    daemon_stop(deployd_of(shutdown), false);
    shutdown_step(shutdown);
}

/* Whoever could not be asked to stop the services cannot be waited for either. */
static void services_kill(struct shutdown *shutdown)
{
    shutdown->is_forced = true;
    killed_add(&shutdown->killed, "every service");
    supervisors_kill(shutdown->daemons->instance->run_path);
}

static bool is_gone(const struct child *child)
{
    return child->pid == 0 || child->is_given_up;
}

/* Kills it; what was killed before, and is still there, is not waited for any longer. */
static bool child_end(struct shutdown *shutdown, struct child *child, const char *name)
{
    if (is_gone(child))
        return false;
    if (shutdown->was_killed) {
        child_give_up(child, name);
    } else {
        killed_add(&shutdown->killed, name);
        child_signal(child, SIGKILL);
    }
    return true;
}

static bool daemon_end(struct shutdown *shutdown, struct daemon *daemon)
{
    daemon_stop(daemon, false);
    return child_end(shutdown, &daemon->child, daemon->name);
}

static void on_drained(void *context, enum status status, const struct problem *problem,
                       const void *reply)
{
    struct shutdown *shutdown = context;
    const struct system_drain_reply *drained = reply;
    if (shutdown->step != SHUTDOWN_DRAIN)
        return;
    if (status != STATUS_OK) {
        log_error("drain failed", "status", status_name(status), "reason",
                  problem == NULL ? "" : problem->message);
        services_kill(shutdown);
        /* It has its own limit, and hangs when that is over. */
        if (status == STATUS_DEADLINE_EXCEEDED)
            daemon_end(shutdown, deployd_of(shutdown));
    } else {
        log_info("services stopped", "stopped", NUMBER(drained->stopped), "killed",
                 NUMBER(drained->killed));
        shutdown->is_forced = shutdown->is_forced || drained->killed > 0;
        killed_add_list(&shutdown->killed, drained->killed_names);
    }
    deployd_stop(shutdown);
}

static void drain_begin(struct shutdown *shutdown)
{
    const struct settings *settings = shutdown->daemons->settings;
    uint64_t spent_ms = (clock_boottime_ns() - shutdown->began_ns) / 1000000;
    const struct system_drain_request request = {
        .timeout_ms = settings->shutdown_timeout_ms > spent_ms + DRAIN_MS_MIN
                          ? settings->shutdown_timeout_ms - spent_ms
                          : DRAIN_MS_MIN,
        .quiet = !settings->log_shutdown_events,
    };
    const struct rpc_call_options options = {
        .flags = RPC_RETRY,
        .timeout_ms = request.timeout_ms + DRAIN_ANSWER_MS,
        .request_id = &shutdown->drain_id,
        .on_reply = on_drained,
        .context = shutdown,
    };
    move(shutdown, SHUTDOWN_DRAIN);
    enum status status = client_open(shutdown, deployd_of(shutdown), &shutdown->client);
    if (status == STATUS_OK)
        status = rpc_client_call(shutdown->client, &method_system_drain, &request, &options, NULL);
    if (status != STATUS_OK)
        on_drained(shutdown, status, NULL, NULL);
}

static void deadline_set(struct shutdown *shutdown, uint64_t milliseconds)
{
    ev_timer_stop(shutdown->daemons->loop, &shutdown->deadline);
    ev_now_update(shutdown->daemons->loop);
    ev_timer_set(&shutdown->deadline, (double)milliseconds / 1e3, 0);
    ev_timer_start(shutdown->daemons->loop, &shutdown->deadline);
}

/* Before the log is closed: their last events are on their way there. */
static void stores_stop(struct shutdown *shutdown)
{
    move(shutdown, SHUTDOWN_STOP_STORES);
    if (shutdown->is_over)
        deadline_set(shutdown, MARGIN_MS);
    daemon_stop(vaultd_of(shutdown), false);
    daemon_stop(tokend_of(shutdown), false);
    shutdown_step(shutdown);
}

static void eventd_stop(struct shutdown *shutdown)
{
    move(shutdown, SHUTDOWN_STOP_EVENTD);
    daemon_stop(eventd_of(shutdown), false);
    shutdown_step(shutdown);
}

static void finish(struct shutdown *shutdown)
{
    move(shutdown, SHUTDOWN_DONE);
    ev_timer_stop(shutdown->daemons->loop, &shutdown->deadline);
    if (shutdown->is_forced) /* once more: one may have been about to begin */
        supervisors_kill(shutdown->daemons->instance->run_path);
    log_info("stopped", "clean", shutdown->is_forced ? "false" : "true", "took_ms",
             NUMBER((clock_boottime_ns() - shutdown->began_ns) / 1000000));
    shutdown->done(shutdown->context, !shutdown->is_forced);
}

static void on_closed_behind(void *context)
{
    struct shutdown *shutdown = context;
    if (shutdown->step == SHUTDOWN_CLOSE_BEHIND)
        finish(shutdown);
}

/* A damaged store is not touched: what is wrong with it is told by the next start. */
static bool log_is_open(struct shutdown *shutdown)
{
    const struct daemon *eventd = eventd_of(shutdown);
    int code = eventd->last_exit.by_signal ? -1 : eventd->last_exit.number;
    return deployd_of(shutdown)->started_ns != 0 && eventd->child.pid == 0 &&
           code != EXIT_DAMAGED && (!shutdown->is_closing || code != 0);
}

static void eventd_ended(struct shutdown *shutdown)
{
    if (!log_is_open(shutdown)) {
        finish(shutdown);
        return;
    }
    move(shutdown, SHUTDOWN_CLOSE_BEHIND);
    shutdown->is_forced = true;
    deadline_set(shutdown, MARGIN_MS);
    if (log_closer_start(&shutdown->closer, shutdown->daemons, shutdown->killed.names,
                         on_closed_behind, shutdown) != STATUS_OK)
        finish(shutdown);
}

static void killing_began(struct shutdown *shutdown)
{
    shutdown->is_forced = true;
    shutdown->was_killed = true;
    deadline_set(shutdown, KILL_MS);
    shutdown_step(shutdown);
}

/* Whom the step waits for. An eventd that works is none of them: it closes the log behind those who
 * had to be killed. */
static bool hanging_kill(struct shutdown *shutdown)
{
    bool is_somebody = false;
    if (eventd_of(shutdown)->state != DAEMON_READY)
        return false;
    if (shutdown->step == SHUTDOWN_STOP_DEPLOYD) {
        is_somebody |= child_end(shutdown, &shutdown->recovery->child, "recoveryd");
        is_somebody |= daemon_end(shutdown, deployd_of(shutdown));
    } else if (shutdown->step == SHUTDOWN_STOP_STORES) {
        is_somebody |= daemon_end(shutdown, vaultd_of(shutdown));
        is_somebody |= daemon_end(shutdown, tokend_of(shutdown));
    }
    if (is_somebody)
        killing_began(shutdown);
    return is_somebody;
}

static void everything_kill(struct shutdown *shutdown)
{
    if (shutdown->step != SHUTDOWN_KILL) {
        rpc_client_close(&shutdown->client);
        if (shutdown->step < SHUTDOWN_STOP_DEPLOYD)
            services_kill(shutdown);
        move(shutdown, SHUTDOWN_KILL);
        recovery_stop(shutdown->recovery);
    }
    child_end(shutdown, &shutdown->recovery->child, "recoveryd");
    for (size_t i = DAEMONS; i-- > 0;)
        daemon_end(shutdown, &shutdown->daemons->items[i]);
    killing_began(shutdown);
}

static void on_log_closed(void *context, enum status status, const struct problem *problem,
                          const void *reply)
{
    struct shutdown *shutdown = context;
    (void)reply;
    if (shutdown->step != SHUTDOWN_CLOSE_LOG)
        return;
    if (status != STATUS_OK) {
        log_error("the log was not closed", "status", status_name(status), "reason",
                  problem == NULL ? "" : problem->message);
        shutdown->is_forced = true;
    }
    shutdown->is_closing = status == STATUS_OK;
    if (status == STATUS_DEADLINE_EXCEEDED)
        everything_kill(shutdown); /* of which eventd alone is left: it hangs */
    else
        eventd_stop(shutdown);
}

static void close_log_begin(struct shutdown *shutdown)
{
    const struct event_close_log_request request = { .is_forced = shutdown->is_forced,
                                                     .killed = shutdown->killed.names };
    const struct rpc_call_options options = {
        .flags = RPC_RETRY,
        .timeout_ms = CLOSE_LOG_MS,
        .on_reply = on_log_closed,
        .context = shutdown,
    };
    move(shutdown, SHUTDOWN_CLOSE_LOG);
    enum status status = client_open(shutdown, eventd_of(shutdown), &shutdown->client);
    if (status == STATUS_OK)
        status =
            rpc_client_call(shutdown->client, &method_event_close_log, &request, &options, NULL);
    if (status != STATUS_OK)
        on_log_closed(shutdown, status, NULL, NULL);
}

static void on_eventd_answered(void *context, enum status status, const struct problem *problem,
                               const void *reply)
{
    struct shutdown *shutdown = context;
    (void)problem, (void)reply;
    if (status == STATUS_OK || shutdown->step >= SHUTDOWN_STOP_EVENTD)
        return;
    log_error("eventd does not answer: what is left is killed, another one closes the log", "step",
              steps[shutdown->step].name);
    everything_kill(shutdown);
}

/* Everybody waits for eventd: one that hangs would cost each of them its margin. */
static void eventd_ask(struct shutdown *shutdown)
{
    const struct daemon_health_request request = {};
    const struct rpc_call_options options = {
        .timeout_ms = ANSWER_MS,
        .on_reply = on_eventd_answered,
        .context = shutdown,
    };
    if (client_open(shutdown, eventd_of(shutdown), &shutdown->eventd) == STATUS_OK)
        (void)rpc_client_call(shutdown->eventd, &method_daemon_health, &request, &options, NULL);
}

static void margin_begin(struct shutdown *shutdown)
{
    shutdown->is_over = true;
    deadline_set(shutdown, MARGIN_MS);
    if (eventd_of(shutdown)->state == DAEMON_READY)
        eventd_ask(shutdown);
    if (shutdown->step == SHUTDOWN_WAIT_DEPLOYD) {
        /* A deployd that does not get ready is no reason to kill an eventd that is. */
        log_error("deployd did not get ready in time; the services are killed");
        services_kill(shutdown);
        deployd_stop(shutdown);
    }
}

static void on_deadline(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop, (void)events;
    struct shutdown *shutdown = watcher->data;
    if (!shutdown->is_over && eventd_of(shutdown)->state != DAEMON_FAILED &&
        eventd_of(shutdown)->ready_wall_ns != 0) {
        margin_begin(shutdown);
        return;
    }
    log_error("the shutdown takes too long; what is left is killed", "step",
              steps[shutdown->step].name);
    if (shutdown->step == SHUTDOWN_CLOSE_BEHIND)
        finish(shutdown);
    else if (!hanging_kill(shutdown))
        everything_kill(shutdown);
}

/* A daemon that ended in order said 0; anything else left work unfinished, unless it had not begun
 * any: it was asked to stop before it could hear it, or has never been ready in this run. */
static void exit_judge(struct shutdown *shutdown, const struct daemon *daemon)
{
    const struct child_exit *exit = &daemon->last_exit;
    bool had_not_begun = daemon->ready_wall_ns == 0 &&
                         (exit->by_signal ? exit->number == SIGTERM : !daemon->was_ready);
    if (daemon->started_ns != 0 && !had_not_begun && (exit->by_signal || exit->number != 0))
        shutdown->is_forced = true;
    if (exit->by_signal && exit->number == SIGKILL)
        killed_add(&shutdown->killed, daemon->name);
}

/* It was not started in this run, or could not be. */
static bool has_not_begun(const struct daemon *deployd)
{
    return deployd->started_ns == 0 || (!deployd->was_ready && deployd->failed_starts > 0);
}

void shutdown_step(struct shutdown *shutdown)
{
    struct daemon *deployd = NULL, *vaultd = NULL, *tokend = NULL, *eventd = NULL;
    if (shutdown->step == SHUTDOWN_NONE || shutdown->step == SHUTDOWN_DONE)
        return;
    deployd = deployd_of(shutdown);
    vaultd = vaultd_of(shutdown);
    tokend = tokend_of(shutdown);
    eventd = eventd_of(shutdown);
    switch (shutdown->step) {
    case SHUTDOWN_WAIT_DEPLOYD:
        if (deployd->state == DAEMON_READY) {
            drain_begin(shutdown);
        } else if (has_not_begun(deployd) &&
                   !supervisors_are_there(shutdown->daemons->instance->run_path)) {
            deployd_stop(shutdown);
        } else if (deployd->state == DAEMON_FAILED || eventd->state == DAEMON_FAILED) {
            services_kill(shutdown);
            deployd_stop(shutdown);
        } else if (deployd->started_ns == 0 && eventd->state == DAEMON_READY) {
            daemon_start(deployd);
        }
        break;
    case SHUTDOWN_STOP_DEPLOYD:
        if (!is_gone(&deployd->child) || !is_gone(&shutdown->recovery->child))
            break;
        exit_judge(shutdown, deployd);
        stores_stop(shutdown);
        break;
    case SHUTDOWN_STOP_STORES:
        if (!is_gone(&vaultd->child) || !is_gone(&tokend->child))
            break;
        exit_judge(shutdown, vaultd);
        exit_judge(shutdown, tokend);
        if (deployd->started_ns != 0 && eventd->state != DAEMON_FAILED)
            close_log_begin(shutdown);
        else
            eventd_stop(shutdown);
        break;
    case SHUTDOWN_STOP_EVENTD:
        if (!is_gone(&eventd->child))
            break;
        exit_judge(shutdown, eventd);
        eventd_ended(shutdown);
        break;
    case SHUTDOWN_KILL:
        if (is_gone(&eventd->child) && is_gone(&tokend->child) && is_gone(&vaultd->child) &&
            is_gone(&deployd->child) && is_gone(&shutdown->recovery->child))
            eventd_ended(shutdown);
        break;
    default: /* an answer or the deadline goes on from here */
        break;
    }
}

void shutdown_begin(struct shutdown *shutdown, struct daemons *daemons, struct recovery *recovery,
                    void (*done)(void *context, bool is_clean), void *context)
{
    if (shutdown->step != SHUTDOWN_NONE)
        return;
    shutdown->daemons = daemons;
    shutdown->recovery = recovery;
    shutdown->done = done;
    shutdown->context = context;
    shutdown->began_ns = clock_boottime_ns();
    shutdown->drain_id = uuid_draw();
    ev_timer_init(&shutdown->deadline, on_deadline, 0, 0);
    shutdown->deadline.data = shutdown;
    deadline_set(shutdown, daemons->settings->shutdown_timeout_ms);
    move(shutdown, SHUTDOWN_WAIT_DEPLOYD);
    recovery_stop(recovery);
    /* No time for backoff now. */
    for (size_t i = 0; i < DAEMONS; i++)
        if (daemons->items[i].state == DAEMON_BACKOFF)
            daemon_start(&daemons->items[i]);
    shutdown_step(shutdown);
}

void shutdown_close(struct shutdown *shutdown)
{
    rpc_client_close(&shutdown->client);
    rpc_client_close(&shutdown->eventd);
    log_closer_close(&shutdown->closer);
    if (shutdown->daemons != NULL && shutdown->daemons->loop != NULL)
        ev_timer_stop(shutdown->daemons->loop, &shutdown->deadline);
}
