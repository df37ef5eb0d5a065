/* deployd: admits deploys, kills and restarts, and sees to it that what the log wants is what runs.
 * Boot order, top to bottom; shutdown is the same list, bottom to top, after the drain in on_stop.
 * What follows once the loop runs stands in boot.c. */
#include <malloc.h>
#include <string.h>
#include <unistd.h>

#include "common/access/daemon_methods.h"
#include "common/access/operators.h"
#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"
#include "common/daemon/parent.h"
#include "common/daemon/reload.h"
#include "deployd/boot.h"
#include "deployd/deliveries.h"
#include "deployd/drain.h"
#include "deployd/log_streams.h"
#include "deployd/methods.h"
#include "deployd/operation_queue.h"
#include "deployd/reconcile.h"
#include "deployd/recovery.h"
#include "deployd/reports.h"
#include "deployd/resources.h"
#include "deployd/supervision.h"
#include "deployd/supervisors.h"
#include "deployd/turn.h"
#include "deployd/waits.h"

enum {
    TOKEN_CHECK_S = 1,
    STOP_MS_MAX = 2000,
    SCRATCH_BYTES_MAX = 256 * 1024,
    BIG_BYTES = 64 * 1024
};

/* The id of this run: made by solod at each of its starts, by us when there is none. */
static enum status run_open(struct deployd *deployd)
{
    char internal[4096], tenants[4096];
    TRY(path_join(internal, deployd->settings.run_dir, RUN_INTERNAL));
    TRY(path_join(tenants, deployd->settings.run_dir, RUN_TENANTS));
    TRY(directory_make(internal, 0700));
    TRY(directory_make(tenants, 0700));
    TRY(clock_boot_id(deployd->run.boot_id));
    enum status status = run_id_read(deployd->settings.run_dir, deployd->run.id);
    if (status != STATUS_NOT_FOUND)
        return status;
    struct uuid id = uuid_draw();
    uuid_text(deployd->run.id, &id);
    return run_id_write(deployd->settings.run_dir, &id);
}

static void on_eventd_connection(void *context, bool is_connected)
{
    struct deployd *deployd = context;
    event_map_connected(&deployd->map, is_connected);
    if (is_connected)
        boot_eventd_connected(deployd);
}

static enum status eventd_open(struct deployd *deployd)
{
    char path[4096];
    TRY(run_socket_path(path, deployd->settings.run_dir, "eventd"));
    const struct rpc_client_options options = {
        .path = path,
        .daemon = deployd->has_run_key ? "deployd" : NULL,
        .key = span_of(deployd->run_key, deployd->has_run_key ? sizeof deployd->run_key : 0),
        .on_connection = on_eventd_connection,
        .context = deployd,
    };
    return rpc_client_open(&deployd->eventd, deployd->loop, &options);
}

static void on_service_change(void *context, struct service *service)
{
    waits_look(context, service);
    deliveries_look(context, service);
}

/* Only keeps the loop from sleeping. */
static void on_go_on(struct ev_loop *loop, struct ev_idle *idle, int events)
{
    (void)loop, (void)idle, (void)events;
}

/* When the requests of this turn are on their way: what changed goes into the registry, before
 * anybody is answered, who may look there; what was recorded is acknowledged in the next turn. */
static void after_requests(struct ev_loop *loop, struct ev_prepare *prepare, int events)
{
    (void)loop, (void)events;
    struct deployd *deployd = prepare->data;
    reports_acknowledge(deployd);
    /* Until the supervisors have told, what an earlier deployd wrote is the last that is known. */
    if (deployd->boot.state >= BOOT_RECONCILING)
        registry_flush(&deployd->registry, &deployd->catalog);
}

/* Once per turn operations are carried on. */
static void before_sleep(struct ev_loop *loop, struct ev_prepare *prepare, int events)
{
    (void)loop, (void)events;
    struct deployd *deployd = prepare->data;
    if (turn_step(deployd))
        ev_idle_start(deployd->loop, &deployd->go_on);
    else
        ev_idle_stop(deployd->loop, &deployd->go_on);
    deliveries_step(deployd);
    event_map_turn_ended(&deployd->map);
    if (deployd->map.was_replaced) {
        deployd->map.was_replaced = false;
        reconcile_soon(deployd);
    }
    if (deployd->is_stopping && (deployd->server == NULL || rpc_server_owed(deployd->server) == 0))
        lifecycle_end(&deployd->lifecycle, STATUS_OK);
}

/* A stream that has nothing to send would not notice that its token is void. */
static void on_token_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    waits_check_tokens(timer->data);
    log_streams_check_tokens();
}

static void on_stop_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct deployd *deployd = timer->data;
    /* Whoever repeats its request gets the recorded outcome from the next deployd. */
    log_info("stopping before every answer was given", "operations", NUMBER(deployd->operations));
    lifecycle_end(&deployd->lifecycle, STATUS_OK);
}

/* SIGTERM: services and supervisors go on; calls that are not finished soon are repeated elsewhere.
 */
static void on_stop(void *context)
{
    struct deployd *deployd = context;
    struct problem problem;
    deployd->is_stopping = true;
    daemon_health_set("stopping", "%s", "");
    deployd_is_open(deployd, &problem);
    if (deployd->server != NULL)
        rpc_server_stop_intake(deployd->server);
    operations_refuse_queued(deployd, &problem);
    waits_end(deployd, &problem);
    log_streams_end(deployd, &problem);
    ev_timer_init(&deployd->stop_timer, on_stop_timer, STOP_MS_MAX / 1e3, 0);
    deployd->stop_timer.data = deployd;
    ev_timer_start(deployd->loop, &deployd->stop_timer);
    /* So that the loop comes round also when nothing happens on a socket. */
    ev_feed_event(deployd->loop, &deployd->before_sleep, EV_PREPARE);
}

static void deployd_close(struct deployd **closed)
{
    struct deployd *deployd = *closed;
    if (deployd->loop != NULL) {
        struct problem problem = { .code = STATUS_UNAVAILABLE };
        waits_end(deployd, &problem);
        log_streams_end(deployd, &problem);
        boot_end(deployd);
        drain_close(deployd);
        recovery_close(deployd);
        operations_close(deployd);
        for (struct tenant *tenant = deployd->catalog.tenants; tenant != NULL;
             tenant = tenant->hh.next)
            supervisor_close(&tenant->supervisor);
        ev_prepare_stop(deployd->loop, &deployd->before_sleep);
        ev_prepare_stop(deployd->loop, &deployd->after_requests);
        ev_idle_stop(deployd->loop, &deployd->go_on);
        reconcile_close(deployd);
        deliveries_close(deployd);
        resource_watch_close(&deployd->resources);
        ev_timer_stop(deployd->loop, &deployd->stop_timer);
        ev_timer_stop(deployd->loop, &deployd->token_timer);
    }
    rpc_server_close(&deployd->server);
    rpc_client_close(&deployd->eventd);
    reports_close(deployd);
    registry_close(&deployd->registry);
    token_checks_close(&deployd->tokens);
    event_map_close(&deployd->map);
    catalog_close(&deployd->catalog);
    arena_close(&deployd->scratch);
    if (deployd->listener >= 0)
        close(deployd->listener);
    lifecycle_close(&deployd->lifecycle);
}

static enum status run(int argc, char **argv)
{
    static struct deployd deployd = { .listener = -1, .scratch = { .limit = SCRATCH_BYTES_MAX } };
    AUTO(deployd_close) __attribute__((unused)) struct deployd *open = &deployd;
    AUTO(reload_close)
    struct reload reload = {
        .settings = &deployd.settings, .program = "deployd", .argc = argc, .argv = argv
    };

    TRY(settings_load(&deployd.settings, "deployd", NULL, argc, argv));
    TRY(harden_process());
    TRY(die_with_parent());
    TRY(lifecycle_open(&deployd.lifecycle));
    TRY(parent_join(&deployd.lifecycle));
    deployd.loop = deployd.lifecycle.loop;
    deployd.lifecycle.on_stop = on_stop;
    deployd.lifecycle.context = &deployd;
    TRY(lifecycle_run_key(deployd.run_key, &deployd.has_run_key));
    TRY(access_open(&deployd.access, &deployd.settings,
                    deployd.has_run_key ? deployd.run_key : NULL));
    TRY(token_checks_open(&deployd.tokens, &deployd.access, deployd.loop, &deployd.settings,
                          "deployd", deployd.has_run_key ? deployd.run_key : NULL));
    methods_setup(&deployd);

    /* Of one priority libev calls the watcher that was started first as the last: behind all rpc
     * clients, before the rpc server. */
    ev_prepare_init(&deployd.after_requests, after_requests);
    ev_set_priority(&deployd.after_requests, EV_MINPRI + 1);
    deployd.after_requests.data = &deployd;
    ev_prepare_start(deployd.loop, &deployd.after_requests);
    TRY(parent_listener(deployd.settings.run_dir, "deployd", &deployd.listener));
    TRY(run_open(&deployd));
    TRY(registry_open(&deployd.registry, deployd.settings.run_dir));
    TRY(eventd_open(&deployd));
    TRY(deliveries_open(&deployd));
    deployd.catalog.on_change = on_service_change;
    deployd.catalog.context = &deployd;
    deployd.supervisor_events = &supervision;
    reconcile_init(&deployd);
    ev_prepare_init(&deployd.before_sleep, before_sleep);
    deployd.before_sleep.data = &deployd;
    ev_prepare_start(deployd.loop, &deployd.before_sleep);
    ev_idle_init(&deployd.go_on, on_go_on);
    ev_timer_init(&deployd.token_timer, on_token_timer, TOKEN_CHECK_S, TOKEN_CHECK_S);
    deployd.token_timer.data = &deployd;
    ev_timer_start(deployd.loop, &deployd.token_timer);
    TRY(resources_open(&deployd));
    reload_open(&reload, deployd.loop);
    boot_begin(&deployd);
    return lifecycle_run(&deployd.lifecycle);
}

int main(int argc, char **argv)
{
    schema_probe_if_asked(argc, argv);
    /* Big buffers (lists, specs, plans) live for moments: their memory goes back at once. */
    mallopt(M_MMAP_THRESHOLD, BIG_BYTES);
    mallopt(M_TRIM_THRESHOLD, BIG_BYTES);
    enum status status = run(argc, argv);
    if (status != STATUS_OK && status != STATUS_CANCELLED)
        parent_say("%s", log_last_failure()); /* passed on by `soloctl status` */
    return status == STATUS_CANCELLED ? 0 : status_exit_code(status); /* --help, --version */
}
