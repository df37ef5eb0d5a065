/* begin and end are appends; act is an operation of the service like any other, fenced by
 * generation and since, so that deploys and kills during a recovery need no lock. */
#include "deployd/recovery.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/api/event_types.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "deployd/append_about.h"
#include "deployd/appends.h"
#include "deployd/operation_queue.h"
#include "deployd/supervisors.h"

enum { SUMMARY_BYTES_MAX = FRAME_BYTES_SMALL };

static const char *const phase_names[] = { "none", "running", "done", "cut" };

/* Payload {key: map}. */
static enum status summary_write(struct buffer *payload, const char *key, struct span map,
                                 struct problem *problem)
{
    write_map(payload, 1);
    write_str(payload, key);
    write_object(payload, map);
    if (payload->is_exhausted)
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, key, "is over %d bytes",
                           (int)SUMMARY_BYTES_MAX);
    return STATUS_OK;
}

/* ---- recoveryd itself ---- */

static void watch_end(struct deployd *deployd)
{
    struct recovery_watch *watch = &deployd->recovery_watch;
    if (ev_is_active(&watch->process)) {
        ev_io_stop(deployd->loop, &watch->process);
        close(watch->process.fd);
    }
    watch->pid = 0;
}

/* Nobody is left to say how it ends. What is still due is ours by now, as in a run that goes on: it
 * is found by the next look (reconcile_look), unless another recoveryd comes first. */
static void recoveryd_gone(struct deployd *deployd)
{
    struct recovery *recovery = &deployd->recovery;
    watch_end(deployd);
    if (recovery->phase != RECOVERY_RUNNING)
        return;
    log_warning("recoveryd ended in the midst of its recovery", "event", NUMBER(recovery->event_id),
                "done", NUMBER(recovery->outcome.done), "of", NUMBER(recovery->outcome.total));
    recovery->phase = RECOVERY_CUT;
    recovery->is_abandoned = true;
}

static void on_process(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)loop, (void)events;
    recoveryd_gone(io->data);
}

/* Who asks is recoveryd, or does its work. */
static void watch_begin(struct deployd *deployd, const struct rpc_call *call)
{
    struct recovery_watch *watch = &deployd->recovery_watch;
    if (call->caller.pid <= 0 || call->caller.pid == watch->pid)
        return;
    watch_end(deployd);
    int pidfd = pidfd_open(call->caller.pid, 0);
    if (pidfd < 0 && errno == ESRCH) {
        recoveryd_gone(deployd);
        return;
    }
    if (pidfd < 0) {
        log_warning("recoveryd cannot be watched", "pid", NUMBER(call->caller.pid), "reason",
                    strerror(errno));
        return;
    }
    watch->pid = call->caller.pid;
    ev_io_init(&watch->process, on_process, pidfd, EV_READ);
    watch->process.data = deployd;
    ev_io_start(deployd->loop, &watch->process);
}

void recovery_close(struct deployd *deployd)
{
    watch_end(deployd);
}

static void on_begun(void *context, enum status status, const struct problem *said,
                     const void *reply)
{
    struct rpc_call *call = context;
    struct deployd *deployd = call->user;
    const struct event_append_reply *appended = reply;
    if (status != STATUS_OK) {
        struct problem problem = { 0 };
        status = append_problem(status, said, "the recovery", &problem);
        rpc_call_fail(call, status, &problem);
        return;
    }
    deployd->recovery = (struct recovery){
        .phase = RECOVERY_RUNNING,
        .event_id = appended->event_id,
        .outcome.total = deployd->recovery.outcome.total,
        .acting = deployd->recovery.acting,
    };
    watch_begin(deployd, call);
    log_info("recovery begins", "event", NUMBER(appended->event_id), "actions",
             NUMBER(deployd->recovery.outcome.total));
    const struct recovery_begin_reply answer = { .event_id = appended->event_id };
    rpc_call_reply(call, &answer);
}

enum status recovery_begin(struct deployd *deployd, struct rpc_call *call,
                           const struct recovery_begin_request *request)
{
    AUTO(buffer_close) struct buffer payload = { .limit = SUMMARY_BYTES_MAX };
    TRY(deployd_is_open(deployd, &call->problem));
    TRY(summary_write(&payload, "plan", request->plan, &call->problem));
    struct event_append_request append = append_about_system(EVENT_recovery_started, &payload);
    append.intent = "recovery.begin";
    if (call->has_request_id)
        append.body_hash = call->body_hash;
    enum status status =
        append_send(deployd, &append, &call->request_id, APPEND_TIMEOUT_MS, on_begun, call);
    if (status != STATUS_OK)
        return append_problem(status, NULL, "the recovery", &call->problem);
    deployd->recovery.outcome.total = recovery_plan_total(request->plan);
    call->user = deployd;
    rpc_call_defer(call);
    return STATUS_OK;
}

/* recoveryd goes on after deployd was restarted in the middle. */
static void goes_on(struct deployd *deployd, const struct rpc_call *call)
{
    if (deployd->recovery.phase == RECOVERY_CUT)
        deployd->recovery.phase = RECOVERY_RUNNING;
    deployd->recovery.is_abandoned = false;
    if (deployd->recovery.phase == RECOVERY_RUNNING)
        watch_begin(deployd, call);
}

/* For stop, a service may be known to its supervisor only. */
static enum status service_of(struct deployd *deployd, const struct recovery_act_request *request,
                              struct service **service, struct problem *problem)
{
    struct tenant *tenant = catalog_tenant(&deployd->catalog, request->tenant);
    bool is_stop = strcmp(request->action, "stop") == 0;
    if (tenant == NULL || (!tenant->is_recorded && !is_stop))
        return problem_set(problem, STATUS_NOT_FOUND, "tenant", "there is no tenant %s",
                           request->tenant);
    return catalog_service_make(&deployd->catalog, tenant, request->name, service, problem);
}

static void on_act_ended(const struct operation *operation, enum status status)
{
    struct recovery *recovery = &operation->owner->recovery;
    ensure(recovery->acting > 0);
    recovery->acting--;
    /* recoveryd says it, too, but not if it is killed before. */
    recovery->outcome.done += operation->recovery_id == recovery->event_id ? 1 : 0;
    if (status != STATUS_OK || strcmp(operation->result, "failed") == 0)
        recovery->outcome.failed++;
}

static enum status refuse_forked(struct deployd *deployd, struct problem *problem)
{
    struct log_branch branch;
    return event_map_is_forked(&deployd->map, &branch)
               ? problem_set(problem, STATUS_FAILED_PRECONDITION, "",
                             "the log is FORKED: put the newer store back, or `recoveryd resolve "
                             "--keep log`")
               : STATUS_OK;
}

enum status recovery_act(struct deployd *deployd, struct rpc_call *call,
                         const struct recovery_act_request *request)
{
    struct service *service;
    bool is_stop = strcmp(request->action, "stop") == 0;
    if (!is_stop && strcmp(request->action, "start") != 0 &&
        strcmp(request->action, "replace") != 0)
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "action",
                           "must be start, replace or stop, is \"%s\"", request->action);
    TRY(deployd_is_open(deployd, &call->problem));
    TRY(refuse_forked(deployd, &call->problem));
    if (deployd->recovery.acting >= RECOVERY_ACTING_MAX) {
        problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "",
                    "%u recovery actions are in flight, at most %d may be",
                    deployd->recovery.acting, (int)RECOVERY_ACTING_MAX);
        call->problem.retry_after_ms = 100;
        return STATUS_RESOURCE_EXHAUSTED;
    }
    TRY(service_of(deployd, request, &service, &call->problem));
    struct operation *operation =
        operation_new(deployd, service, is_stop ? OPERATION_STOP : OPERATION_START, &call->problem);
    catalog_touch(&deployd->catalog, service);
    if (operation == NULL)
        return call->problem.code;
    operation->is_recovery = true;
    operation->on_end = on_act_ended;
    operation->generation = request->generation;
    operation->since = request->since;
    operation->recovery_id = request->recovery_id;
    operation_for_call(operation, call);
    operation->has_request_id =
        false; /* fenced by since; nothing of it is recorded under this id */
    goes_on(deployd, call);
    deployd->recovery.acting++;
    operation_begin(operation);
    return STATUS_OK;
}

void recovery_progress(struct deployd *deployd, const struct rpc_call *call,
                       const struct recovery_progress_request *request)
{
    goes_on(deployd, call);
    deployd->recovery.outcome.done = request->done;
    deployd->recovery.outcome.total = request->total;
}

static void take_outcome(struct recovery *recovery, const struct recovery_outcome *outcome)
{
    recovery->phase = outcome->is_cut ? RECOVERY_CUT : RECOVERY_DONE;
    recovery->outcome = *outcome;
}

/* The call of recovery.end waits for its events. */
struct ending {
    struct deployd *owner;
    struct rpc_call *call;
    struct recovery_outcome outcome;
};

static void on_ended(void *context, enum status status, const struct problem *said,
                     const void *reply)
{
    struct ending *ending = context;
    struct recovery *recovery = &ending->owner->recovery;
    const struct event_append_batch_reply *appended = reply;
    if (status == STATUS_OK) {
        const struct recovery_end_reply answer = { .event_id = appended->first_id };
        take_outcome(recovery, &ending->outcome);
        log_info("recovery ended", "as", phase_names[recovery->phase], "took_ms",
                 NUMBER(recovery->outcome.took_ms));
        rpc_call_reply(ending->call, &answer);
        (void)malloc_trim(0); /* what a thousand starts at once needed lies between what stays */
    } else {
        struct problem problem = { 0 };
        status = append_problem(status, said, "the end of the recovery", &problem);
        rpc_call_fail(ending->call, status, &problem);
    }
    free(ending);
}

static enum status end_write(struct buffer *events, struct rpc_call *call, enum event_type type,
                             const char *key, struct span map, uint64_t cause)
{
    AUTO(buffer_close) struct buffer payload = { .limit = SUMMARY_BYTES_MAX };
    TRY(summary_write(&payload, key, map, &call->problem));
    struct event_append_request append = append_about_system(type, &payload);
    append.intent = "recovery.end";
    append.causation_id = cause;
    if (call->has_request_id)
        append.body_hash = call->body_hash;
    fields_encode(method_event_append.request, &append, events);
    return STATUS_OK;
}

/* Both events or none, under the caller's request_id, so that a repeat has one outcome. */
enum status recovery_end(struct deployd *deployd, struct rpc_call *call,
                         const struct recovery_end_request *request)
{
    AUTO(buffer_close) struct buffer events = { .limit = FRAME_BYTES_MAX };
    bool is_verified = request->verification.size > 0;
    uint64_t cause = request->recovery_id;
    write_array(&events, is_verified ? 2 : 1);
    TRY(end_write(&events, call, EVENT_recovery_completed, "report", request->report, cause));
    if (is_verified)
        TRY(end_write(&events, call, EVENT_verification_completed, "verification",
                      request->verification, cause));
    struct ending *ending = events.is_exhausted ? NULL : calloc(1, sizeof *ending);
    if (ending == NULL)
        return problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "", "out of memory");
    ending->owner = deployd;
    ending->call = call;
    ending->outcome = deployd->recovery.outcome;
    recovery_outcome_read(request->report, &ending->outcome);
    enum status status = append_send_batch(deployd, buffer_span(&events), &call->request_id,
                                           APPEND_TIMEOUT_MS, on_ended, ending);
    if (status != STATUS_OK) {
        free(ending);
        return append_problem(status, NULL, "the end of the recovery", &call->problem);
    }
    rpc_call_defer(call);
    return STATUS_OK;
}

/* Unless it turns out to go on. */
static void restore_cut(struct deployd *deployd)
{
    struct recovery_cut cut;
    deployd->recovery.phase = RECOVERY_CUT;
    if (event_map_recovery_cut(&deployd->map, &cut) != STATUS_OK || cut.event_id == 0)
        return; /* logged; it is only shown */
    deployd->recovery.outcome.done = cut.done;
    deployd->recovery.outcome.total = cut.total;
    deployd->recovery.outcome.failed = cut.failed;
}

void recovery_restore(struct deployd *deployd, const struct run_record *record)
{
    deployd->recovery.event_id = record->recovery_started;
    if (record->recovery_started == 0)
        deployd->recovery.phase = RECOVERY_NONE;
    else if (record->recovery_completed > record->recovery_started)
        take_outcome(&deployd->recovery, &record->outcome);
    else
        restore_cut(deployd);
}

bool recovery_is_due(const struct deployd *deployd)
{
    return deployd->run.is_new && deployd->settings.recovery_enabled &&
           deployd->recovery.phase == RECOVERY_NONE;
}

void recovery_write_status(const struct deployd *deployd, struct buffer *buffer)
{
    const struct recovery *recovery = &deployd->recovery;
    write_map(buffer, 8);
    write_str(buffer, "enabled");
    write_bool(buffer, deployd->settings.recovery_enabled);
    write_str(buffer, "state");
    write_str(buffer, phase_names[recovery->phase]);
    write_str(buffer, "done");
    write_u64(buffer, recovery->outcome.done);
    write_str(buffer, "total");
    write_u64(buffer, recovery->outcome.total);
    write_str(buffer, "failed");
    write_u64(buffer, recovery->outcome.failed);
    write_str(buffer, "exit_hint");
    write_str(buffer, recovery->outcome.exit_hint);
    write_str(buffer, "event_id");
    write_u64(buffer, recovery->event_id);
    write_str(buffer, "took_ms");
    write_u64(buffer, recovery->outcome.took_ms);
}
