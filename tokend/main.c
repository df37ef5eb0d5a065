/* tokend: capability tokens. Boot order, top to bottom; shutdown is the same list, bottom to top,
 * after the drain. */
#include "common/access/daemon_methods.h"
#include "common/access/damaged_store.h"
#include "common/access/drain.h"
#include "common/access/late_server.h"
#include "common/access/operators.h"
#include "common/access/store_backup.h"
#include "common/access/store_walk.h"
#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"
#include "common/daemon/lifecycle.h"
#include "common/daemon/parent.h"
#include "common/daemon/reload.h"
#include "common/daemon/settings.h"
#include "common/outbox/outbox_state.h"
#include "common/rpc/server.h"
#include "tokend/comparison.h"
#include "tokend/gate.h"
#include "tokend/token_events.h"

enum { LOOK_SECONDS = 1, TIDY_SECONDS = 10 };

/* --- the store --- */

static enum status on_resource_high(void *store, const struct buffer *payload)
{
    return token_event_resource(store, payload);
}

static enum status open_store(struct tokend *tokend, struct comparison *comparison,
                              const struct settings *settings, struct ev_loop *loop,
                              struct span run_key)
{
    char dir[4096], eventd[4096];
    tokend->is_persistent = settings->token_persistence_enabled;
    TRY(path_join(dir, tokend->is_persistent ? settings->data_dir : settings->run_dir, "tokens"));
    TRY(run_socket_path(eventd, settings->run_dir, "eventd"));
    enum status status = token_store_open(&tokend->store, dir, settings->run_dir);
    tokend->store.is_of_boot = !tokend->is_persistent;
    if (status == STATUS_OK)
        status = comparison_open(comparison, loop, eventd, run_key);
    if (status == STATUS_OK)
        sweep_open(&tokend->sweep, &tokend->store, loop, settings->token_cleanup_interval_ms);
    if (!damaged_store_is_lasting(status))
        return status;
    comparison_close(comparison);
    token_store_close(&tokend->store);
    tokend->is_damaged = true;
    damaged_store_say(&tokens_schema, status, dir);
    return STATUS_OK;
}

/* --- from time to time --- */

/* What lies in the place of the store, and of the voucher, also while nobody asks. */
static void look(struct comparison *comparison, bool makes_voucher)
{
    struct tokend *tokend = comparison->tokend;
    struct store_voucher *voucher = &tokend->store.voucher;
    bool was_written = store_voucher_is_written(voucher);
    if (token_store_check_in_place(&tokend->store) != STATUS_OK)
        return;
    if (was_written || makes_voucher)
        store_voucher_keep(voucher);
    if (store_voucher_is_written(voucher) != was_written &&
        !comparison->late->lifecycle->is_stopping)
        comparison_say_health(tokend);
}

static void on_look(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    look(timer->data, false);
}

static void on_tidy(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct comparison *comparison = timer->data;
    look(comparison, true);
    token_store_tidy(&comparison->tokend->store); /* what failed was logged there */
}

static void watch_resources(struct tokend *tokend, const struct settings *settings,
                            struct ev_loop *loop)
{
    static char events[4096]; /* eventd tells of the disk on which the log lies */
    if (path_join(events, settings->data_dir, "events") != STATUS_OK)
        return;
    tokend->resources = (struct resource_watch){ .daemon = "tokend",
                                                 .store = &tokend->store.db,
                                                 .folder = tokend->store.db.dir,
                                                 .unless_with = events,
                                                 .tell = on_resource_high,
                                                 .context = &tokend->store };
    resource_watch_open(&tokend->resources, loop);
}

/* --- the end --- */

static void on_drain(void *context)
{
    struct tokend *tokend = context;
    sweep_close(&tokend->sweep);
    resource_watch_close(&tokend->resources);
    store_backup_close();
    store_walk_close();
    if (!tokend->is_damaged)
        outbox_flush(&tokend->store.outbox);
}

static bool is_done(void *context)
{
    struct tokend *tokend = context;
    return tokend->is_damaged || outbox_is_settled(&tokend->store.outbox);
}

static enum status finish(void *context)
{
    struct tokend *tokend = context;
    if (tokend->is_damaged)
        return STATUS_OK;
    if (tokend->store.in_turn)
        token_store_abort(&tokend->store);
    return token_store_close_cleanly(&tokend->store);
}

/* --- new settings --- */

struct reloading {
    const struct settings *settings;
    struct sweep *sweep;
};

static void on_reloaded(void *context)
{
    const struct reloading *reloading = context;
    sweep_set_interval(reloading->sweep, reloading->settings->token_cleanup_interval_ms);
}

static enum status run(int argc, char **argv)
{
    AUTO(lifecycle_close) struct lifecycle lifecycle = { 0 };
    AUTO(reload_close) struct reload reload = { 0 };
    AUTO(tokend_close) struct tokend tokend = { .store.db.lease = FILE_LOCK_NONE };
    AUTO(comparison_close) struct comparison comparison = { 0 };
    AUTO(gate_close) struct gate gate = { 0 };
    AUTO(rpc_server_close) struct rpc_server *server = NULL;
    struct settings settings = { 0 };
    struct rpc_service service;
    uint8_t run_key[RUN_KEY_BYTES];
    bool has_run_key;
    struct late_server late = { .lifecycle = &lifecycle, .service = &service, .server = &server };

    TRY(settings_load(&settings, "tokend", NULL, argc, argv));
    TRY(harden_process());
    TRY(die_with_parent());
    TRY(hide_memory());
    TRY(lifecycle_open(&lifecycle));
    TRY(parent_join(&lifecycle));
    TRY(lifecycle_run_key(run_key, &has_run_key));
    TRY(access_open(&gate.access, &settings, has_run_key ? run_key : NULL));

    tokend_service(&tokend, &service);
    gate_setup(&gate, &tokend, &service);
    daemon_methods_setup(
        &(struct daemon_self){ .name = "tokend",
                               .access = &gate.access,
                               .write_counters = tokend_write_counters,
                               .context = &tokend,
                               .is_short_of_space = &tokend.store.db.is_short_of_space,
                               .has_met_damage = &tokend.store.db.has_met_damage,
                               .damage = damaged_store_in_places("tokens"),
                               .shortage = tokend.resources.reason },
        service.routes);
    tokend.sweep.on_damage = tokend_note_damage;
    tokend.sweep.context = &tokend;
    const struct span key = span_of(run_key, has_run_key ? sizeof run_key : 0);
    comparison.late = &late;
    comparison.tokend = &tokend;
    TRY(open_store(&tokend, &comparison, &settings, lifecycle.loop, key));
    TRY(gate_open(&gate, &settings, lifecycle.loop, key));

    TRY(parent_listener(settings.run_dir, "tokend", &late.listener));

    struct drain drain = {
        .lifecycle = &lifecycle,
        .server = &server,
        .store = &tokend.store.db,
        .begun = on_drain,
        .is_done = is_done,
        .finish = finish,
        .context = &tokend,
    };
    drain_init(&drain, &settings);
    struct ev_timer tidy, looking;
    ev_timer_init(&tidy, on_tidy, TIDY_SECONDS, TIDY_SECONDS);
    ev_timer_init(&looking, on_look, LOOK_SECONDS, LOOK_SECONDS);
    tidy.data = looking.data = &comparison;
    if (!tokend.is_damaged) {
        if (tokend.is_persistent) /* else they are of this boot only */
            store_backup_open(lifecycle.loop, &tokend.store.db);
        store_walk_open(lifecycle.loop, &tokend.store.db);
        ev_timer_start(lifecycle.loop, &tidy);
        ev_timer_start(lifecycle.loop, &looking);
        watch_resources(&tokend, &settings, lifecycle.loop);
        comparison_say_health(&tokend);
    }
    struct reloading reloading = { .settings = &settings, .sweep = &tokend.sweep };
    reload = (struct reload){ .settings = &settings,
                              .program = "tokend",
                              .argc = argc,
                              .argv = argv,
                              .changed = on_reloaded,
                              .context = &reloading };
    reload_open(&reload, lifecycle.loop);
    late_server_begin(&late, tokend.is_damaged);
    return lifecycle_run(&lifecycle);
}

int main(int argc, char **argv)
{
    schema_probe_if_asked(argc, argv);
    enum status status = run(argc, argv);
    return status == STATUS_CANCELLED ? 0 : status_exit_code(status); /* --help, --version */
}
