/* From a launch to a running process, and the signals that end it. */
#include "tenantd/service_process.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "tenantd/service_readiness.h"
#include "tenantd/service_row.h"
#include "tenantd/service_state.h"
#include "tenantd/supervisor.h"

static void report_start(struct service *service)
{
    uint64_t cause = service->cause_id != 0 ? service->cause_id : service->generation;
    switch (service->start_cause) {
    case START_DEPLOY:
    case START_FALLBACK:
        service->start_report =
            service_report(service, "service_started", cause, REPORT_WITH_SECRETS);
        break;
    case START_RECOVER:
        service->start_report =
            service_report(service, "service_recovered", cause, REPORT_WITH_SECRETS);
        break;
    case START_RESTART:
    case START_RECONCILE:
        service->start_report =
            service_report(service, "service_restarted", cause, REPORT_WITH_SECRETS);
        break;
    case START_AFTER_CRASH:
        if (service->owes_restarted)
            service->start_report = service_report(service, "service_restarted",
                                                   service->generation, REPORT_WITH_SECRETS);
        service->owes_restarted = false;
        break;
    }
}

static const char *start_reason(enum start_cause cause)
{
    static const char *const reasons[] = {
        [START_DEPLOY] = "was deployed",
        [START_FALLBACK] = "its newer generation failed, and it was started again",
        [START_RECOVER] = "was recovered",
        [START_RESTART] = "was restarted on request",
        [START_RECONCILE] = "was not running, and the log wants it",
        [START_AFTER_CRASH] = "was restarted after it ended",
    };
    return reasons[cause];
}

void service_start_failed(struct service *service, const char *why)
{
    char text[WHAT_BYTES];
    bool is_fallback = service->start_cause == START_FALLBACK;
    service_move(service, SERVICE_failed, "%s%s",
                 is_fallback ? "its newer generation failed, and it cannot be started again: " : "",
                 service_what(text, why));
}

static void signal_process(struct service *service, int number);

/* A process that cannot be kept track of is none of ours: it ends at once, and so does its tree. */
static void give_back(struct service *service)
{
    signal_process(service, SIGKILL);
    service->pid = 0;
    service->host_pid = service->start_ticks = 0;
    ending_begin(&service->ending);
}

/* By way of /proc and a pidfd, which is dearer, only where the kernel does not translate. */
static bool needs_pidfd(const struct site *site)
{
    return site->isolation != ISOLATION_NONE && site->host_pids_fd < 0;
}

static uint64_t host_pid_of(const struct site *site, pid_t pid, int pidfd)
{
    if (site->isolation == ISOLATION_NONE)
        return (uint64_t)pid;
    return (uint64_t)(needs_pidfd(site) ? process_outer_pid(site->host_proc_fd, pidfd)
                                        : process_number_in(site->host_pids_fd, pid));
}

void service_is_ready(struct service *service)
{
    service_timer_stop(service);
    service->is_on_trial = false;
    service_move(service, SERVICE_running, "%s", start_reason(service->start_cause));
    report_start(service);
    service_answer_rows(service, &service->start_calls);
    service_answer_rows(service, &service->ready_calls);
}

static enum status started(struct service *service, pid_t pid, int pidfd, uint64_t asked_ns,
                           void (*after_attempt)(struct service *))
{
    struct supervisor *supervisor = service->supervisor;
    service->pid = service->session = pid;
    service->started_wall_ns = clock_wall_ns();
    service->started_boot_ns = clock_boottime_ns();
    service->host_pid = host_pid_of(supervisor->site, pid, pidfd);
    service->start_ticks =
        process_start_ticks(supervisor->site->proc_fd, pid, asked_ns, service->started_boot_ns);
    if (!supervisor_process_started(supervisor, service)) {
        give_back(service);
        return STATUS_RESOURCE_EXHAUSTED;
    }
    if (service->start_cause == START_AFTER_CRASH)
        service->restarts++;
    service->was_killed = false;
    service_timer_stop(service);
    if (!service_readiness_begin(service, after_attempt)) {
        supervisor_process_lost(supervisor, service);
        give_back(service);
        return STATUS_RESOURCE_EXHAUSTED;
    }
    usage_begin(service);
    service_answer_rows(service, &service->start_calls);
    return STATUS_OK;
}

/* The cgroup of its tree: -1 where there is none. */
static enum status cgroup_of(const struct service *service, int *cgroup)
{
    const struct site *site = service->supervisor->site;
    return site->cgroup.fd < 0 ? STATUS_OK
                               : cgroup_service_open(&site->cgroup, service->name, cgroup);
}

enum status service_probe_begin(struct service *service, pid_t *pid, struct problem *problem)
{
    const struct site *site = service->supervisor->site;
    const struct launch_identity identity = { service->name, service->generation, service->nonce };
    AUTO(fd_close) int cgroup = -1;
    TRY(cgroup_of(service, &cgroup));
    return launch_probe(service->launch, site, &identity, cgroup, pid, problem);
}

enum status service_process_begin(struct service *service,
                                  void (*after_attempt)(struct service *service),
                                  struct problem *problem)
{
    struct supervisor *supervisor = service->supervisor;
    const struct site *site = supervisor->site;
    AUTO(fd_close) int cgroup = -1;
    AUTO(fd_close) int pidfd = -1;
    TRY(site_home_make(site, service->name));
    if (service->launch->ready.by == READY_NOTIFY)
        TRY(notify_open(&supervisor->notify, supervisor->loop, site, problem));
    TRY(cgroup_of(service, &cgroup));
    service->launch->held =
        limits_hold(&site->limits, &service->launch->limits, cgroup, &service->launch->rlimits);
    int ends[2];
    TRY(capture_open(&service->capture, &service->launch->logs, ends));
    random_fill(&service->nonce, sizeof service->nonce);
    const struct launch_identity identity = { service->name, service->generation, service->nonce };
    pid_t pid = 0;
    uint64_t asked_ns = clock_boottime_ns();
    enum status status =
        launch_run(service->launch, site, &identity, &service->credentials, ends[0], ends[1],
                   cgroup, &pid, needs_pidfd(site) ? &pidfd : NULL, problem);
    close(ends[0]);
    close(ends[1]);
    if (status == STATUS_OK)
        return started(service, pid, pidfd, asked_ns, after_attempt);
    capture_close(&service->capture);
    if (site->cgroup.fd >= 0)
        cgroup_service_remove(&site->cgroup, service->name);
    return status;
}
static void signal_process(struct service *service, int number)
{
    /* It leads a group of its own for life, and is not reaped: the number means nobody else. */
    if (kill(-service->pid, number) < 0 && errno != ESRCH)
        log_failure(status_from_errno(errno), "signal", "service", service->name, "signal",
                    signal_text(number), "reason", strerror(errno));
}

void service_process_kill(struct service *service)
{
    const struct site *site = service->supervisor->site;
    service->was_killed = true;
    service_timer_stop(service);
    signal_process(service, SIGKILL);
    if (site->cgroup.fd >= 0)
        cgroup_service_kill(&site->cgroup, service->name);
}

void service_breach_find(struct service *service)
{
    const struct launch *launch = service->launch;
    service->breach = (struct limits_breach){ 0 };
    /* What we killed ourselves says nothing about limits. */
    if (service->was_killed)
        return;
    struct cgroup_use use = { 0 };
    bool was_killed_by_other =
        WIFSIGNALED(service->exit_status) && WTERMSIG(service->exit_status) == SIGKILL;
    /* Without a limit of its own it may have died of its tenant's, or of the machine's. */
    if (was_killed_by_other || spec_limits_are_given(&launch->limits))
        use = cgroup_service_use(&service->supervisor->site->cgroup, service->name);
    service->breach = limits_breach_of(&launch->limits, &launch->held, &use, service->exit_status,
                                       service->resident_bytes_max);
    if (service->breach.limit == NULL)
        return;
    service->breaches++;
    memcpy(service->last_breach, service->breach.text, sizeof service->last_breach);
}

uint64_t service_grace_ms(const struct service *service)
{
    uint64_t own = service->launch->stop_timeout_ms;
    return own < service->stop_grace_ms ? own : service->stop_grace_ms;
}

void service_process_ask(struct service *service)
{
    signal_process(service, service->launch->stop_signal);
    signal_process(service, SIGCONT); /* one that was halted could not react */
}
