/* What deployd and a supervisor say to each other when a connection begins: hello, everything that
 * it holds, then the watch, which brings every change from there on. Anything that goes wrong gives
 * the connection up. One that serves another event log is ended instead. */
#include "deployd/supervisor_talk.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>

#include "common/base/log.h"
#include "common/wire/reader.h"
#include "deployd/supervisor_process.h"
#include "deployd/supervisor_state.h"

enum {
    HELLO_MS_MAX = 2 * 1000,
    LIST_MS_MAX = 10 * 1000,
    LOCK_CHECK_MS = 100,
    RECONNECT_MS = 20,
    UNSENT_MS = 1000,
    PROTOCOL_MS = 5 * 1000,
    DISMISSAL_SLACK_MS = 2 * 1000, /* for its answer, past the grace of its services */
    PROBE_MS = 5 * 1000,           /* and an answer that takes longer is none */
};

static void on_connection(void *context, bool is_connected)
{
    struct supervisor *supervisor = context;
    /* While greeting, hello is repeated by the client itself. */
    if (!is_connected &&
        (supervisor->state == SUPERVISOR_LISTING || supervisor->state == SUPERVISOR_READY ||
         supervisor->state == SUPERVISOR_DISMISSED))
        supervisor_lose(supervisor, 0);
}

void supervisor_take_row(struct supervisor *supervisor, struct span map)
{
    struct deployd *deployd = supervisor->owner;
    struct service_row row = { 0 };
    struct problem problem = { 0 };
    struct service *service;
    enum status status = fields_decode(&record_service_row, map, &deployd->scratch, &row, &problem);
    if (status != STATUS_OK || strcmp(row.tenant, supervisor->tenant->name) != 0 ||
        service_state_parse(row.state) >= SERVICE_STATES) {
        log_warning("a supervisor's row was refused", "tenant", supervisor->tenant->name, "field",
                    problem.field, "reason", problem.message);
    } else if ((status = catalog_service_make(&deployd->catalog, supervisor->tenant, row.name,
                                              &service, &problem)) != STATUS_OK) {
        log_warning("a supervisor's row was refused", "tenant", supervisor->tenant->name, "reason",
                    problem.message);
    } else {
        service->is_seen = true;
        if (row.boot_id[0] == '\0')
            row.boot_id = deployd->run.boot_id;
        catalog_hold(&deployd->catalog, service, &row);
    }
    arena_reset(&deployd->scratch);
}

static void on_notify(void *context, const char *method, struct span params)
{
    struct supervisor *supervisor = context;
    struct reader value;
    struct span map;
    if (strcmp(method, "supervisor.state") == 0) {
        if (map_find(params, "service", &value) == STATUS_OK &&
            reader_any(&value, &map) == STATUS_OK)
            supervisor_take_row(supervisor, map);
    } else if (strcmp(method, "supervisor.report") == 0) {
        supervisor->owner->supervisor_events->on_report(supervisor->owner, supervisor, params);
    }
}

/* The watch ends only when something is wrong: we were too slow, or it shuts down. */
static void on_watch_ended(void *context, enum status status, const struct problem *problem,
                           const void *reply)
{
    (void)reply;
    struct supervisor *supervisor = context;
    log_info("a supervisor's watch ended", "tenant", supervisor->tenant->name, "reason",
             problem == NULL ? status_text(status) : problem->message);
    /* One that shuts down goes on until its reports are acknowledged. */
    if (supervisor->state == SUPERVISOR_READY && !supervisor->is_ending)
        supervisor_lose(supervisor, 0);
}

static enum status watch_ask(struct supervisor *supervisor)
{
    const struct supervisor_watch_request request = {};
    const struct rpc_call_options options = {
        .on_reply = on_watch_ended,
        .on_notify = on_notify,
        .context = supervisor,
    };
    return rpc_client_call(supervisor->client, &method_supervisor_watch, &request, &options,
                           &supervisor->watch);
}

/* A supervisor has one watch: the older one ends there, and nobody listens to it here any more. */
void supervisor_watch_again(struct supervisor *supervisor)
{
    rpc_client_cancel(supervisor->client, supervisor->watch);
    if (watch_ask(supervisor) != STATUS_OK)
        supervisor_lose(supervisor, RECONNECT_MS);
}

static void on_probed(void *context, enum status status, const struct problem *problem,
                      const void *reply)
{
    (void)problem, (void)reply;
    struct supervisor *supervisor = context;
    supervisor->is_probed = false;
    if (status != STATUS_OK || supervisor->state != SUPERVISOR_READY || !supervisor->is_silent)
        return;
    log_info("a supervisor answers again", "tenant", supervisor->tenant->name);
    supervisor->is_silent = false;
    supervisor->owner->supervisor_events->on_ready(supervisor->owner, supervisor);
}

/* The connection is kept: what it was asked before it went silent, it may still do. */
static void on_probe(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)events;
    struct supervisor *supervisor = timer->data;
    const struct daemon_health_request request = {};
    const struct rpc_call_options options = { .on_reply = on_probed, .context = supervisor };
    if (supervisor->state != SUPERVISOR_READY || supervisor->is_ending) {
        ev_timer_stop(loop, timer);
    } else if (!supervisor->is_probed) {
        supervisor->is_probed = true;
        if (rpc_client_call(supervisor->client, &method_daemon_health, &request, &options, NULL) !=
            STATUS_OK)
            supervisor->is_probed = false; /* asked again at the next turn of the timer */
    } else if (!supervisor->is_silent) {
        supervisor->is_silent = true;
        log_warning("a supervisor does not answer", "tenant", supervisor->tenant->name, "for_ms",
                    NUMBER(PROBE_MS));
        supervisor->owner->supervisor_events->on_silent(supervisor->owner, supervisor);
    }
}

void supervisor_probe_init(struct supervisor *supervisor)
{
    ev_timer_init(&supervisor->probe, on_probe, PROBE_MS / 1e3, PROBE_MS / 1e3);
    supervisor->probe.data = supervisor;
}

static void supervisor_listed(struct supervisor *supervisor)
{
    struct deployd *deployd = supervisor->owner;
    for (struct service *service = supervisor->tenant->services; service != NULL;
         service = service->next)
        if (service_has_row(service) && !service->is_seen)
            catalog_bereave(&deployd->catalog, service, "its supervisor lost it");
    if (watch_ask(supervisor) != STATUS_OK) {
        supervisor_lose(supervisor, RECONNECT_MS);
        return;
    }
    supervisor_move(supervisor, SUPERVISOR_READY);
    ev_timer_stop(deployd->loop, &supervisor->timer);
    supervisor->ready_ns = clock_boottime_ns();
    supervisor->heard_ns = 0;
    if (supervisor->is_silent)
        log_info("a supervisor answers again", "tenant", supervisor->tenant->name);
    supervisor->is_silent = supervisor->is_probed = false;
    ev_timer_again(deployd->loop, &supervisor->probe);
    supervisor->problem[0] = '\0';
    supervisor_told(supervisor);
    deployd->supervisor_events->on_ready(deployd, supervisor);
}

static void list_ask(struct supervisor *supervisor, const char *after);

static void on_listed(void *context, enum status status, const struct problem *problem,
                      const void *reply)
{
    struct supervisor *supervisor = context;
    const struct supervisor_list_reply *page = reply;
    if (supervisor->state != SUPERVISOR_LISTING)
        return;
    if (status != STATUS_OK) {
        log_warning("a supervisor did not say what it holds", "tenant", supervisor->tenant->name,
                    "reason", problem == NULL ? status_text(status) : problem->message);
        supervisor_lose(supervisor, RECONNECT_MS);
        return;
    }
    supervisor->heard_ns = clock_boottime_ns();
    struct reader reader = reader_of(page->services);
    uint32_t count = 0;
    if (page->services.size > 0 && reader_array(&reader, &count) != STATUS_OK)
        count = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct span map;
        if (reader_any(&reader, &map) == STATUS_OK)
            supervisor_take_row(supervisor, map);
    }
    if (page->next == NULL || page->next[0] == '\0')
        supervisor_listed(supervisor);
    else
        list_ask(supervisor, page->next);
}

static void list_ask(struct supervisor *supervisor, const char *after)
{
    const struct supervisor_list_request request = { .after = after };
    const struct rpc_call_options options = {
        .timeout_ms = LIST_MS_MAX,
        .on_reply = on_listed,
        .context = supervisor,
    };
    if (rpc_client_call(supervisor->client, &method_supervisor_list, &request, &options, NULL) !=
        STATUS_OK)
        supervisor_lose(supervisor, RECONNECT_MS);
}

/* Its trees are gone, or will never be by its own hand: what is left is ended with it. */
static void on_dismissed(void *context, enum status status, const struct problem *problem,
                         const void *reply)
{
    struct supervisor *supervisor = context;
    (void)problem, (void)reply;
    if (supervisor->state != SUPERVISOR_DISMISSED)
        return;
    if (status != STATUS_OK)
        log_warning("a supervisor of another event log is killed", "tenant",
                    supervisor->tenant->name, "reason", status_text(status));
    if (ev_is_active(&supervisor->process))
        pidfd_send_signal(supervisor->process.fd, SIGKILL, NULL, 0);
    supervisor_lose(supervisor, RECONNECT_MS);
}

/* The log was put back from a backup, or is another one: the numbers that it fences with mean
 * nothing here, and it would refuse what is new, or take what is old for new. */
static bool is_of_another_log(const struct supervisor *supervisor,
                              const struct supervisor_hello_reply *hello)
{
    const struct store_identity *ours = &supervisor->owner->map.db.identity;
    struct span its = hello->store_incarnation;
    return its.size > 0 && !span_equal(its, span_of(ours->incarnation, sizeof ours->incarnation));
}

static void supervisor_dismiss(struct supervisor *supervisor)
{
    uint64_t grace_ms = supervisor->owner->settings.shutdown_timeout_ms;
    const struct supervisor_shutdown_request request = { .timeout_ms =
                                                             grace_ms == 0 ? 1 : grace_ms };
    const struct rpc_call_options options = {
        .timeout_ms = grace_ms + DISMISSAL_SLACK_MS,
        .on_reply = on_dismissed,
        .context = supervisor,
    };
    log_warning("a supervisor serves another event log: it is ended, with all that it holds",
                "tenant", supervisor->tenant->name, "pid", NUMBER(supervisor->host_pid));
    ev_timer_stop(supervisor->owner->loop, &supervisor->timer);
    supervisor_move(supervisor, SUPERVISOR_DISMISSED);
    if (rpc_client_call(supervisor->client, &method_supervisor_shutdown, &request, &options,
                        NULL) != STATUS_OK)
        supervisor_lose(supervisor, RECONNECT_MS);
}

static void on_hello(void *context, enum status status, const struct problem *problem,
                     const void *reply)
{
    struct supervisor *supervisor = context;
    const struct supervisor_hello_reply *hello = reply;
    (void)problem;
    if (supervisor->state != SUPERVISOR_GREETING)
        return;
    if (status != STATUS_OK) {
        supervisor_lose(supervisor, RECONNECT_MS);
        return;
    }
    if (hello->protocol != SUPERVISOR_PROTOCOL ||
        strcmp(hello->tenant, supervisor->tenant->name) != 0 ||
        hello->incarnation.size != sizeof supervisor->incarnation) {
        snprintf(supervisor->problem, sizeof supervisor->problem,
                 "its supervisor speaks protocol %llu, this deployd %d; end pid %llu to replace it",
                 (unsigned long long)hello->protocol, (int)SUPERVISOR_PROTOCOL,
                 (unsigned long long)hello->pid);
        if (!supervisor->has_complained)
            log_error("a supervisor cannot be used", "tenant", supervisor->tenant->name, "reason",
                      supervisor->problem);
        supervisor->has_complained = true;
        supervisor_told(supervisor);
        supervisor_lose(supervisor, PROTOCOL_MS);
        return;
    }
    supervisor->has_complained = false;
    supervisor->heard_ns = clock_boottime_ns();
    supervisor->host_pid = hello->pid;
    if (memcmp(supervisor->incarnation, hello->incarnation.data, sizeof supervisor->incarnation) !=
        0)
        supervisor->acknowledged = supervisor->reported = supervisor->refused = 0;
    memcpy(supervisor->incarnation, hello->incarnation.data, sizeof supervisor->incarnation);
    snprintf(supervisor->isolation, sizeof supervisor->isolation, "%s", hello->isolation);
    snprintf(supervisor->stop_method, sizeof supervisor->stop_method, "%s", hello->stop_method);
    supervisor_watch_process(supervisor);
    if (is_of_another_log(supervisor, hello)) {
        supervisor_dismiss(supervisor);
        return;
    }
    supervisor->owner->supervisor_events->on_greeted(supervisor->owner, supervisor);
    for (struct service *service = supervisor->tenant->services; service != NULL;
         service = service->next)
        service->is_seen = false;
    supervisor_move(supervisor, SUPERVISOR_LISTING);
    list_ask(supervisor, "");
}

void supervisor_greet(struct supervisor *supervisor)
{
    supervisor_move(supervisor, SUPERVISOR_GREETING);
    char path[4096];
    const struct rpc_client_options options = {
        .path = path,
        .on_connection = on_connection,
        .context = supervisor,
    };
    const struct supervisor_hello_request request = {};
    const struct rpc_call_options call = {
        .flags = RPC_RETRY,
        .timeout_ms = HELLO_MS_MAX,
        .on_reply = on_hello,
        .context = supervisor,
    };
    if (supervisor->heard_ns == 0)
        supervisor->heard_ns = clock_boottime_ns();
    if (supervisor_socket_path(supervisor->owner, supervisor->tenant->name, path) != STATUS_OK ||
        rpc_client_open(&supervisor->client, supervisor->owner->loop, &options) != STATUS_OK ||
        rpc_client_call(supervisor->client, &method_supervisor_hello, &request, &call, NULL) !=
            STATUS_OK) {
        supervisor_lose(supervisor, UNSENT_MS);
        return;
    }
    supervisor_timer_set(supervisor, LOCK_CHECK_MS, LOCK_CHECK_MS);
}
