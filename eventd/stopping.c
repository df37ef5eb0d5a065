/* The end of eventd: what it does beyond the common drain. */
#include "eventd/stopping.h"

#include "common/access/store_backup.h"
#include "common/access/store_walk.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
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

static enum status finish(void *context)
{
    struct stopping *stopping = context;
    struct eventd *eventd = stopping->eventd;
    if (eventd->is_damaged)
        return STATUS_OK;
    if (eventd->store.in_turn)
        event_store_abort(&eventd->store);
    TRY(write_last_event(stopping));
    return event_store_close_cleanly(&eventd->store);
}

static void begun(void *context)
{
    struct stopping *stopping = context;
    stopping->is_orderly = eventd_is_closing(stopping->eventd, clock_boottime_ns());
    watch_list_close(&stopping->eventd->watches);
    store_backup_close();
    store_walk_close();
    resource_watch_close(&stopping->eventd->resources);
}

void stopping_init(struct stopping *stopping, struct eventd *eventd, struct lifecycle *lifecycle,
                   struct rpc_server **server, const struct settings *settings)
{
    *stopping = (struct stopping){
        .drain = { .lifecycle = lifecycle,
                   .server = server,
                   .store = &eventd->store.db,
                   .begun = begun,
                   .finish = finish,
                   .context = stopping },
        .eventd = eventd,
        .settings = settings,
    };
    drain_init(&stopping->drain, settings);
}
