/* vaultd: secrets. Boot order, top to bottom; shutdown is the same list, bottom to top, after the
 * drain. */
#include "common/access/access.h"
#include "common/access/daemon_methods.h"
#include "common/access/damaged_store.h"
#include "common/access/drain.h"
#include "common/access/late_server.h"
#include "common/access/operators.h"
#include "common/access/store_backup.h"
#include "common/access/store_walk.h"
#include "common/access/token_checks.h"
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
#include "vaultd/comparison.h"
#include "vaultd/methods.h"
#include "vaultd/vault_events.h"

enum { TIDY_SECONDS = 10 };

static void on_tidy(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct vaultd *vaultd = timer->data;
    if (vault_store_is_vouched(&vaultd->vault.store))
        vault_store_tidy(&vaultd->vault.store); /* what failed was logged there */
}

/* --- the store --- */

/* With the log. A store that is vouched for is opened and served before, any other after it. */
struct comparison {
    struct vaultd *vaultd;
    struct late_server *late;
    bool is_open_before;
    struct ev_loop *loop;
    struct ev_timer turn_over;
};

/* Opening is a turn of its own: it waits for the end of one that somebody's request has begun. */
static void open_between_turns(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    struct comparison *comparison = timer->data;
    (void)events;
    if (!comparison->vaultd->vault.store.in_turn) {
        opening_begin(&comparison->vaultd->opening);
        return;
    }
    ev_timer_set(timer, .001, 0.);
    ev_timer_start(loop, timer);
}

static void on_compare(void *context, uint64_t known_id)
{
    struct comparison *comparison = context;
    struct vaultd *vaultd = comparison->vaultd;
    (void)known_id;
    if (comparison_make(&vaultd->vault) == STATUS_OK && !comparison->is_open_before)
        open_between_turns(comparison->loop, &comparison->turn_over, 0);
    late_server_serve(comparison->late);
}

static enum status on_resource_high(void *store, const struct buffer *payload)
{
    return vault_event_resource(store, payload);
}

static enum status open_store(struct comparison *comparison, const struct settings *settings,
                              struct ev_loop *loop, struct span run_key)
{
    struct vaultd *vaultd = comparison->vaultd;
    struct vault *vault = &vaultd->vault;
    char dir[4096], eventd[4096];
    comparison->loop = loop;
    ev_timer_init(&comparison->turn_over, open_between_turns, 0., 0.);
    comparison->turn_over.data = comparison;
    TRY(path_join(dir, settings->data_dir, "vault"));
    TRY(run_socket_path(eventd, settings->run_dir, "eventd"));
    enum status status = vault_open(vault, settings, dir);
    if (status == STATUS_OK)
        status =
            vault_store_open_outbox(&vault->store, loop, eventd, run_key, on_compare, comparison);
    if (!damaged_store_is_lasting(status))
        return status;
    vault_store_close(&vault->store);
    vaultd->is_damaged = true;
    damaged_store_say(&vault_schema, status, dir);
    return STATUS_OK;
}

static void on_open(void *context)
{
    struct vaultd *vaultd = context;
    rotation_wake(&vaultd->rotation);
}

/* What vaultd does by itself. */
static void begin_work(struct vaultd *vaultd, struct access *access, struct ev_loop *loop)
{
    struct vault *vault = &vaultd->vault;
    vaultd->opening.on_open = on_open;
    vaultd->opening.context = vaultd;
    denials_open(&vaultd->denials, vault, access, loop);
    if (vaultd->is_damaged)
        return;
    opening_open(&vaultd->opening, vault, loop);
    rotation_open(&vaultd->rotation, vault, loop);
    verification_open(&vaultd->verification, vault, loop);
    delivery_open(&vaultd->delivery, vault, loop);
}

static void watch_resources(struct vaultd *vaultd, const struct settings *settings,
                            struct ev_loop *loop)
{
    static char events[4096]; /* eventd tells of the disk on which the log lies */
    if (path_join(events, settings->data_dir, "events") != STATUS_OK)
        return;
    vaultd->resources = (struct resource_watch){ .daemon = "vaultd",
                                                 .store = &vaultd->vault.store.db,
                                                 .folder = vaultd->vault.store.db.dir,
                                                 .unless_with = events,
                                                 .tell = on_resource_high,
                                                 .context = &vaultd->vault.store };
    resource_watch_open(&vaultd->resources, loop);
}

/* --- the end --- */

static void on_drain(void *context)
{
    struct vaultd *vaultd = context;
    vaultd_stop(vaultd);
    resource_watch_close(&vaultd->resources);
    store_backup_close();
    store_walk_close();
    if (vaultd->vault.is_compared)
        outbox_flush(&vaultd->vault.store.outbox);
}

static bool is_done(void *context)
{
    struct vaultd *vaultd = context;
    return !vaultd->vault.is_compared || outbox_is_settled(&vaultd->vault.store.outbox);
}

static enum status finish(void *context)
{
    struct vaultd *vaultd = context;
    struct vault_store *store = &vaultd->vault.store;
    if (vaultd->is_damaged)
        return STATUS_OK;
    if (store->in_turn)
        vault_store_abort(store);
    return vault_store_close_cleanly(store);
}

/* Larger than a stack should carry. */
static void vaultd_end(struct vaultd **vaultd)
{
    vaultd_close(*vaultd);
}

static enum status run(int argc, char **argv)
{
    static struct vaultd the_vaultd = { .vault.store.db.lease = FILE_LOCK_NONE };
    AUTO(lifecycle_close) struct lifecycle lifecycle = { 0 };
    AUTO(reload_close) struct reload reload = { 0 };
    AUTO(vaultd_end) struct vaultd *vaultd = &the_vaultd;
    AUTO(token_checks_close) struct token_checks checks = { 0 };
    AUTO(rpc_server_close) struct rpc_server *server = NULL;
    struct settings settings = { 0 };
    struct access access = { 0 };
    struct rpc_service service;
    uint8_t run_key[RUN_KEY_BYTES];
    bool has_run_key;
    const struct rpc_limits limits = vaultd_limits();
    struct late_server late = {
        .lifecycle = &lifecycle, .service = &service, .limits = &limits, .server = &server
    };
    struct comparison comparison = { .vaultd = vaultd, .late = &late };

    TRY(settings_load(&settings, "vaultd", NULL, argc, argv));
    TRY(harden_process());
    TRY(die_with_parent());
    TRY(hide_memory());
    memory_lock_raise_limit();
    TRY(lifecycle_open(&lifecycle));
    TRY(parent_join(&lifecycle));
    TRY(lifecycle_run_key(run_key, &has_run_key));
    TRY(access_open(&access, &settings, has_run_key ? run_key : NULL));

    TRY(locked_pool_open(&vaultd->vault.pool, VAULT_LOCKED_BYTES));
    vaultd_service(vaultd, &service);
    service.privileged = &access.privileged;
    service.authorise = denials_authorise;
    service.narrow = denials_narrow;
    service.refused = denials_refused;
    service.access = &vaultd->denials;
    daemon_methods_setup(
        &(struct daemon_self){ .name = "vaultd",
                               .access = &access,
                               .write_counters = vaultd_write_counters,
                               .context = vaultd,
                               .is_short_of_space = &vaultd->vault.store.db.is_short_of_space,
                               .has_met_damage = &vaultd->vault.store.db.has_met_damage,
                               .damage = damaged_store_in_places("vault"),
                               .shortage = vaultd->resources.reason },
        service.routes);
    const struct span key = span_of(run_key, has_run_key ? sizeof run_key : 0);
    TRY(open_store(&comparison, &settings, lifecycle.loop, key));
    TRY(token_checks_open(&checks, &access, lifecycle.loop, &settings, "vaultd",
                          has_run_key ? run_key : NULL));
    begin_work(vaultd, &access, lifecycle.loop);
    comparison.is_open_before = !vaultd->is_damaged && vault_store_is_vouched(&vaultd->vault.store);
    if (comparison.is_open_before)
        opening_begin(&vaultd->opening);

    TRY(parent_listener(settings.run_dir, "vaultd", &late.listener));

    struct drain drain = {
        .lifecycle = &lifecycle,
        .server = &server,
        .store = &vaultd->vault.store.db,
        .begun = on_drain,
        .is_done = is_done,
        .finish = finish,
        .context = vaultd,
    };
    drain_init(&drain, &settings);
    struct ev_timer tidy;
    ev_timer_init(&tidy, on_tidy, TIDY_SECONDS, TIDY_SECONDS);
    tidy.data = vaultd;
    if (!vaultd->is_damaged) {
        store_backup_open(lifecycle.loop, &vaultd->vault.store.db);
        store_walk_open(lifecycle.loop, &vaultd->vault.store.db);
        ev_timer_start(lifecycle.loop, &tidy);
        watch_resources(vaultd, &settings, lifecycle.loop);
        daemon_health_set("ready", "%s", "");
        parent_say("ready");
    }
    reload =
        (struct reload){ .settings = &settings, .program = "vaultd", .argc = argc, .argv = argv };
    reload_open(&reload, lifecycle.loop);
    late_server_begin(&late, vaultd->is_damaged || comparison.is_open_before);
    return lifecycle_run(&lifecycle);
}

int main(int argc, char **argv)
{
    schema_probe_if_asked(argc, argv);
    enum status status = run(argc, argv);
    return status == STATUS_CANCELLED ? 0 : status_exit_code(status); /* --help, --version */
}
