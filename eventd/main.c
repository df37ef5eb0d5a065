/* eventd: the append-only log of everything that happened, and of what should run. Boot order, top
 * to bottom; shutdown is the same list, bottom to top, after the drain in stopping.c. */
#include <string.h>

#include "common/access/access.h"
#include "common/access/daemon_methods.h"
#include "common/access/damaged_store.h"
#include "common/access/operators.h"
#include "common/access/store_backup.h"
#include "common/access/store_walk.h"
#include "common/access/token_checks.h"
#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/daemon/lifecycle.h"
#include "common/daemon/parent.h"
#include "common/daemon/reload.h"
#include "common/daemon/settings.h"
#include "common/rpc/server.h"
#include "eventd/archiving.h"
#include "eventd/methods.h"
#include "eventd/stopping.h"

enum { TIDY_SECONDS = 10 };

static void on_tidy(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct eventd *eventd = timer->data;
    event_store_tidy(&eventd->store); /* what failed was logged there */
}

static enum status on_resource_high(void *context, const struct buffer *payload)
{
    struct event_store *store = context;
    return store->in_turn
               ? STATUS_UNAVAILABLE
               : event_store_append_alone(store, EVENT_resource_usage_high, buffer_span(payload));
}

static enum status open_store(struct eventd *eventd, const char *data_dir)
{
    enum status status = event_store_open(&eventd->store, data_dir);
    if (!damaged_store_is_lasting(status))
        return status;
    eventd->is_damaged = true;
    char dir[4096];
    TRY(path_join(dir, data_dir, "events"));
    damaged_store_say(&events_schema, status, dir);
    return STATUS_OK;
}

static int take_flag(void *context, const char *argument, const char *next)
{
    const char **killed = context;
    if (strcmp(argument, "--close-log") != 0 || next == NULL)
        return 0;
    *killed = next;
    return 2;
}

static enum status run(int argc, char **argv)
{
    AUTO(lifecycle_close) struct lifecycle lifecycle = { 0 };
    AUTO(reload_close) struct reload reload = { 0 };
    AUTO(token_checks_close) struct token_checks tokens = { 0 };
    AUTO(eventd_close) struct eventd eventd = { 0 };
    AUTO(rpc_server_close) struct rpc_server *server = NULL;
    struct settings settings = { 0 };
    struct access access = { 0 };
    struct rpc_service service;
    struct stopping stopping;
    uint8_t run_key[RUN_KEY_BYTES];
    bool has_run_key;
    int listener;

    const char *killed = NULL;
    const struct settings_own own = {
        .take = take_flag,
        .context = &killed,
        .usage =
            "  --close-log NAMES    end the log of a run that is over, behind an eventd that did "
            "not; NAMES: who had to be killed\n",
    };
    TRY(settings_load(&settings, "eventd", &own, argc, argv));
    TRY(harden_process());
    TRY(die_with_parent());
    if (killed != NULL)
        return stopping_close_log(&settings, killed);
    TRY(lifecycle_open(&lifecycle));
    TRY(parent_join(&lifecycle));
    TRY(lifecycle_run_key(run_key, &has_run_key));
    TRY(access_open(&access, &settings, has_run_key ? run_key : NULL));
    TRY(token_checks_open(&tokens, &access, lifecycle.loop, &settings, "eventd",
                          has_run_key ? run_key : NULL));

    eventd_service(&eventd, &service);
    service.privileged = &access.privileged;
    service.authorise = access_authorise;
    service.narrow = access_narrow;
    service.refused = access_refused;
    service.access = &access;
    daemon_methods_setup(
        &(struct daemon_self){ .name = "eventd",
                               .access = &access,
                               .write_counters = eventd_write_counters,
                               .context = &eventd,
                               .is_short_of_space = &eventd.store.db.is_short_of_space,
                               .has_met_damage = &eventd.store.db.has_met_damage,
                               .damage = damaged_store_in_places("events"),
                               .shortage = eventd.resources.reason },
        service.routes);
    TRY(open_store(&eventd, settings.data_dir));
    watch_list_open(&eventd.watches, lifecycle.loop, &eventd.store, &access);

    TRY(parent_listener(settings.run_dir, "eventd", &listener));
    TRY(rpc_server_open(&server, lifecycle.loop, &service, listener));

    stopping_init(&stopping, &eventd, &lifecycle, &server, &settings);
    struct ev_timer tidy;
    ev_timer_init(&tidy, on_tidy, TIDY_SECONDS, TIDY_SECONDS);
    tidy.data = &eventd;
    if (!eventd.is_damaged) {
        store_backup_open(lifecycle.loop, &eventd.store.db);
        store_walk_open(lifecycle.loop, &eventd.store.db);
        retention_open(&eventd.retention, lifecycle.loop, &eventd.store, &settings);
        ev_timer_start(lifecycle.loop, &tidy);
        eventd.resources = (struct resource_watch){ .daemon = "eventd",
                                                    .store = &eventd.store.db,
                                                    .folder = eventd.store.db.dir,
                                                    .tell = on_resource_high,
                                                    .context = &eventd.store };
        resource_watch_open(&eventd.resources, lifecycle.loop);
        daemon_health_set("ready", "%s", "");
        parent_say("ready");
    }
    reload =
        (struct reload){ .settings = &settings, .program = "eventd", .argc = argc, .argv = argv };
    reload_open(&reload, lifecycle.loop);
    parent_ready();
    return lifecycle_run(&lifecycle);
}

int main(int argc, char **argv)
{
    schema_probe_if_asked(argc, argv);
    archiving_run_if_asked(argc, argv);
    enum status status = run(argc, argv);
    return status == STATUS_CANCELLED ? 0 : status_exit_code(status); /* --help, --version */
}
