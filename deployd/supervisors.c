/* The life of a supervisor (drawn in supervisor.h). A callback notes what happened and moves; the
 * ways it can fail all lead to `lost` (is it dead, or only the connection?) or `delayed`. What
 * follows for others is told by way of supervisor_events.
 *
 * Death is seen by a pidfd of the supervisor's own process, opened after hello; until then by its
 * lock, which dies with it. */
#include "deployd/supervisors.h"

#include <signal.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/file_lock.h"
#include "common/base/log.h"
#include "deployd/supervisor_process.h"
#include "deployd/supervisor_state.h"
#include "deployd/supervisor_talk.h"

enum {
    SILENT_ADOPTING_MS = 1000, /* after this deployd serves without it; */
    SILENT_MS = 10 * 1000,     /* and this is for one that was just started */
    SPAWN_MS_MAX = 10 * 1000,
    RESYNC_MS_FIRST = 1000,
    RESYNC_MS_MAX = 30 * 1000,
    RESYNC_WAIT_MS = 100, /* for answers that are on their way */
    DELAY_MS_FIRST = 100,
    DELAY_MS_MAX = 10 * 1000,
    STEADY_MS = 10 * 1000, /* ready for as long as this: the next death is a first one */
};

static void supervisor_spawn(struct supervisor *supervisor);
static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events);
static void on_child(struct ev_loop *loop, struct ev_io *io, int events);
static void on_process(struct ev_loop *loop, struct ev_io *io, int events);

void supervisor_init(struct deployd *deployd, struct tenant *tenant)
{
    struct supervisor *supervisor = &tenant->supervisor;
    if (supervisor->owner != NULL)
        return;
    supervisor->owner = deployd;
    supervisor->tenant = tenant;
    ev_timer_init(&supervisor->timer, on_timer, 0, 0);
    supervisor_probe_init(supervisor);
    ev_io_init(&supervisor->child, on_child, -1, EV_READ);
    ev_io_init(&supervisor->process, on_process, -1, EV_READ);
    supervisor->timer.data = supervisor->child.data = supervisor->process.data = supervisor;
}

static bool lock_is_held(const struct supervisor *supervisor)
{
    char path[4096];
    bool is_held = false;
    if (supervisor_lock_path(supervisor->owner, supervisor->tenant->name, path) != STATUS_OK ||
        file_lock_is_held(path, &is_held) != STATUS_OK)
        return false;
    return is_held;
}

static bool is_needed(const struct supervisor *supervisor)
{
    struct deployd *deployd = supervisor->owner;
    return !supervisor->is_ending &&
           deployd->supervisor_events->is_missed(deployd, supervisor->tenant);
}

static void supervisor_delay(struct supervisor *supervisor)
{
    supervisor_move(supervisor, SUPERVISOR_DELAYED);
    uint64_t delay_ms = 0;
    for (unsigned death = 1; death < supervisor->deaths && delay_ms < DELAY_MS_MAX; death++)
        delay_ms = delay_ms == 0 ? DELAY_MS_FIRST : 2 * delay_ms;
    supervisor_timer_set(supervisor, delay_ms > DELAY_MS_MAX ? DELAY_MS_MAX : delay_ms, 0);
}

void supervisor_need(struct supervisor *supervisor)
{
    ensure(supervisor->owner != NULL);
    if (supervisor->state == SUPERVISOR_ABSENT && !supervisor->is_ending)
        supervisor_spawn(supervisor);
}

/* Wakes as many as there are places for: those that it wakes begin in a turn of their own, and one
 * that needs no start after all wakes the next. */
static void slots_fill(struct deployd *deployd)
{
    unsigned places = deployd->supervisors_spawning < SUPERVISORS_SPAWNING_MAX
                          ? SUPERVISORS_SPAWNING_MAX - deployd->supervisors_spawning
                          : 0;
    for (struct tenant *tenant = deployd->catalog.tenants; tenant != NULL && places > 0;
         tenant = tenant->hh.next)
        if (tenant->supervisor.waits_for_slot) {
            tenant->supervisor.waits_for_slot = false;
            supervisor_timer_set(&tenant->supervisor, 0, 0);
            places--;
        }
}

/* A start ended, one way or the other: another may begin. */
static void slot_free(struct deployd *deployd)
{
    ensure(deployd->supervisors_spawning > 0);
    deployd->supervisors_spawning--;
    slots_fill(deployd);
}

static void supervisor_spawn(struct supervisor *supervisor)
{
    struct deployd *deployd = supervisor->owner;
    if (lock_is_held(supervisor)) {
        supervisor_greet(supervisor);
        return;
    }
    if (deployd->supervisors_spawning >= SUPERVISORS_SPAWNING_MAX) {
        supervisor_move(supervisor, SUPERVISOR_DELAYED);
        supervisor->waits_for_slot = true;
        return;
    }
    int pidfd;
    enum status status = supervisor_process_start(
        deployd, supervisor->tenant, &supervisor->child_pid, &pidfd, supervisor->problem);
    if (status != STATUS_OK) {
        supervisor->deaths++;
        supervisor_delay(supervisor);
        return;
    }
    supervisor_move(supervisor, SUPERVISOR_SPAWNING);
    deployd->supervisors_spawning++;
    supervisor_watch_begin(supervisor, &supervisor->child, pidfd);
    supervisor_timer_set(supervisor, SPAWN_MS_MAX, 0);
}

static void on_child(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)loop, (void)events;
    struct supervisor *supervisor = io->data;
    enum status status = supervisor_process_collect(io->fd, supervisor->problem);
    if (status == STATUS_UNAVAILABLE)
        return;
    supervisor_watch_end(supervisor, io);
    ev_timer_stop(supervisor->owner->loop, &supervisor->timer);
    if (status == STATUS_OK || status == STATUS_LOCKED) {
        supervisor->problem[0] = '\0';
        supervisor_greet(supervisor);
    } else {
        log_warning("a supervisor did not start", "tenant", supervisor->tenant->name, "reason",
                    supervisor->problem);
        supervisor->deaths++;
        supervisor_told(supervisor);
        supervisor_delay(supervisor);
    }
    slot_free(supervisor->owner);
}

static void client_close(struct supervisor *supervisor)
{
    if (supervisor->client == NULL)
        return;
    rpc_client_close(&supervisor->client);
    /* Closing calls nobody back, so whoever waited for an answer is told here. */
    supervisor->owner->supervisor_events->on_cut(supervisor->owner, supervisor);
}

static void rows_forget(struct supervisor *supervisor)
{
    struct deployd *deployd = supervisor->owner;
    for (struct service *service = supervisor->tenant->services; service != NULL;
         service = service->next)
        if (service_has_row(service))
            catalog_bereave(&deployd->catalog, service,
                            supervisor->is_ending ? "stopped by the shutdown"
                                                  : "its supervisor ended; it is started again");
}

/* Nothing of it is left: it was the init of its services' namespace, or their parent. */
static void supervisor_died(struct supervisor *supervisor)
{
    struct deployd *deployd = supervisor->owner;
    if (supervisor->state != SUPERVISOR_LOST)
        supervisor_move(supervisor, SUPERVISOR_LOST);
    ev_timer_stop(deployd->loop, &supervisor->timer);
    supervisor_watch_end(supervisor, &supervisor->process);
    client_close(supervisor);
    supervisor->host_pid = 0;
    if (!supervisor->is_ending) {
        deployd->counters.supervisor_deaths++;
        uint64_t ready_ms =
            supervisor->ready_ns == 0 ? 0 : (clock_boottime_ns() - supervisor->ready_ns) / 1000000;
        supervisor->deaths = ready_ms >= STEADY_MS ? 1 : supervisor->deaths + 1;
        log_warning("a supervisor ended", "tenant", supervisor->tenant->name, "deaths_in_a_row",
                    NUMBER(supervisor->deaths));
    }
    deployd->supervisor_events->on_died(deployd, supervisor);
    rows_forget(supervisor);
    supervisor->ready_ns = supervisor->heard_ns = 0;
    supervisor->is_silent = false;
    supervisor_told(supervisor);
    if (is_needed(supervisor)) {
        supervisor_delay(supervisor);
        return;
    }
    supervisor_move(supervisor, SUPERVISOR_ABSENT);
    if (supervisor->is_ending)
        deployd->supervisor_events->on_ended(deployd, supervisor);
}

static void on_process(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)loop, (void)events;
    supervisor_died(io->data);
}

/* Asked again and again, it is waited for by nobody until it answers. */
static void check_silence(struct supervisor *supervisor)
{
    struct deployd *deployd = supervisor->owner;
    uint64_t silent_ms = (clock_boottime_ns() - supervisor->heard_ns) / 1000000;
    uint64_t patience_ms = supervisor->is_adopting ? SILENT_ADOPTING_MS : SILENT_MS;
    if (supervisor->is_silent || silent_ms < patience_ms)
        return;
    supervisor->is_silent = true;
    log_warning("a supervisor does not answer", "tenant", supervisor->tenant->name, "for_ms",
                NUMBER(silent_ms));
    deployd->supervisor_events->on_silent(deployd, supervisor);
    supervisor_told(supervisor);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct supervisor *supervisor = timer->data;
    switch (supervisor->state) {
    case SUPERVISOR_SPAWNING:
        log_warning("a supervisor took too long to start", "tenant", supervisor->tenant->name);
        kill(supervisor->child_pid, SIGKILL); /* our own child, not collected yet */
        break;
    case SUPERVISOR_GREETING:
    case SUPERVISOR_LISTING:
        if (!ev_is_active(&supervisor->process) && !lock_is_held(supervisor))
            supervisor_died(supervisor);
        else
            check_silence(supervisor);
        break;
    case SUPERVISOR_READY:
        if (supervisor->reports_in_flight > 0) {
            supervisor_timer_set(supervisor, RESYNC_WAIT_MS, 0);
            break;
        }
        supervisor->reported = supervisor->acknowledged;
        supervisor_watch_again(supervisor);
        break;
    case SUPERVISOR_LOST:
        client_close(supervisor);
        if (ev_is_active(&supervisor->process) || lock_is_held(supervisor))
            supervisor_greet(supervisor);
        else
            supervisor_died(supervisor);
        break;
    case SUPERVISOR_DELAYED:
        if (is_needed(supervisor)) {
            supervisor_spawn(supervisor);
        } else {
            supervisor_move(supervisor, SUPERVISOR_ABSENT);
            if (supervisor->is_ending)
                supervisor->owner->supervisor_events->on_ended(supervisor->owner, supervisor);
        }
        if (supervisor->state != SUPERVISOR_SPAWNING)
            slots_fill(supervisor->owner); /* its place was not used */
        break;
    default:
        break;
    }
}

static void adopt(struct deployd *deployd, const char *name)
{
    struct tenant *tenant;
    struct problem problem;
    if (catalog_tenant_make(&deployd->catalog, name, &tenant, &problem) != STATUS_OK) {
        log_warning("a running supervisor was left alone", "tenant", name, "reason",
                    problem.message);
        return;
    }
    supervisor_init(deployd, tenant);
    if (tenant->supervisor.state != SUPERVISOR_ABSENT)
        return;
    tenant->supervisor.is_adopting = true;
    deployd->boot.adopting++;
    supervisor_spawn(&tenant->supervisor);
}

enum status supervisors_adopt(struct deployd *deployd)
{
    return supervisor_locks_each(deployd, adopt);
}

enum status supervisor_call(struct supervisor *supervisor, const struct method *method,
                            const void *request, uint64_t timeout_ms, rpc_on_reply on_reply,
                            void *context)
{
    ensure(supervisor->state == SUPERVISOR_READY);
    const struct rpc_call_options options = {
        .timeout_ms = timeout_ms,
        .on_reply = on_reply,
        .context = context,
    };
    return rpc_client_call(supervisor->client, method, request, &options, NULL);
}

enum status supervisor_pass(struct supervisor *supervisor, const struct method *method,
                            const void *request, uint64_t timeout_ms, int file,
                            rpc_on_reply on_reply, void *context)
{
    ensure(supervisor->state == SUPERVISOR_READY);
    const struct rpc_call_options options = {
        .timeout_ms = timeout_ms,
        .on_reply = on_reply,
        .context = context,
        .file = file,
        .has_file = true,
    };
    return rpc_client_call(supervisor->client, method, request, &options, NULL);
}

void supervisor_resync(struct supervisor *supervisor, const char *reason)
{
    if (supervisor->state != SUPERVISOR_READY || supervisor_is_resyncing(supervisor))
        return;
    uint64_t delay_ms = supervisor->resync_ms == 0 ? RESYNC_MS_FIRST : 2 * supervisor->resync_ms;
    supervisor->resync_ms = delay_ms < RESYNC_MS_MAX ? delay_ms : RESYNC_MS_MAX;
    log_warning("a supervisor's reports are asked for again", "tenant", supervisor->tenant->name,
                "after_ms", NUMBER(supervisor->resync_ms), "reason", reason);
    supervisor_timer_set(supervisor, supervisor->resync_ms, 0);
}

bool supervisor_is_resyncing(const struct supervisor *supervisor)
{
    return supervisor->state == SUPERVISOR_READY && ev_is_active(&supervisor->timer);
}

void supervisor_kill(struct supervisor *supervisor)
{
    if (ev_is_active(&supervisor->process))
        pidfd_send_signal(supervisor->process.fd, SIGKILL, NULL, 0);
    else if (supervisor->state == SUPERVISOR_SPAWNING)
        kill(supervisor->child_pid, SIGKILL);
}

void supervisor_close(struct supervisor *supervisor)
{
    if (supervisor->owner == NULL)
        return;
    ev_timer_stop(supervisor->owner->loop, &supervisor->timer);
    ev_timer_stop(supervisor->owner->loop, &supervisor->probe);
    supervisor_watch_end(supervisor, &supervisor->child);
    supervisor_watch_end(supervisor, &supervisor->process);
    rpc_client_close(&supervisor->client);
}

const char *supervisor_problem(const struct supervisor *supervisor)
{
    return supervisor->problem;
}

const struct supervisor *supervisors_any(const struct deployd *deployd)
{
    for (const struct tenant *tenant = deployd->catalog.tenants; tenant != NULL;
         tenant = tenant->hh.next)
        if (tenant->supervisor.isolation[0] != '\0')
            return &tenant->supervisor;
    return NULL;
}

const char *supervisors_isolation(const struct deployd *deployd, const struct tenant *tenant)
{
    const struct supervisor *supervisor =
        tenant == NULL ? supervisors_any(deployd) : &tenant->supervisor;
    if (geteuid() != 0)
        return "none (one uid)";
    if (supervisor != NULL && strcmp(supervisor->isolation, "namespaces") == 0)
        return "uid per tenant, pid and mount namespace";
    return "uid per tenant";
}
