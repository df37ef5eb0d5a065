/* tenantd: the supervisor of one tenant. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/unix_socket.h"
#include "common/daemon/lifecycle.h"
#include "tenantd/claim.h"
#include "tenantd/isolation.h"
#include "tenantd/methods.h"
#include "tenantd/options.h"
#include "tenantd/site.h"
#include "tenantd/supervisor.h"

/* What deployd's own parent told it is not meant for us: we outlive it. */
static void forget_parent(void)
{
    static const char *const names[] = { "NOTIFY_SOCKET", "WATCHDOG_USEC",       "WATCHDOG_PID",
                                         "LISTEN_FDS",    "LISTEN_PID",          "LISTEN_FDNAMES",
                                         "SOLO_KEY_FD",   "SOLO_DIE_WITH_PARENT" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        unsetenv(names[i]);
}

static void on_stop(void *context)
{
    struct supervisor *supervisor = context;
    supervisor_shutdown(supervisor, supervisor->shutdown_timeout_ms, NULL);
}

/* Through a descriptor: a mount may cover the path by now. */
static enum status listen_at(const struct site *site, int *listener)
{
    char path[NAME_BYTES_MAX + 64];
    snprintf(path, sizeof path, "/proc/self/fd/%d/%s.sock", site->socket_fd, site->tenant);
    return unix_socket_listen(path, 0600, listener);
}

static void close_pointed_at(struct supervisor **supervisor)
{
    supervisor_close(*supervisor);
}

static enum status serve(struct site *site, const struct settings *settings, int *ready_fd)
{
    static struct supervisor memory; /* too big for a stack */
    AUTO(lifecycle_close) struct lifecycle lifecycle = { 0 };
    AUTO(close_pointed_at) struct supervisor *supervisor = &memory;
    AUTO(rpc_server_close) struct rpc_server *server = NULL;
    /* The socket lies in RUN/internal: root and our own uid, whatever the settings say of
     * operators. */
    struct access access = { .is_operator_by_uid = true, .own_uid = geteuid() };
    struct rpc_service service;
    int listener;

    TRY(lifecycle_open(&lifecycle));
    TRY(supervisor_open(supervisor, &lifecycle, site));
    site->limits = (struct limits_site){
        .counts_alone = site->has_ids || site->isolation != ISOLATION_NONE,
        .processes_max = settings->tenant_processes_max,
        .tasks_default = site->limits.tasks_default,
        .memory_bytes_max = settings->tenant_memory_max,
    };
    limits_bound_tenant(&site->limits, site->cgroup.fd);
    supervisor->hub.rate =
        (struct log_rate_settings){ settings->log_rate_bytes, settings->log_burst_bytes };
    builds_open(&supervisor->builds, supervisor, settings->build_cache_max,
                settings->build_timeout_ms);
    supervisor->shutdown_timeout_ms = settings->shutdown_timeout_ms;
    lifecycle.on_stop = on_stop;
    lifecycle.context = supervisor;
    methods_setup(&service, supervisor, &access);
    TRY(listen_at(site, &listener));
    TRY(rpc_server_open(&server, lifecycle.loop, &service, listener));
    supervisor->server = &server;
    isolation_ready(ready_fd);
    log_info("supervising", "tenant", site->tenant, "isolation", isolation_text(site->isolation),
             "stop_method", site->cgroup.fd >= 0 ? "cgroup" : "mark");
    return lifecycle_run(&lifecycle);
}

/* With another uid than root's, and no capability, nothing gets out of its cgroup or its pid
 * namespace; with our own, if that is an ordinary one, out of its cgroup only. */
static enum status sign(const struct site *site)
{
    site_sign(site, site->own_host_pid);
    bool is_foreign = site->has_ids && site->uid != 0;
    return claim_sign(&site->claim, site->own_host_pid, site->host_proc_fd,
                      is_foreign ? site->cgroup.fd : -1,
                      site->isolation != ISOLATION_NONE && (is_foreign || geteuid() != 0));
}

/* In this order: who has the lock has ended what an earlier supervisor left, and who listens is
 * already isolated. */
static enum status run(int argc, char **argv)
{
    static struct settings settings;
    static struct site site;
    AUTO(fd_close) int ready_fd = -1;
    struct options options = { 0 };
    const struct settings_own own = { options_take, &options, options_usage };

    forget_parent();
    TRY(settings_load(&settings, "tenantd", &own, argc, argv));
    TRY(options_check(&options));
    TRY(harden_process());
    site = SITE_NONE;
    enum status status = site_open(&site, &options, settings.data_dir, settings.run_dir);
    site.limits.tasks_default = limits_tasks_default(); /* of the machine, not of a namespace */
    if (status == STATUS_OK)
        status = isolation_enter(&site, &options, &ready_fd);
    if (status == STATUS_OK)
        status = sign(&site);
    if (status == STATUS_OK)
        status = serve(&site, &settings, &ready_fd);
    site_close(&site);
    return status;
}

int main(int argc, char **argv)
{
    enum status status = run(argc, argv);
    return status == STATUS_CANCELLED ? EXIT_SUCCESS : status_exit_code(status);
}
