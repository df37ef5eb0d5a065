#ifndef SOLO_COMMON_DAEMON_LIFECYCLE_H
#define SOLO_COMMON_DAEMON_LIFECYCLE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/status.h"

/* A daemon's life between main and exit: the loop and the signals. SIGTERM and SIGINT begin the
 * stop, once; SIGPIPE is ignored. What is said to the parent is in parent.h.
 *
 * The loop is not libev's default loop, which would reap all children: ev_child does not work on
 * it. Wait for a child on its pidfd (ev_io, then waitid with P_PIDFD). */
struct lifecycle {
    struct ev_loop *loop;
    struct ev_signal on_term, on_int;
    struct ev_timer watchdog;  /* of parent_join */
    void (*on_stopping)(void); /* of parent_join: the stop begins */
    /* Called once when the stop begins. It drains, then calls lifecycle_end. NULL: ends at once. */
    void (*on_stop)(void *context);
    void *context;
    enum status result;
    bool is_stopping;
    bool has_ended;
};

enum status lifecycle_open(struct lifecycle *lifecycle);
/* From here on SIGTERM and SIGINT are ignored: a second one, at the very end, is no death by signal
 * of a process that stopped in order. */
void lifecycle_close(struct lifecycle *lifecycle);

/* Stops the watcher and ignores its signal, without a moment between in which it would kill. */
void signal_retire(struct ev_loop *loop, struct ev_signal *watcher);

/* The run's 32-byte key, read from what the parent passed: a descriptor (SOLO_KEY_FD in the
 * environment, once, closed then) or the credential of systemd; `has_key` false when there is none.
 */
#define RUN_KEY_CREDENTIAL "solo.run.key"
enum { RUN_KEY_BYTES = 32 };
enum status lifecycle_run_key(uint8_t key[RUN_KEY_BYTES], bool *has_key);

/* Runs the loop until lifecycle_end; returns its result. */
enum status lifecycle_run(struct lifecycle *lifecycle);
void lifecycle_end(struct lifecycle *lifecycle, enum status result);
void lifecycle_stop(struct lifecycle *lifecycle); /* as if SIGTERM had come */

/* For every daemon, first thing: no core dumps of what holds state in memory, umask 077, a session
 * of its own unless it has a terminal (then Ctrl-C must reach it), descriptors 0 to 2 open, NOFILE
 * raised to the hard limit. */
enum status harden_process(void);

/* For who has tokens or secrets in memory: no ptrace, no /proc/PID/mem but for root. */
enum status hide_memory(void);

/* Die with the parent (PR_SET_PDEATHSIG, SIGKILL); for the daemons that solod starts
 * (SOLO_DIE_WITH_PARENT=1 in the environment, removed from it), not for supervisors. */
enum status die_with_parent(void);

#endif
