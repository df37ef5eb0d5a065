/* tokend: capability tokens. Boot order, top to bottom; shutdown is the same list, bottom to top,
 * after the drain. */
#include <stddef.h>

#include "common/access/access.h"
#include "common/access/daemon_methods.h"
#include "common/access/damaged_store.h"
#include "common/access/drain.h"
#include "common/access/late_server.h"
#include "common/access/operators.h"
#include "common/access/store_backup.h"
#include "common/access/store_walk.h"
#include "common/access/token_map.h"
#include "common/access/token_report.h"
#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"
#include "common/daemon/lifecycle.h"
#include "common/daemon/parent.h"
#include "common/daemon/reload.h"
#include "common/daemon/settings.h"
#include "common/rpc/server.h"
#include "tokend/catch_up.h"
#include "tokend/changes.h"
#include "tokend/methods.h"
#include "tokend/token_events.h"

enum { LOOK_SECONDS = 1, TIDY_SECONDS = 10 };

/* --- the store --- */

/* Until the store has been compared with the log, what was revoked may be in it. When that takes
 * longer, because eventd is away, tokend serves meanwhile; a store that it does not vouch for is
 * then read, and what is in it revoked, but nobody is believed by it. */
struct comparison {
    struct catch_up catch_up;
    struct late_server *late;
    struct tokend *tokend;
};

static const char *refusal(const struct token_store *store)
{
    if (!token_store_is_vouched(store))
        return "every token is refused until the store was compared with the log: eventd does not "
               "answer";
    return store_voucher_is_written(&store->voucher)
               ? ""
               : "every token is refused by the other daemons: " TOKENS_VOUCHER
                 " cannot be written in the run folder, the diagnostics say why";
}

static void say_health(const struct tokend *tokend)
{
    if (!tokend->is_damaged && !tokend->is_unsound)
        daemon_health_set("ready", "%s", refusal(&tokend->store));
}

static void on_compare(void *context, uint64_t known_id)
{
    struct comparison *comparison = context;
    const struct tokend *tokend = comparison->tokend;
    /* It revives nothing; but whoever has a token should learn why it is refused. */
    if (tokend->is_persistent && tokend->store.restored == 0 && known_id == 0 &&
        outbox_has_siblings(&tokend->store.outbox))
        log_warning("the token store is new, though the log tells of another one: every token that "
                    "was granted before is void",
                    "dir", tokend->store.db.dir, "next",
                    "put it back, or a backup by `soloctl restore DIR --only tokens`, or grant new "
                    "tokens");
    catch_up_begin(&comparison->catch_up, known_id, outbox_is_older(&tokend->store.outbox));
}

static void on_caught_up(void *context)
{
    struct comparison *comparison = context;
    if (comparison->catch_up.is_out_of_reach) {
        /* It stays unvouched for; what is in it can be listed and revoked. */
        daemon_health_set(
            "ready", "%s",
            "every token is refused: the store is an older copy, and what was revoked "
            "since has left the log; put a newer one back");
        late_server_serve(comparison->late);
        return;
    }
    token_store_vouch(&comparison->tokend->store);
    outbox_release(&comparison->tokend->store.outbox);
    say_health(comparison->tokend);
    late_server_serve(comparison->late);
}

static void comparison_close(struct comparison *comparison)
{
    catch_up_close(&comparison->catch_up);
}

static enum status on_resource_high(void *store, const struct buffer *payload)
{
    return token_event_resource(store, payload);
}

static enum status open_store(struct tokend *tokend, struct comparison *comparison,
                              const struct settings *settings, struct ev_loop *loop,
                              struct span run_key)
{
    struct catch_up *catch_up = &comparison->catch_up;
    char dir[4096], eventd[4096];
    tokend->is_persistent = settings->token_persistence_enabled;
    TRY(path_join(dir, tokend->is_persistent ? settings->data_dir : settings->run_dir, "tokens"));
    TRY(run_socket_path(eventd, settings->run_dir, "eventd"));
    enum status status = token_store_open(&tokend->store, dir, settings->run_dir);
    if (status == STATUS_OK)
        status = catch_up_open(catch_up, &tokend->store, loop, eventd, run_key);
    if (status == STATUS_OK)
        status =
            token_store_open_outbox(&tokend->store, loop, eventd, run_key, on_compare, comparison);
    if (status == STATUS_OK)
        sweep_open(&tokend->sweep, &tokend->store, loop, settings->token_cleanup_interval_ms);
    if (!damaged_store_is_lasting(status))
        return status;
    catch_up_close(catch_up);
    token_store_close(&tokend->store);
    tokend->is_damaged = true;
    damaged_store_say(&tokens_schema, status, dir);
    return STATUS_OK;
}

static void on_damage(void *context)
{
    struct tokend *tokend = context;
    tokend->is_unsound = true;
    sweep_close(&tokend->sweep); /* what it would remove is what has to be looked at */
    damaged_store_say(&tokens_schema, STATUS_DATA_LOSS, tokend->store.db.dir);
}

/* tokend verifies the tokens of its own callers in the store that it has open, and counts their use
 * like every other verifier. */
struct checks {
    struct token_map map;
    struct token_report report;
};

static enum status open_checks(struct checks *checks, struct access *access, struct tokend *tokend,
                               const struct settings *settings, struct ev_loop *loop,
                               struct span run_key)
{
    if (tokend->is_damaged)
        return STATUS_OK;
    TRY(token_map_attach(&checks->map, &tokend->store.db, &tokend->store.voucher));
    TRY(token_report_open(&checks->report, loop, settings->run_dir, "tokend", run_key));
    access->tokens = &checks->map.verifier;
    access->uses = &checks->report.uses;
    return STATUS_OK;
}

/* What `access` is in struct rpc_service: for common/access, which is given a pointer to it, its
 * first member. */
struct gate {
    struct access access;
    struct tokend *tokend;
};
_Static_assert(offsetof(struct gate, access) == 0, "a gate is an access");

static enum status authorise(void *gate_, struct rpc_call *call, struct span token)
{
    struct gate *gate = gate_;
    enum status status = access_authorise(&gate->access, call, token);
    bool may_ask_again = status == STATUS_UNAUTHENTICATED && !gate->tokend->is_damaged &&
                         change_may_ask_again(&gate->tokend->store, call, token);
    return may_ask_again ? STATUS_OK : status;
}

/* Who meets damage first says so, and the walk in the background need not come by. */
static void refused(void *gate_, const struct rpc_call *call, enum status status)
{
    struct gate *gate = gate_;
    access_refused(&gate->access, call, status);
    if (status == STATUS_DATA_LOSS && !gate->tokend->is_damaged && !gate->tokend->is_unsound)
        on_damage(gate->tokend);
}

static void checks_close(struct checks *checks)
{
    token_report_close(&checks->report);
    token_map_close(&checks->map);
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
        say_health(tokend);
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
    AUTO(checks_close) struct checks checks = { 0 };
    AUTO(rpc_server_close) struct rpc_server *server = NULL;
    struct settings settings = { 0 };
    struct gate gate = { .tokend = &tokend };
    struct access *access = &gate.access;
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
    TRY(access_open(access, &settings, has_run_key ? run_key : NULL));

    tokend_service(&tokend, &service);
    service.authorise = authorise;
    service.narrow = access_narrow;
    service.refused = refused;
    service.access = &gate;
    daemon_methods_setup(
        &(struct daemon_self){ .name = "tokend",
                               .access = access,
                               .write_counters = tokend_write_counters,
                               .context = &tokend,
                               .is_short_of_space = &tokend.store.db.is_short_of_space,
                               .has_met_damage = &tokend.store.db.has_met_damage,
                               .damage = damaged_store_in_places("tokens"),
                               .shortage = tokend.resources.reason },
        service.routes);
    tokend.sweep.on_damage = on_damage;
    tokend.sweep.context = &tokend;
    const struct span key = span_of(run_key, has_run_key ? sizeof run_key : 0);
    comparison.late = &late;
    comparison.tokend = &tokend;
    comparison.catch_up.on_done = on_caught_up;
    comparison.catch_up.context = &comparison;
    TRY(open_store(&tokend, &comparison, &settings, lifecycle.loop, key));
    TRY(open_checks(&checks, access, &tokend, &settings, lifecycle.loop, key));

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
        say_health(&tokend);
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
