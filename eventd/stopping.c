/* The end of eventd: what it does beyond the common drain. */
#include "eventd/stopping.h"

#include "common/access/store_backup.h"
#include "common/access/store_walk.h"
#include "common/base/clock.h"

static enum status finish(void *context)
{
    struct stopping *stopping = context;
    struct eventd *eventd = stopping->eventd;
    if (eventd->is_damaged)
        return STATUS_OK;
    if (eventd->store.in_turn)
        event_store_abort(&eventd->store);
    const struct store_end end = {
        .ends_run = stopping->is_orderly,
        .is_logged = stopping->settings->log_shutdown_events,
        .is_forced = eventd->is_forced,
    };
    return event_store_close_cleanly(&eventd->store, &end);
}

static void begun(void *context)
{
    struct stopping *stopping = context;
    stopping->is_orderly = eventd_is_closing(stopping->eventd, clock_boottime_ns());
    watch_list_close(&stopping->eventd->watches);
    store_backup_close();
    store_walk_close();
    resource_watch_close(&stopping->eventd->resources);
    retention_close(&stopping->eventd->retention);
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
