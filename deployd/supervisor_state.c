#include "deployd/supervisor_state.h"

#include <errno.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/base/ensure.h"
#include "common/base/log.h"

#define TO(state) (1u << SUPERVISOR_##state)
static const struct {
    const char *name;
    unsigned next;
} supervisor_states[SUPERVISOR_STATES] = {
    [SUPERVISOR_ABSENT] = { "absent", TO(SPAWNING) | TO(GREETING) | TO(DELAYED) },
    [SUPERVISOR_SPAWNING] = { "spawning", TO(GREETING) | TO(DELAYED) | TO(ABSENT) },
    [SUPERVISOR_GREETING] = { "greeting", TO(LISTING) | TO(DISMISSED) | TO(LOST) },
    [SUPERVISOR_DISMISSED] = { "dismissed", TO(LOST) },
    [SUPERVISOR_LISTING] = { "listing", TO(READY) | TO(LOST) },
    [SUPERVISOR_READY] = { "ready", TO(LOST) },
    [SUPERVISOR_LOST] = { "lost", TO(GREETING) | TO(DELAYED) | TO(ABSENT) },
    [SUPERVISOR_DELAYED] = { "delayed", TO(SPAWNING) | TO(GREETING) | TO(DELAYED) | TO(ABSENT) },
};

void supervisor_move(struct supervisor *supervisor, enum supervisor_state state)
{
    ensure((supervisor_states[supervisor->state].next & (1u << state)) != 0);
    log_debug("supervisor", "tenant", supervisor->tenant->name, "from",
              supervisor_states[supervisor->state].name, "to", supervisor_states[state].name);
    supervisor->state = state;
}

void supervisor_timer_set(struct supervisor *supervisor, uint64_t after_ms, uint64_t repeat_ms)
{
    struct ev_loop *loop = supervisor->owner->loop;
    ev_timer_stop(loop, &supervisor->timer);
    ev_timer_set(&supervisor->timer, (double)after_ms / 1e3, (double)repeat_ms / 1e3);
    ev_timer_start(loop, &supervisor->timer);
}

void supervisor_lose(struct supervisor *supervisor, uint64_t after_ms)
{
    if (supervisor->state == SUPERVISOR_LOST)
        return;
    supervisor_move(supervisor, SUPERVISOR_LOST);
    /* Not here: this may run inside one of the client's callbacks. */
    supervisor_timer_set(supervisor, after_ms, 0);
}

void supervisor_told(struct supervisor *supervisor)
{
    struct deployd *deployd = supervisor->owner;
    if (!supervisor->is_adopting)
        return;
    supervisor->is_adopting = false;
    deployd->supervisor_events->on_told(deployd, supervisor);
}

void supervisor_watch_end(struct supervisor *supervisor, struct ev_io *io)
{
    if (!ev_is_active(io))
        return;
    ev_io_stop(supervisor->owner->loop, io);
    close(io->fd);
}

void supervisor_watch_begin(struct supervisor *supervisor, struct ev_io *io, int fd)
{
    supervisor_watch_end(supervisor, io);
    ev_io_set(io, fd, EV_READ);
    ev_io_start(supervisor->owner->loop, io);
}

void supervisor_watch_process(struct supervisor *supervisor)
{
    if (supervisor->host_pid == 0)
        return;
    int pidfd = pidfd_open((pid_t)supervisor->host_pid, 0);
    if (pidfd >= 0)
        supervisor_watch_begin(supervisor, &supervisor->process, pidfd);
    else
        log_warning("a supervisor cannot be watched", "tenant", supervisor->tenant->name, "pid",
                    NUMBER(supervisor->host_pid), "reason", strerror(errno));
}
