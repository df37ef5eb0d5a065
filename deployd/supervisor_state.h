#ifndef SOLO_DEPLOYD_SUPERVISOR_STATE_H
#define SOLO_DEPLOYD_SUPERVISOR_STATE_H

#include "deployd/deployd.h"

/* What every part of a supervisor's life needs: its state, its timer, its process. */

/* The only writer of its state; the move must be one of the drawing in supervisor.h. */
void supervisor_move(struct supervisor *supervisor, enum supervisor_state state);
void supervisor_timer_set(struct supervisor *supervisor, uint64_t after_ms, uint64_t repeat_ms);
/* The connection is of no use any more; what that means is found out after this long. */
void supervisor_lose(struct supervisor *supervisor, uint64_t after_ms);
/* Nobody has to wait any longer for what it holds: it has told, or cannot. */
void supervisor_told(struct supervisor *supervisor);

/* One of its two pidfds becomes readable: `fd` is the watcher's from now on. */
void supervisor_watch_begin(struct supervisor *supervisor, struct ev_io *io, int fd);
void supervisor_watch_end(struct supervisor *supervisor, struct ev_io *io);
/* Its death becomes readable; without a pidfd the lock is looked at when the connection breaks. */
void supervisor_watch_process(struct supervisor *supervisor);

#endif
