/* The life of each daemon:
 *
 *     stopped --> starting --> ready --> stopping --> stopped
 *        ^          |  ^         |
 *        |          v  |         v
 *        +------- backoff <-- (its process ends)        failed: starting it again is pointless
 *
 * A process that ends without having been asked to is started again after 100 ms, doubled up to 10
 * s and forgiven once it has been ready for 10 s. After three starts that failed, or one that takes
 * longer than 5 s, it counts as missing: who can do without it waits no longer. Exit code 86
 * (damaged store) makes it `failed` at once, since it would end the same way; 87 (I/O error) has
 * one restart. An operator's restart leaves `failed`. */
#include "solod/daemons.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"
#include "common/daemon/parent.h"

enum {
    BACKOFF_MS_MIN = 100,
    BACKOFF_MS_MAX = 10 * 1000,
    FORGIVEN_AFTER_MS = 10 * 1000,
    END_MS = 1000,
    FAILED_STARTS_MAX = 3,
    PATIENCE_MS = 5 * 1000,
    EXIT_DAMAGED = 86,
    EXIT_IO = 87,
};

/* Those of one rank start side by side, when all of the ranks before have been ready. Without one
 * that is not needed the others do what they can: services that need no secret run. */
static const struct {
    const char *name;
    unsigned rank;
    bool is_needed;
} kinds[DAEMONS] = {
    [DAEMON_EVENTD] = { "eventd", 0, true },
    [DAEMON_TOKEND] = { "tokend", 1, false },
    [DAEMON_VAULTD] = { "vaultd", 1, false },
    [DAEMON_DEPLOYD] = { "deployd", 2, true },
};

#define TO(state) (1u << DAEMON_##state)
static const struct {
    const char *name;
    unsigned next;
} states[DAEMON_STATES] = {
    [DAEMON_STOPPED] = { "stopped", TO(STARTING) | TO(BACKOFF) },
    [DAEMON_BACKOFF] = { "backoff", TO(STARTING) | TO(BACKOFF) | TO(STOPPED) },
    [DAEMON_STARTING] = { "starting", TO(READY) | TO(STOPPING) | TO(BACKOFF) | TO(FAILED) },
    [DAEMON_READY] = { "ready", TO(STOPPING) | TO(BACKOFF) | TO(FAILED) },
    [DAEMON_STOPPING] = { "stopping", TO(STOPPED) },
    [DAEMON_FAILED] = { "failed", TO(STARTING) | TO(BACKOFF) | TO(STOPPED) },
};

static void daemon_move(struct daemon *daemon, enum daemon_state state)
{
    ensure(state < DAEMON_STATES);
    ensure(states[daemon->state].next & (1u << state));
    log_debug("daemon", "name", daemon->name, "from", states[daemon->state].name, "to",
              states[state].name);
    daemon->state = state;
}

const char *daemon_state_name(const struct daemon *daemon)
{
    return states[daemon->state].name;
}

static void changed(struct daemon *daemon)
{
    daemon->owner->changed(daemon->owner->context);
}

static void timer_set(struct daemon *daemon, struct ev_timer *timer, uint64_t delay_ms)
{
    ev_timer_stop(daemon->owner->loop, timer);
    /* Against the loop's time, which may be from before a long turn. */
    ev_now_update(daemon->owner->loop);
    ev_timer_set(timer, (double)delay_ms / 1e3, 0);
    ev_timer_start(daemon->owner->loop, timer);
}

static void backoff_begin(struct daemon *daemon, bool at_once)
{
    unsigned doublings = daemon->crashes_in_a_row < 16 ? daemon->crashes_in_a_row : 16;
    uint64_t delay_ms = (uint64_t)BACKOFF_MS_MIN << doublings;
    if (delay_ms > BACKOFF_MS_MAX)
        delay_ms = BACKOFF_MS_MAX;
    daemon->crashes_in_a_row++;
    daemon_move(daemon, DAEMON_BACKOFF);
    timer_set(daemon, &daemon->backoff, at_once ? 0 : delay_ms);
}

/* What an end means that nobody asked for. */
static void daemon_crashed(struct daemon *daemon, const struct child_exit *exit)
{
    char text[CHILD_EXIT_TEXT_BYTES];
    log_error("daemon ended", "name", daemon->name, "how", child_exit_text(text, exit), "state",
              states[daemon->state].name);
    if (daemon->state == DAEMON_STARTING)
        daemon->failed_starts++;
    if (daemon->state == DAEMON_READY &&
        clock_boottime_ns() - daemon->ready_ns >= FORGIVEN_AFTER_MS * (uint64_t)1000000) {
        daemon->crashes_in_a_row = 0;
        daemon->had_io_error = false;
    }
    bool is_io_error = !exit->by_signal && exit->number == EXIT_IO;
    bool is_hopeless =
        (!exit->by_signal && exit->number == EXIT_DAMAGED) || (is_io_error && daemon->had_io_error);
    daemon->had_io_error = is_io_error;
    if (is_hopeless) {
        daemon_move(daemon, DAEMON_FAILED);
        log_error("daemon is not started again", "name", daemon->name, "reason",
                  is_io_error ? "I/O error twice" : "damaged store", "next",
                  "repair it, then `soloctl daemon restart`");
    } else {
        backoff_begin(daemon, is_io_error);
    }
}

static void on_ended(void *context, const struct child_exit *exit)
{
    struct daemon *daemon = context;
    ev_timer_stop(daemon->owner->loop, &daemon->stop_timeout);
    ev_timer_stop(daemon->owner->loop, &daemon->patience);
    daemon->is_late = false;
    daemon->last_exit = *exit;
    if (daemon->state != DAEMON_STARTING) /* else they are its last words: why it could not */
        daemon->status[0] = '\0';
    if (daemon->state != DAEMON_STOPPING) {
        daemon_crashed(daemon, exit);
    } else {
        char text[CHILD_EXIT_TEXT_BYTES];
        log_info("daemon stopped", "name", daemon->name, "how", child_exit_text(text, exit));
        daemon_move(daemon, DAEMON_STOPPED);
        if (daemon->start_again)
            daemon_start(daemon);
    }
    changed(daemon);
}

void daemon_start(struct daemon *daemon)
{
    struct daemons *daemons = daemon->owner;
    if (daemon->child.pid != 0)
        return;
    ev_timer_stop(daemons->loop, &daemon->backoff);
    daemon->start_again = false;
    if (daemon->started_ns != 0)
        daemon->restarts++;
    daemon->started_ns = clock_boottime_ns();
    daemon->ready_wall_ns = 0;
    char path[4096];
    char *arguments[] = { (char *)daemon->name,
                          "--data",
                          (char *)daemons->settings->data_dir,
                          "--run",
                          (char *)daemons->settings->run_dir,
                          NULL };
    const struct child_options options = {
        .program = path,
        .arguments = arguments,
        .name = daemon->name,
        .listener = daemon->listener,
        .key_fd = daemons->instance->key_fd,
        .notify = daemons->notify.address,
        .settings = daemons->settings,
    };
    if (instance_check_data(daemons->instance, daemons->settings->data_dir) != STATUS_OK) {
        snprintf(daemon->status, sizeof daemon->status,
                 "DATA (%.150s) is gone: move it back, or mount its disk",
                 daemons->settings->data_dir);
        daemon->failed_starts++;
        backoff_begin(daemon, false);
        return;
    }
    if (program_beside(path, daemon->name) != STATUS_OK ||
        child_start(&daemon->child, daemons->loop, &options, on_ended, daemon) != STATUS_OK) {
        daemon->failed_starts++; /* no process could be made now; the failure is logged */
        backoff_begin(daemon, false);
        return;
    }
    daemon_move(daemon, DAEMON_STARTING);
    timer_set(daemon, &daemon->patience, PATIENCE_MS);
}

static void on_patience_over(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop, (void)events;
    struct daemon *daemon = watcher->data;
    log_warning("daemon takes long to start; what can do without it goes on", "name", daemon->name);
    daemon->is_late = true;
    changed(daemon);
}

static void on_backoff(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop, (void)events;
    struct daemon *daemon = watcher->data;
    daemon_start(daemon);
    changed(daemon);
}

static void on_stop_timeout(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop, (void)events;
    struct daemon *daemon = watcher->data;
    log_error("daemon does not stop and is killed", "name", daemon->name);
    child_signal(&daemon->child, SIGKILL);
}

void daemon_stop(struct daemon *daemon, bool start_again)
{
    daemon->start_again = start_again;
    switch (daemon->state) {
    case DAEMON_STARTING:
    case DAEMON_READY:
        daemon_move(daemon, DAEMON_STOPPING);
        /* It gives up waiting after shutdown_timeout_ms by itself, and ends in order then. */
        timer_set(daemon, &daemon->stop_timeout,
                  daemon->owner->settings->shutdown_timeout_ms + END_MS);
        child_signal(&daemon->child, SIGTERM);
        break;
    case DAEMON_BACKOFF:
    case DAEMON_FAILED:
        ev_timer_stop(daemon->owner->loop, &daemon->backoff);
        daemon_move(daemon, DAEMON_STOPPED);
        break;
    default:
        break;
    }
    if (start_again && daemon->state == DAEMON_STOPPED) {
        daemon->crashes_in_a_row = 0;
        daemon->failed_starts = 0;
        daemon->had_io_error = false;
        daemon_start(daemon);
    }
}

static void on_told(void *context, const struct notify_message *message)
{
    struct daemons *daemons = context;
    struct daemon *daemon = NULL;
    for (size_t i = 0; i < DAEMONS; i++)
        if (daemons->items[i].child.pid == message->pid)
            daemon = &daemons->items[i];
    if (daemon == NULL) {
        if (message->status != NULL)
            daemons->other_told(daemons->context, message);
        return;
    }
    if (message->status != NULL)
        snprintf(daemon->status, sizeof daemon->status, "%s", message->status);
    if (message->is_progress && !daemon->was_ready) /* our own start waits for it */
        parent_progress("%s: %s", daemon->name, daemon->status);
    if (!message->is_ready || daemon->state != DAEMON_STARTING)
        return;
    daemon->ready_ns = clock_boottime_ns();
    daemon->ready_wall_ns = clock_wall_ns();
    daemon->was_ready = true;
    daemon->failed_starts = 0;
    daemon->is_late = false;
    ev_timer_stop(daemons->loop, &daemon->patience);
    daemon_move(daemon, DAEMON_READY);
    log_info("daemon ready", "name", daemon->name, "pid", NUMBER(daemon->child.pid), "took_ms",
             NUMBER((daemon->ready_ns - daemon->started_ns) / 1000000));
    if (daemon->started_ns < daemons->reloaded_ns) /* it may have read the old ones */
        child_signal(&daemon->child, SIGHUP);
    changed(daemon);
}

void daemons_reload(struct daemons *daemons)
{
    daemons->reloaded_ns = clock_boottime_ns();
    for (size_t i = 0; i < DAEMONS; i++)
        if (daemons->items[i].state == DAEMON_READY)
            child_signal(&daemons->items[i].child, SIGHUP);
}

bool daemon_is_missing(const struct daemon *daemon)
{
    switch (daemon->state) {
    case DAEMON_FAILED:
        return true;
    case DAEMON_BACKOFF:
    case DAEMON_STARTING:
        return daemon->is_late || daemon->failed_starts >= FAILED_STARTS_MAX;
    default:
        return false;
    }
}

/* Whether a daemon of that index need not be waited for. */
static bool can_be_done_without(const struct daemons *daemons, size_t index)
{
    return !kinds[index].is_needed && daemon_is_missing(&daemons->items[index]);
}

static bool earlier_were_ready(const struct daemons *daemons, unsigned rank)
{
    for (size_t i = 0; i < DAEMONS; i++)
        if (kinds[i].rank < rank && !daemons->items[i].was_ready &&
            !can_be_done_without(daemons, i))
            return false;
    return true;
}

void daemons_start_in_order(struct daemons *daemons)
{
    for (size_t i = 0; i < DAEMONS; i++)
        if (daemons->items[i].started_ns == 0 && earlier_were_ready(daemons, kinds[i].rank))
            daemon_start(&daemons->items[i]);
}

bool daemons_have_started(const struct daemons *daemons)
{
    for (size_t i = 0; i < DAEMONS; i++)
        if (daemons->items[i].state != DAEMON_READY && !can_be_done_without(daemons, i))
            return false;
    return true;
}

struct daemon *daemons_find(struct daemons *daemons, const char *name)
{
    for (size_t i = 0; i < DAEMONS; i++)
        if (strcmp(daemons->items[i].name, name) == 0)
            return &daemons->items[i];
    return NULL;
}

/* A program that is missing would only show as one that never becomes ready. */
static enum status programs_find(void)
{
    static const char *const needed[] = { "eventd",  "tokend",  "vaultd",
                                          "deployd", "tenantd", "recoveryd" };
    char path[4096];
    for (size_t i = 0; i < COUNT_OF(needed); i++) {
        TRY(program_beside(path, needed[i]));
        if (access(path, X_OK) < 0)
            return log_failure(STATUS_NOT_FOUND, "a program of Solo is missing beside solod",
                               "path", path, "reason", strerror(errno));
    }
    return STATUS_OK;
}

enum status daemons_open(struct daemons *daemons, struct ev_loop *loop,
                         const struct settings *settings, const struct instance *instance)
{
    daemons->settings = settings;
    daemons->instance = instance;
    daemons->notify = NOTIFY_SOCKET_NONE;
    for (size_t i = 0; i < DAEMONS; i++)
        daemons->items[i].listener = -1;
    daemons->loop = loop;
    TRY(programs_find());
    daemons->notify.told = on_told;
    daemons->notify.context = daemons;
    TRY(notify_socket_open(&daemons->notify, loop));
    for (size_t i = 0; i < DAEMONS; i++) {
        struct daemon *daemon = &daemons->items[i];
        daemon->owner = daemons;
        daemon->name = kinds[i].name;
        ev_timer_init(&daemon->backoff, on_backoff, 0, 0);
        ev_timer_init(&daemon->stop_timeout, on_stop_timeout, 0, 0);
        ev_timer_init(&daemon->patience, on_patience_over, 0, 0);
        daemon->backoff.data = daemon->stop_timeout.data = daemon->patience.data = daemon;
        TRY(parent_listener(settings->run_dir, daemon->name, &daemon->listener));
    }
    return STATUS_OK;
}

void daemons_close(struct daemons *daemons)
{
    if (daemons->loop == NULL)
        return;
    for (size_t i = DAEMONS; i-- > 0;) {
        struct daemon *daemon = &daemons->items[i];
        child_close(&daemon->child, daemons->loop);
        ev_timer_stop(daemons->loop, &daemon->backoff);
        ev_timer_stop(daemons->loop, &daemon->stop_timeout);
        ev_timer_stop(daemons->loop, &daemon->patience);
        if (daemon->listener < 0)
            continue;
        char path[4096];
        if (run_socket_path(path, daemons->settings->run_dir, daemon->name) == STATUS_OK)
            unlink(path);
        fd_close(&daemon->listener);
    }
    notify_socket_close(&daemons->notify, daemons->loop);
    daemons->loop = NULL;
}
