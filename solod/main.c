/* solod: the parent of all daemons. It opens no store; it starts, watches, restarts and stops. */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"
#include "common/daemon/parent.h"
#include "common/daemon/reload.h"
#include "solod/boot.h"
#include "solod/methods.h"
#include "solod/supervisors.h"

enum { EXIT_KILLED = 1, MARGIN_MS = 1000 };

static int take_flag(void *context, const char *argument, const char *next)
{
    (void)next;
    bool *ends_services = context;
    if (strcmp(argument, "--end-services") != 0)
        return 0;
    *ends_services = true;
    return 1;
}

static void on_reloaded(void *context)
{
    solod_reload(context);
}

/* Boot order, top to bottom; shutdown is the same list, bottom to top. */
static enum status run(struct settings *settings, int argc, char **argv, bool *was_clean)
{
    AUTO(instance_close) struct instance instance = INSTANCE_NONE;
    AUTO(lifecycle_close) struct lifecycle lifecycle = { 0 };
    AUTO(solod_close) struct solod solod = { 0 };
    AUTO(reload_close) struct reload reload = { 0 };
    AUTO(rpc_server_close) struct rpc_server *server = NULL;
    struct rpc_service service = { 0 };
    char path[4096];
    int listener = -1;

    TRY(harden_process());
    signal(SIGHUP, SIG_IGN); /* until it can reload; a closed terminal is no shutdown */
    TRY(run_socket_path(path, settings->run_dir, "solod"));
    TRY(instance_open(&instance, settings));
    TRY(settings_publish(settings));
    TRY(lifecycle_open(&lifecycle));
    TRY(parent_join(&lifecycle));
    TRY(parent_listener(settings->run_dir, "solod", &listener));
    service = solod_service(&solod);
    TRY(rpc_server_open(&server, lifecycle.loop, &service, listener));
    TRY(solod_open(&solod, settings, &lifecycle, &instance));
    reload = (struct reload){ .settings = settings,
                              .program = "solod",
                              .argc = argc,
                              .argv = argv,
                              .changed = on_reloaded,
                              .context = &solod };
    reload_open(&reload, lifecycle.loop);
    enum status status = lifecycle_run(&lifecycle);
    unlink(path);
    (void)run_id_forget(instance.run_path); /* this run is over, whoever begins the next */
    *was_clean = solod.was_clean;
    return status;
}

int main(int argc, char **argv)
{
    static struct settings settings;
    bool was_clean = false, ends_services = false;
    const struct settings_own own = {
        .take = take_flag,
        .context = &ends_services,
        .usage =
            "  --end-services       only stop what an earlier run's supervisors hold, and end: for "
            "who stops Solo without deployd\n",
    };
    enum status status = settings_load(&settings, "solod", &own, argc, argv);
    if (status == STATUS_CANCELLED)
        return 0;
    if (status == STATUS_OK && ends_services)
        return supervisors_end(settings.run_dir, settings.shutdown_timeout_ms + MARGIN_MS)
                   ? 0
                   : EXIT_KILLED;
    if (status == STATUS_OK)
        status = run(&settings, argc, argv, &was_clean);
    return status == STATUS_OK && !was_clean ? EXIT_KILLED : status_exit_code(status);
}
