/* Tables, SIGCHLD, and the end of each turn: trees that are ended, then what the watch gets, then
 * whether we are done. */
#include "tenantd/supervisor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <utlist.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/wire/writer.h"
#include "tenantd/service_readiness.h"
#include "tenantd/service_row.h"

enum { NAMES_BYTES_MAX = FRAME_BYTES_SMALL - 16 * 1024 };
static const double LINGER_STEP_S = 0.01;
static const double LEFTOVERS_S = 60; /* by then what was wanted has been started again */

/* ---- tables ---- */

struct service *supervisor_find(const struct supervisor *supervisor, const char *name)
{
    struct service *service;
    HASH_FIND(by_name, supervisor->by_name, name, strlen(name), service);
    return service;
}

size_t supervisor_count(const struct supervisor *supervisor)
{
    return HASH_CNT(by_name, supervisor->by_name);
}

struct service *supervisor_find_pid(const struct supervisor *supervisor, pid_t pid)
{
    struct service *service;
    HASH_FIND(by_pid, supervisor->by_pid, &pid, sizeof pid, service);
    return service;
}

struct helper *supervisor_find_helper(const struct supervisor *supervisor, pid_t pid)
{
    struct helper *helper;
    DL_SEARCH_SCALAR2(supervisor->helpers, helper, pid, pid, next);
    return helper;
}

bool supervisor_add(struct supervisor *supervisor, struct service *service)
{
    service->is_left_out = false;
    HASH_ADD_KEYPTR(by_name, supervisor->by_name, service->name, strlen(service->name), service);
    return !service->is_left_out;
}

void supervisor_remove(struct supervisor *supervisor, struct service *service)
{
    HASH_DELETE(by_name, supervisor->by_name, service);
    if (service->pid != 0)
        HASH_DELETE(by_pid, supervisor->by_pid, service);
    usage_end(service);
    ending_cancel(&service->ending);
    if (service->is_changed)
        DL_DELETE2(supervisor->changed, service, previous_changed, next_changed);
}

void supervisor_changed(struct supervisor *supervisor, struct service *service)
{
    if (service->is_changed || supervisor->watch.call == NULL)
        return;
    service->is_changed = true;
    DL_APPEND2(supervisor->changed, service, previous_changed, next_changed);
}

bool supervisor_process_started(struct supervisor *supervisor, struct service *service)
{
    service->is_left_out = false;
    HASH_ADD(by_pid, supervisor->by_pid, pid, sizeof service->pid, service);
    if (service->is_left_out)
        return false;
    supervisor->counters.starts++;
    return true;
}

void supervisor_process_lost(struct supervisor *supervisor, struct service *service)
{
    HASH_DELETE(by_pid, supervisor->by_pid, service);
}

void supervisor_helper_started(struct supervisor *supervisor, struct helper *helper)
{
    DL_APPEND2(supervisor->helpers, helper, previous, next);
}

void supervisor_helper_forget(struct supervisor *supervisor, struct helper *helper)
{
    DL_DELETE2(supervisor->helpers, helper, previous, next);
    helper->pid = 0;
}

void supervisor_service_stopped(struct supervisor *supervisor, const struct service *service)
{
    if (!supervisor->is_shutting_down)
        return;
    if (!service->was_killed) {
        supervisor->stopped++;
        return;
    }
    supervisor->killed++;
    if (supervisor->killed_names.size + NAME_BYTES_MAX + 8 < NAMES_BYTES_MAX) {
        write_str(&supervisor->killed_names, service->name);
        supervisor->killed_names_count++;
    }
}

/* ---- children ---- */

/* A pid that nobody knows was an orphan's that had been handed to us. */
static void helper_exited(struct supervisor *supervisor, pid_t pid, int status)
{
    struct helper *helper = supervisor_find_helper(supervisor, pid);
    if (helper == NULL)
        return;
    supervisor_helper_forget(supervisor, helper);
    helper->on_exit(helper, status);
}

/* The most that a process had in memory. It begins as a part of us, which the kernel counts: not
 * more than we have had ourselves says nothing. */
static uint64_t resident_bytes_max(const struct rusage *used)
{
    struct rusage ours;
    if (getrusage(RUSAGE_SELF, &ours) < 0 || used->ru_maxrss <= ours.ru_maxrss)
        return 0;
    return (uint64_t)used->ru_maxrss * 1024;
}

static void on_child(struct ev_loop *loop, struct ev_signal *watcher, int events)
{
    (void)loop, (void)events;
    struct supervisor *supervisor = OWNER_OF(watcher, struct supervisor, on_child);
    int status;
    endings_child_died(&supervisor->endings);
    struct rusage used;
    for (pid_t pid; (pid = wait4(-1, &status, WNOHANG, &used)) > 0;) {
        struct service *service = supervisor_find_pid(supervisor, pid);
        if (service == NULL) {
            helper_exited(supervisor, pid, status);
            continue;
        }
        supervisor->counters.exits++;
        HASH_DELETE(by_pid, supervisor->by_pid, service);
        service_exited(service, status, resident_bytes_max(&used));
    }
}

/* ---- what a service says ---- */

struct service *supervisor_find_session(const struct supervisor *supervisor, pid_t session)
{
    for (struct service *service = supervisor->by_name; service != NULL;
         service = service->by_name.next)
        if (service->session == session)
            return service;
    return NULL;
}

struct service *supervisor_find_instance(const struct supervisor *supervisor, uint64_t generation,
                                         uint64_t nonce)
{
    for (struct service *service = supervisor->by_name; service != NULL;
         service = service->by_name.next)
        if (service->nonce == nonce && service->generation == generation)
            return service;
    return NULL;
}

/* What a process says counts for the service that it belongs to. One that has gone by now cannot be
 * told apart any more, and is not heard. */
static void on_told(void *context, const struct notify_message *message)
{
    struct supervisor *supervisor = context;
    const struct site *site = supervisor->site;
    struct process process;
    char mark[PROCESS_MARK_BYTES];
    uint64_t generation, nonce;
    struct service *service = supervisor_find_pid(supervisor, message->pid);
    if (service == NULL && process_read(site->proc_fd, message->pid, &process) &&
        process.session != 0)
        service = supervisor_find_session(supervisor, process.session);
    if (service == NULL && process_mark(site->proc_fd, message->pid, site->mark_prefix, mark) &&
        launch_mark_parse(mark, site, &generation, &nonce))
        service = supervisor_find_instance(supervisor, generation, nonce);
    if (service != NULL && service->pid != 0)
        service_told(service, message);
}

/* ---- shutdown ---- */

/* Only wakes the loop: before_sleep looks whether the last answers are out. */
static void on_linger(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
}

void supervisor_shutdown(struct supervisor *supervisor, uint64_t timeout_ms, struct rpc_call *call)
{
    const struct stop_request request = { .cause = STOP_SHUTDOWN,
                                          .has_grace = true,
                                          .grace_ms = timeout_ms };
    if (call != NULL) {
        call->user = supervisor->shutdown_calls;
        supervisor->shutdown_calls = call;
    }
    supervisor->is_shutting_down = true;
    builds_cancel(&supervisor->builds, NULL, STATUS_UNAVAILABLE, "the supervisor is shutting down");
    struct service *service, *next;
    HASH_ITER(by_name, supervisor->by_name, service, next)
    service_stop(service, &request, NULL);
}

static void finish_shutdown(struct supervisor *supervisor)
{
    AUTO(buffer_close) struct buffer names = { .limit = NAMES_BYTES_MAX + 16 };
    write_array(&names, supervisor->killed_names_count);
    buffer_append(&names, supervisor->killed_names.data, supervisor->killed_names.size);
    const struct supervisor_shutdown_reply reply = {
        .stopped = supervisor->stopped,
        .killed = supervisor->killed,
        .killed_names = buffer_span(&names),
    };
    for (struct rpc_call *call; (call = supervisor->shutdown_calls) != NULL;) {
        supervisor->shutdown_calls = call->user;
        rpc_call_reply(call, &reply);
    }
    if (supervisor->has_shut_down)
        return;
    supervisor->has_shut_down = true;
    log_info("all services ended", "stopped", NUMBER(supervisor->stopped), "killed",
             NUMBER(supervisor->killed));
    supervisor->linger_until_ns = clock_boottime_ns() + SHUTDOWN_LINGER_MS * 1000000ull;
    ev_timer_set(&supervisor->linger, LINGER_STEP_S, LINGER_STEP_S);
    ev_timer_start(supervisor->loop, &supervisor->linger);
}

static void end_if_done(struct supervisor *supervisor)
{
    if (!supervisor->is_shutting_down || supervisor->by_name != NULL ||
        !builds_are_done(&supervisor->builds))
        return;
    finish_shutdown(supervisor);
    bool is_heard = supervisor->reports.count == 0 || supervisor->watch.call == NULL;
    /* The watch itself is a call that is owed its answer until it is ended. */
    if (is_heard)
        watch_end(supervisor);
    bool is_sent = supervisor->server == NULL || *supervisor->server == NULL ||
                   rpc_server_owed(*supervisor->server) == 0;
    if ((is_heard && is_sent) || clock_boottime_ns() >= supervisor->linger_until_ns)
        lifecycle_end(supervisor->lifecycle, STATUS_OK);
}

/* Before rpc's own, so that what is answered here still goes out in this turn. */
static void before_sleep(struct ev_loop *loop, struct ev_prepare *watcher, int events)
{
    (void)loop, (void)events;
    struct supervisor *supervisor = OWNER_OF(watcher, struct supervisor, before_sleep);
    endings_turn(&supervisor->endings);
    watch_pump(supervisor);
    end_if_done(supervisor);
}

/* What nobody needed again. */
static void on_leftovers(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct supervisor *supervisor = OWNER_OF(timer, struct supervisor, leftovers);
    cgroup_remove_leftovers(&supervisor->site->cgroup);
}

enum status supervisor_open(struct supervisor *supervisor, struct lifecycle *lifecycle,
                            struct site *site)
{
    supervisor->lifecycle = lifecycle;
    supervisor->loop = lifecycle->loop;
    supervisor->site = site;
    supervisor->killed_names.limit = NAMES_BYTES_MAX;
    TRY(clock_boot_id(supervisor->boot_id));
    random_fill(supervisor->incarnation, sizeof supervisor->incarnation);
    capture_hub_open(&supervisor->hub, supervisor->loop, &site->logs);
    endings_open(&supervisor->endings, supervisor);
    supervisor->notify.told = on_told;
    supervisor->notify.context = supervisor;
    usage_open(supervisor);
    ev_timer_init(&supervisor->linger, on_linger, 0, 0);
    ev_timer_init(&supervisor->leftovers, on_leftovers, LEFTOVERS_S, 0);
    if (site->cgroup.has_leftovers)
        ev_timer_start(supervisor->loop, &supervisor->leftovers);
    ev_signal_init(&supervisor->on_child, on_child, SIGCHLD);
    ev_signal_start(supervisor->loop, &supervisor->on_child);
    ev_prepare_init(&supervisor->before_sleep, before_sleep);
    ev_prepare_start(supervisor->loop, &supervisor->before_sleep);
    return STATUS_OK;
}

void supervisor_close(struct supervisor *supervisor)
{
    if (supervisor->loop == NULL)
        return;
    watch_end(supervisor);
    builds_close(&supervisor->builds);
    struct service *service, *next;
    HASH_ITER(by_name, supervisor->by_name, service, next)
    service_free(service);
    const struct problem gone = { .code = STATUS_UNAVAILABLE, .message = "the supervisor ends" };
    calls_fail(&supervisor->shutdown_calls, STATUS_UNAVAILABLE, &gone);
    usage_close(supervisor);
    ev_timer_stop(supervisor->loop, &supervisor->linger);
    ev_timer_stop(supervisor->loop, &supervisor->leftovers);
    ev_signal_stop(supervisor->loop, &supervisor->on_child);
    ev_prepare_stop(supervisor->loop, &supervisor->before_sleep);
    notify_close(&supervisor->notify, supervisor->loop);
    capture_hub_close(&supervisor->hub);
    reports_close(&supervisor->reports);
    endings_close(&supervisor->endings);
    buffer_close(&supervisor->killed_names);
}
