/* The drain. Each turn looks whether anything is still owed; nothing sleeps. */
#include "eventd/stopping.h"

#include "common/access/daemon_methods.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/wire/writer.h"

static enum status write_last_event(struct stopping *stopping)
{
    struct eventd *eventd = stopping->eventd;
    if (!stopping->is_orderly || !stopping->settings->log_shutdown_events)
        return STATUS_OK;
    AUTO(buffer_close) struct buffer payload = { .limit = 64 };
    write_map(&payload, 1);
    write_str(&payload, "forced");
    write_bool(&payload, eventd->is_forced);
    return event_store_append_alone(&eventd->store, EVENT_system_shutdown_complete,
                                    buffer_span(&payload));
}

static enum status close_store(struct stopping *stopping)
{
    struct eventd *eventd = stopping->eventd;
    if (eventd->is_damaged)
        return STATUS_OK;
    if (eventd->store.db.is_failed)
        return STATUS_IO;
    if (eventd->store.in_turn)
        event_store_abort(&eventd->store);
    TRY(write_last_event(stopping));
    return event_store_close_cleanly(&eventd->store);
}

static void finish(struct stopping *stopping)
{
    ev_prepare_stop(stopping->lifecycle->loop, &stopping->each_turn);
    ev_timer_stop(stopping->lifecycle->loop, &stopping->deadline);
    rpc_server_close(stopping->server);
    enum status status = close_store(stopping);
    if (stopping->result == STATUS_OK)
        stopping->result = status;
    lifecycle_end(stopping->lifecycle, stopping->result);
}

static void on_each_turn(struct ev_loop *loop, struct ev_prepare *prepare, int events)
{
    (void)loop, (void)events;
    struct stopping *stopping = prepare->data;
    if (rpc_server_owed(*stopping->server) == 0)
        finish(stopping);
}

static void on_deadline(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct stopping *stopping = timer->data;
    log_warning("a client does not read its answers, stopping without it", "owed",
                NUMBER(rpc_server_owed(*stopping->server)));
    finish(stopping);
}

static void begin(struct stopping *stopping, enum status result)
{
    if (stopping->has_begun)
        return;
    stopping->has_begun = true;
    stopping->is_orderly = eventd_is_closing(stopping->eventd, clock_boottime_ns());
    stopping->result = result;
    daemon_health_set("stopping", "%s", status_text(result));
    rpc_server_stop_intake(*stopping->server);
    watch_list_close(&stopping->eventd->watches);
    ev_prepare_start(stopping->lifecycle->loop, &stopping->each_turn);
    ev_timer_start(stopping->lifecycle->loop, &stopping->deadline);
    /* So that the loop comes round also when nothing happens on a socket. */
    ev_feed_event(stopping->lifecycle->loop, &stopping->each_turn, EV_PREPARE);
}

static void on_stop(void *context)
{
    begin(context, STATUS_OK);
}

static void on_failure(struct eventd *eventd)
{
    begin(eventd->on_failure_context, STATUS_IO);
}

void stopping_init(struct stopping *stopping, struct eventd *eventd, struct lifecycle *lifecycle,
                   struct rpc_server **server, const struct settings *settings)
{
    *stopping = (struct stopping){
        .eventd = eventd,
        .lifecycle = lifecycle,
        .server = server,
        .settings = settings,
    };
    ev_prepare_init(&stopping->each_turn, on_each_turn);
    ev_timer_init(&stopping->deadline, on_deadline, (double)settings->shutdown_timeout_ms / 1000.,
                  0.);
    stopping->each_turn.data = stopping->deadline.data = stopping;
    lifecycle->on_stop = on_stop;
    lifecycle->context = stopping;
    eventd->on_failure = on_failure;
    eventd->on_failure_context = stopping;
}
