/* Each turn looks whether anything is still owed; nothing sleeps. */
#include "common/access/drain.h"

#include "common/access/daemon_methods.h"
#include "common/base/log.h"

static enum status store_status(const struct drain *drain)
{
    if (!drain->store->is_failed)
        return STATUS_OK;
    return drain->store->is_replaced ? STATUS_ABORTED : STATUS_IO;
}

static void end(struct drain *drain)
{
    ev_prepare_stop(drain->lifecycle->loop, &drain->each_turn);
    ev_timer_stop(drain->lifecycle->loop, &drain->deadline);
    rpc_server_close(drain->server);
    enum status status = drain->store->is_failed ? STATUS_OK : drain->finish(drain->context);
    /* Its last commit may be the one that fails. */
    lifecycle_end(drain->lifecycle, drain->store->is_failed ? store_status(drain) : status);
}

static bool is_done(const struct drain *drain)
{
    return rpc_server_owed(*drain->server) == 0 &&
           (drain->is_done == NULL || drain->store->is_failed || drain->is_done(drain->context));
}

static void on_each_turn(struct ev_loop *loop, struct ev_prepare *prepare, int events)
{
    (void)loop, (void)events;
    struct drain *drain = prepare->data;
    if (is_done(drain))
        end(drain);
}

static void on_deadline(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct drain *drain = timer->data;
    log_warning("stopping before everything was finished", "owed",
                NUMBER(rpc_server_owed(*drain->server)));
    end(drain);
}

static void begin(struct drain *drain)
{
    if (drain->has_begun)
        return;
    drain->has_begun = true;
    daemon_health_set("stopping", "%s",
                      drain->store->is_replaced ? "another store was put in the place of this one"
                                                : status_text(store_status(drain)));
    rpc_server_stop_intake(*drain->server);
    if (drain->begun != NULL)
        drain->begun(drain->context);
    ev_prepare_start(drain->lifecycle->loop, &drain->each_turn);
    ev_timer_set(&drain->deadline, (double)drain->settings->shutdown_timeout_ms / 1e3, 0);
    ev_timer_start(drain->lifecycle->loop, &drain->deadline);
    /* So that the loop comes round also when nothing happens on a socket. */
    ev_feed_event(drain->lifecycle->loop, &drain->each_turn, EV_PREPARE);
}

static void on_stop(void *context)
{
    begin(context);
}

static void on_store_failed(struct ev_loop *loop, struct ev_prepare *prepare, int events)
{
    (void)loop, (void)events;
    begin(prepare->data);
}

/* In the midst of whatever commits: what the drain closes may be what is committing. The loop calls
 * on_store_failed as soon as that returns. */
static void note_failed(void *context)
{
    struct drain *drain = context;
    ev_feed_event(drain->lifecycle->loop, &drain->store_failed, EV_PREPARE);
}

void drain_init(struct drain *drain, const struct settings *settings)
{
    drain->settings = settings;
    ev_prepare_init(&drain->each_turn, on_each_turn);
    ev_prepare_init(&drain->store_failed, on_store_failed);
    ev_timer_init(&drain->deadline, on_deadline, 0, 0);
    drain->each_turn.data = drain->store_failed.data = drain->deadline.data = drain;
    drain->store->on_failed = note_failed;
    drain->store->on_failed_context = drain;
    drain->lifecycle->on_stop = on_stop;
    drain->lifecycle->context = drain;
}
