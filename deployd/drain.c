/* record -> shut down all supervisors -> all gone -> (is_last) the log is closed -> answer. The
 * timer is the caller's limit, then the moment after SIGKILL in which the kernel ends what is left.
 */
#include "deployd/drain.h"

#include <stdio.h>
#include <string.h>

#include "common/access/daemon_methods.h"
#include "common/api/event_types.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"
#include "common/daemon/parent.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "deployd/append_about.h"
#include "deployd/appends.h"
#include "deployd/operation_queue.h"
#include "deployd/supervisors.h"

enum {
    RECORD_MS_MAX = 1000, /* for system_shutdown_started: a shutdown does not hang on a full disk */
    MARGIN_MS = 200,      /* for supervisors to say that they have killed */
    KILL_MS_MAX = 1000,
    CLOSE_LOG_MS_MAX = 2000,
    NAMES_BYTES_MAX = FRAME_BYTES_SMALL - MESSAGE_OVERHEAD_BYTES,
};

static void timer_set(struct deployd *deployd, uint64_t after_ms)
{
    ev_timer_stop(deployd->loop, &deployd->drain.timer);
    ev_timer_set(&deployd->drain.timer, (double)after_ms / 1e3, 0);
    ev_timer_start(deployd->loop, &deployd->drain.timer);
}

static uint64_t time_left_ms(const struct deployd *deployd)
{
    uint64_t now = clock_boottime_ns();
    return deployd->drain.deadline_ns > now ? (deployd->drain.deadline_ns - now) / 1000000 : 1;
}

static void log_late(const char *key)
{
    log_warning("a service had to be killed: its time is over", "service", key);
}

/* Names past the bound are counted, not listed. */
static void killed_add(struct deployd *deployd, const char *key)
{
    struct drain *drain = &deployd->drain;
    drain->killed++;
    size_t used = strlen(drain->killed_text);
    if (used + strlen(key) + sizeof ", " <= sizeof drain->killed_text)
        snprintf(drain->killed_text + used, sizeof drain->killed_text - used, "%s%s",
                 used == 0 ? "" : ", ", key);
    if (drain->killed_names.size + SERVICE_KEY_BYTES + 8 > drain->killed_names.limit)
        return;
    write_str(&drain->killed_names, key);
    drain->killed_count++;
}

static void answer(const struct drain *drain, struct rpc_call *call)
{
    /* A supervisor that never said who it is cannot be killed from here: our parent finds it by its
     * socket. */
    if (drain->supervisors > 0) {
        struct problem problem;
        problem_set(&problem, STATUS_DEADLINE_EXCEEDED, "", "%u supervisors do not end",
                    (unsigned)drain->supervisors);
        rpc_call_fail(call, problem.code, &problem);
        return;
    }
    AUTO(buffer_close) struct buffer names = { .limit = FRAME_BYTES_SMALL };
    write_array(&names, drain->killed_count);
    buffer_append(&names, drain->killed_names.data, drain->killed_names.size);
    const struct system_drain_reply reply = {
        .stopped = drain->stopped,
        .killed = drain->killed,
        .killed_names = buffer_span(&names),
    };
    rpc_call_reply(call, &reply);
}

static void answer_all(struct drain *drain)
{
    for (size_t i = 0; i < drain->call_count; i++)
        answer(drain, drain->calls[i]);
    drain->call_count = 0;
}

static void on_log_closed(void *context, enum status status, const struct problem *problem,
                          const void *reply)
{
    struct deployd *deployd = context;
    (void)reply;
    if (status != STATUS_OK)
        log_warning("the log was not closed", "reason",
                    problem == NULL ? status_text(status) : problem->message);
    deployd->drain.is_closing = false;
    answer_all(&deployd->drain);
}

/* This run is over: whatever starts next on this RUN is another one. */
static void run_end(struct deployd *deployd)
{
    struct drain *drain = &deployd->drain;
    drain->is_closing = true;
    const struct event_close_log_request request = {
        .is_forced = drain->killed > 0 || drain->supervisors > 0, .killed = drain->killed_text
    };
    const struct rpc_call_options options = {
        .flags = RPC_RETRY,
        .timeout_ms = CLOSE_LOG_MS_MAX,
        .on_reply = on_log_closed,
        .context = deployd,
    };
    (void)run_id_forget(deployd->settings.run_dir); /* what failed was logged there */
    enum status status =
        rpc_client_call(deployd->eventd, &method_event_close_log, &request, &options, NULL);
    if (status != STATUS_OK)
        on_log_closed(deployd, status, NULL, NULL);
}

static void finish(struct deployd *deployd)
{
    struct drain *drain = &deployd->drain;
    if (drain->is_done)
        return;
    drain->is_done = true;
    ev_timer_stop(deployd->loop, &drain->timer);
    log_info("drained", "stopped", NUMBER(drain->stopped), "killed", NUMBER(drain->killed));
    parent_say("drained");
    if (drain->is_last)
        run_end(deployd);
    else
        answer_all(drain);
}

static void held_are_killed(struct supervisor *supervisor)
{
    for (const struct service *service = supervisor->tenant->services; service != NULL;
         service = service->next) {
        if (!service->is_held || !service_state_has_process(service->state))
            continue;
        if (supervisor->owner->drain.is_killing)
            log_late(service->key);
        else
            log_warning("a service was killed: its supervisor died", "service", service->key);
        killed_add(supervisor->owner, service->key);
    }
}

void drain_supervisor_died(struct supervisor *supervisor)
{
    /* What is killed when the time is over has been counted. */
    if (!supervisor->has_ended_all && !supervisor->owner->drain.is_killing)
        held_are_killed(supervisor);
}

void drain_supervisor_gone(struct deployd *deployd)
{
    struct drain *drain = &deployd->drain;
    ensure(drain->supervisors > 0);
    if (--drain->supervisors == 0)
        finish(deployd);
}

static void on_shut_down(void *context, enum status status, const struct problem *problem,
                         const void *reply)
{
    struct supervisor *supervisor = context;
    const struct supervisor_shutdown_reply *answered = reply;
    struct deployd *deployd = supervisor->owner;
    struct reader reader;
    uint32_t count = 0;
    if (status != STATUS_OK) {
        log_warning("a supervisor did not shut down", "tenant", supervisor->tenant->name, "reason",
                    problem == NULL ? status_text(status) : problem->message);
        return; /* its death is seen, or the time limit ends it */
    }
    supervisor->has_ended_all = true;
    if (deployd->drain.is_killing) /* too late: what it held was counted */
        return;
    deployd->drain.stopped += answered->stopped;
    reader = reader_of(answered->killed_names);
    if (answered->killed_names.size > 0 && reader_array(&reader, &count) != STATUS_OK)
        count = 0;
    uint64_t unnamed = answered->killed > count ? answered->killed - count : 0;
    for (uint32_t i = 0; i < count; i++) {
        struct span name;
        char key[SERVICE_KEY_BYTES];
        if (reader_str(&reader, &name) != STATUS_OK)
            break;
        snprintf(key, sizeof key, "%s/%.*s", supervisor->tenant->name, (int)name.size,
                 (const char *)name.data);
        log_late(key);
        killed_add(deployd, key);
    }
    deployd->drain.killed += unnamed;
}

void drain_supervisor_ready(struct supervisor *supervisor)
{
    struct deployd *deployd = supervisor->owner;
    if (!supervisor->is_ending)
        return;
    const struct supervisor_shutdown_request request = { .timeout_ms = time_left_ms(deployd) };
    if (supervisor_call(supervisor, &method_supervisor_shutdown, &request, 0, on_shut_down,
                        supervisor) != STATUS_OK)
        supervisor_kill(supervisor);
}

static void supervisors_end(struct deployd *deployd)
{
    struct drain *drain = &deployd->drain;
    drain->is_recorded = true;
    for (struct tenant *tenant = deployd->catalog.tenants; tenant != NULL;
         tenant = tenant->hh.next) {
        struct supervisor *supervisor = &tenant->supervisor;
        if (supervisor->owner == NULL || supervisor->is_ending)
            continue;
        supervisor->is_ending = true;
        if (supervisor->state == SUPERVISOR_ABSENT)
            continue;
        drain->supervisors++;
        if (supervisor->state == SUPERVISOR_READY)
            drain_supervisor_ready(supervisor);
        else if (supervisor->state == SUPERVISOR_DELAYED)
            ev_feed_event(deployd->loop, &supervisor->timer, EV_TIMER);
        catalog_mark_queues(&deployd->catalog, tenant); /* those that wait for it are refused */
    }
    if (drain->supervisors == 0)
        finish(deployd);
    else
        timer_set(deployd, time_left_ms(deployd) + MARGIN_MS);
}

static void kill_the_rest(struct deployd *deployd)
{
    deployd->drain.is_killing = true;
    for (struct tenant *tenant = deployd->catalog.tenants; tenant != NULL;
         tenant = tenant->hh.next) {
        struct supervisor *supervisor = &tenant->supervisor;
        if (supervisor->owner == NULL || supervisor->state == SUPERVISOR_ABSENT)
            continue;
        log_warning("a supervisor is killed: the time for the shutdown is over", "tenant",
                    tenant->name);
        if (!supervisor->has_ended_all) /* else they were counted with its answer */
            held_are_killed(supervisor);
        supervisor_kill(supervisor);
    }
    timer_set(deployd, KILL_MS_MAX);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct deployd *deployd = timer->data;
    if (!deployd->drain.is_killing) {
        kill_the_rest(deployd);
        return;
    }
    log_error("some supervisors are still there", "count", NUMBER(deployd->drain.supervisors));
    finish(deployd);
}

static void on_recorded(void *context, enum status status, const struct problem *problem,
                        const void *reply)
{
    (void)reply;
    struct deployd *deployd = context;
    if (status != STATUS_OK)
        log_warning("the shutdown was not recorded", "reason",
                    problem == NULL ? status_text(status) : problem->message);
    supervisors_end(deployd);
}

static void record(struct deployd *deployd, const struct rpc_call *call, uint64_t timeout_ms)
{
    AUTO(buffer_close) struct buffer payload = { .limit = 256 };
    write_map(&payload, 2);
    write_str(&payload, "run_id");
    write_str(&payload, deployd->run.id);
    write_str(&payload, "timeout_ms");
    write_u64(&payload, timeout_ms);
    struct event_append_request request =
        append_about_system(EVENT_system_shutdown_started, &payload);
    request.intent = "system.drain";
    if (call->has_request_id)
        request.body_hash = call->body_hash;
    enum status status =
        append_send(deployd, &request, &call->request_id, RECORD_MS_MAX, on_recorded, deployd);
    if (status != STATUS_OK)
        on_recorded(deployd, status, NULL, NULL);
}

enum status drain_begin(struct deployd *deployd, struct rpc_call *call,
                        const struct system_drain_request *request)
{
    struct drain *drain = &deployd->drain;
    if (drain->call_count == DRAIN_CALLS_MAX)
        return problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "",
                           "%d callers wait for the shutdown already", (int)DRAIN_CALLS_MAX);
    if (deployd->boot.state == BOOT_DAMAGED)
        return problem_set(&call->problem, STATUS_DATA_LOSS, "",
                           "the event store is damaged: what runs cannot be told from it");
    rpc_call_defer(call);
    drain->calls[drain->call_count++] = call;
    drain->is_last = drain->is_last || request->is_last;
    if (drain->is_done) {
        if (drain->is_closing)
            return STATUS_OK; /* answered with those who wait for that */
        if (request->is_last)
            run_end(deployd);
        else
            answer_all(drain);
        return STATUS_OK;
    }
    if (drain->is_begun)
        return STATUS_OK;
    uint64_t timeout_ms =
        request->timeout_ms == 0 ? deployd->settings.shutdown_timeout_ms : request->timeout_ms;
    drain->is_begun = true;
    drain->killed_names.limit = NAMES_BYTES_MAX;
    drain->deadline_ns = clock_boottime_ns() + timeout_ms * 1000000;
    ev_timer_init(&drain->timer, on_timer, 0, 0);
    drain->timer.data = deployd;
    log_info("shutdown begins", "timeout_ms", NUMBER(timeout_ms));
    daemon_health_set("stopping", "a shutdown has begun");
    parent_say("draining");
    struct problem problem;
    deployd_is_open(deployd, &problem);
    operations_refuse_queued(deployd, &problem);
    if (request->quiet || !deployd->settings.log_shutdown_events)
        supervisors_end(deployd);
    else
        record(deployd, call, timeout_ms);
    return STATUS_OK;
}

void drain_close(struct deployd *deployd)
{
    if (deployd->drain.is_begun)
        ev_timer_stop(deployd->loop, &deployd->drain.timer);
    buffer_close(&deployd->drain.killed_names);
}
