/* The end of eventd: what it does beyond the common drain. */
#include "eventd/stopping.h"

#include "common/access/store_backup.h"
#include "common/access/store_walk.h"
#include "common/api/records/run_end.h"
#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"

static enum status finish(void *context)
{
    struct stopping *stopping = context;
    struct eventd *eventd = stopping->eventd;
    if (eventd->is_damaged)
        return STATUS_OK;
    bool is_orderly = eventd_is_closing(eventd, clock_boottime_ns());
    if (eventd->store.in_turn)
        event_store_abort(&eventd->store);
    const struct store_end end = {
        .ends_run = is_orderly,
        .is_logged = stopping->settings->log_shutdown_events,
        .is_forced = eventd->is_forced,
        .killed = eventd->killed,
    };
    return event_store_close_cleanly(&eventd->store, &end);
}

static void begun(void *context)
{
    struct stopping *stopping = context;
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

/* As a reader, which leaves nothing behind: most often there is nothing to do. */
static enum status find_open_run(const struct settings *settings, bool *is_open)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    AUTO(db_end) struct db_txn txn = { 0 };
    char dir[4096], run_id[UUID_TEXT_BYTES], boot_id[BOOT_ID_BYTES];
    *is_open = false;
    enum status status = run_id_read(settings->run_dir, run_id);
    if (status != STATUS_NOT_FOUND)
        return status;
    TRY(clock_boot_id(boot_id));
    TRY(path_join(dir, settings->data_dir, "events"));
    status = db_open_reader(&db, &events_schema, dir);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    TRY(db_begin_read(&db, &txn));
    return run_is_open(&txn, boot_id, is_open);
}

enum status stopping_close_log(const struct settings *settings, const char *killed)
{
    AUTO(event_store_close)
    struct event_store store = {
        .db.lease = FILE_LOCK_NONE,
        .branch = BRANCH_INIT,
    };
    const struct store_end end = {
        .ends_run = true,
        .is_logged = settings->log_shutdown_events,
        .is_forced = true,
        .killed = killed,
    };
    bool is_open;
    TRY(find_open_run(settings, &is_open));
    if (!is_open)
        return STATUS_OK;
    TRY(event_store_open(&store, settings->data_dir));
    TRY(event_store_close_cleanly(&store, &end));
    log_warning("the log is closed behind an eventd that did not do it");
    return STATUS_OK;
}
