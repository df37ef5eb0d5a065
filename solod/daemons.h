#ifndef SOLO_SOLOD_DAEMONS_H
#define SOLO_SOLOD_DAEMONS_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/auto.h"
#include "common/daemon/settings.h"
#include "solod/child.h"
#include "solod/instance.h"
#include "solod/notify_socket.h"

/* The daemons that solod keeps running, each with its socket and its state. */
enum daemon_state {
    DAEMON_STOPPED,
    DAEMON_BACKOFF,
    DAEMON_STARTING,
    DAEMON_READY,
    DAEMON_STOPPING,
    DAEMON_FAILED,
    DAEMON_STATES
};

/* In start order (tokend and vaultd side by side); they stop in the reverse one. */
enum daemon_index { DAEMON_EVENTD, DAEMON_TOKEND, DAEMON_VAULTD, DAEMON_DEPLOYD, DAEMONS };

struct daemons;
struct daemon {
    struct daemons *owner;
    const char *name;
    enum daemon_state state;
    struct child child;
    int listener; /* stays open over restarts, so that clients wait instead of failing */
    struct ev_timer backoff;
    struct ev_timer stop_timeout;
    struct ev_timer patience; /* of those who wait for it to start */
    uint64_t started_ns;      /* since boot */
    uint64_t ready_ns;        /* since boot, of this process */
    uint64_t ready_wall_ns;
    uint64_t restarts;
    unsigned crashes_in_a_row;
    bool had_io_error;      /* it ended with 87 and had its one restart */
    bool was_ready;         /* once in this run */
    unsigned failed_starts; /* in a row: it ended before it was ready */
    bool is_late;           /* starting for longer than others wait for it */
    bool start_again;       /* when the stop has ended */
    struct child_exit last_exit;
    char status[256]; /* what it said last */
};

struct daemons {
    struct daemon items[DAEMONS];
    struct ev_loop *loop;
    const struct settings *settings;
    const struct instance *instance;
    struct notify_socket notify;
    uint64_t reloaded_ns; /* since boot; 0: never */
    /* A state has changed; the one place where solod decides what is next. */
    void (*changed)(void *context);
    /* Messages of children that are no daemons (recoveryd). */
    void (*other_told)(void *context, const struct notify_message *message);
    void *context;
};

/* Opens the daemons' sockets and the notify socket, and finds the programs beside this one. */
enum status daemons_open(struct daemons *daemons, struct ev_loop *loop,
                         const struct settings *settings, const struct instance *instance);
/* Kills what still runs, and removes the sockets. */
void daemons_close(struct daemons *daemons);

/* Starts each daemon that was never started and whose predecessors have been ready: eventd; then
 * tokend and vaultd, side by side; then deployd, which does without a tokend or vaultd that is
 * missing. */
void daemons_start_in_order(struct daemons *daemons);
/* Each is ready, or is missing and one that the others can do without (tokend, vaultd). */
bool daemons_have_started(const struct daemons *daemons);
/* Not ready, and not to be waited for: it ended at several starts in a row, is not started again,
 * or takes long. It goes on being started, with backoff. */
bool daemon_is_missing(const struct daemon *daemon);
/* Has each read its settings again, those that are starting when they are ready. */
void daemons_reload(struct daemons *daemons);
struct daemon *daemons_find(struct daemons *daemons, const char *name); /* NULL: no such daemon */

/* At once, also out of backoff and failure. Nothing happens when it runs. */
void daemon_start(struct daemon *daemon);
/* SIGTERM, and SIGKILL after shutdown_timeout_ms. Out of backoff and failure it is stopped at once.
 * `start_again`: as soon as it has ended. */
void daemon_stop(struct daemon *daemon, bool start_again);

const char *daemon_state_name(const struct daemon *daemon);

#endif
