/* A timer that runs while something with limits does. What it finds goes into the service's row
 * when it differs by enough to be worth a message, and into the log when a limit comes near. */
#include "tenantd/usage.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/level.h"
#include "tenantd/service_row.h"
#include "tenantd/supervisor.h"

bool usage_level_look(struct usage_level *level, uint64_t used, uint64_t allowed, uint64_t now_ns)
{
    bool is_high = level_is_high(used, allowed), is_low = level_is_low(used, allowed);
    if (!is_low)
        level->low_since_ns = 0;
    else if (level->low_since_ns == 0)
        level->low_since_ns = now_ns;
    if (is_high && !level->is_high) {
        level->is_high = true;
        return true;
    }
    if (is_low && now_ns - level->low_since_ns >= USAGE_CALM_MS * NS_PER_MS)
        level->is_high = false;
    return false;
}

bool usage_is_high(const struct usage *usage)
{
    return usage->memory_level.is_high || usage->tasks_level.is_high;
}

/* ---- a look ---- */

struct sum {
    struct usage_now now;
    uint64_t cpu_ns;
};

static void add_process(const struct service *service, pid_t pid, struct sum *sum)
{
    struct process_use use;
    if (!process_use_read(service->supervisor->site->proc_fd, pid, &use))
        return;
    if (service->launch->held.memory != LIMIT_BY_RLIMIT)
        sum->now.memory_bytes += use.resident_bytes;
    else if (use.data_bytes > sum->now.memory_bytes)
        sum->now.memory_bytes = use.data_bytes;
    sum->now.tasks += use.threads;
    sum->cpu_ns += use.cpu_ns;
}

/* By its processes first: what a controller counts takes the place of what they add up to. */
static struct sum look(const struct service *service)
{
    const struct site *site = service->supervisor->site;
    struct sum sum = { 0 };
    pid_t pids[USAGE_PIDS_MAX];
    size_t count = cgroup_service_pids(&site->cgroup, service->name, pids, USAGE_PIDS_MAX);
    if (count == 0)
        count = process_descendants(site->proc_fd, service->pid, pids, USAGE_PIDS_MAX);
    for (size_t i = 0; i < count; i++)
        add_process(service, pids[i], &sum);
    const struct cgroup_load load = cgroup_service_load(&site->cgroup, service->name);
    if (load.has_memory && service->launch->held.memory != LIMIT_BY_RLIMIT)
        sum.now.memory_bytes = load.memory_bytes;
    if (load.has_tasks)
        sum.now.tasks = load.tasks;
    if (load.has_cpu)
        sum.cpu_ns = load.cpu_ns;
    return sum;
}

static bool differs(uint64_t before, uint64_t now, uint64_t step)
{
    return (before > now ? before - now : now - before) > step;
}

/* A message for what a person would see change: a sixteenth of what is allowed. */
static bool is_worth_telling(const struct usage *usage, const struct spec_limits *limits)
{
    const struct usage_now *told = &usage->told, *now = &usage->now;
    return !usage->is_told || usage_is_high(usage) != usage->was_told_high ||
           (limits->memory_bytes != 0 &&
            differs(told->memory_bytes, now->memory_bytes, limits->memory_bytes / 16)) ||
           (limits->tasks != 0 && differs(told->tasks, now->tasks, limits->tasks / 16)) ||
           (limits->cpu_milli != 0 &&
            differs(told->cpu_milli, now->cpu_milli, limits->cpu_milli / 16));
}

static void look_at(struct service *service)
{
    const struct spec_limits *limits = &service->launch->limits;
    struct usage *usage = &service->usage;
    uint64_t now_ns = clock_boottime_ns();
    struct sum sum = look(service);
    usage->now = sum.now;
    if (usage->looked_ns != 0 && now_ns > usage->looked_ns && sum.cpu_ns > usage->cpu_ns)
        usage->now.cpu_milli = (sum.cpu_ns - usage->cpu_ns) * 1000 / (now_ns - usage->looked_ns);
    usage->cpu_ns = sum.cpu_ns;
    usage->looked_ns = now_ns;
    if (usage_level_look(&usage->memory_level, usage->now.memory_bytes, limits->memory_bytes,
                         now_ns))
        service_report_usage(service, "memory", usage->now.memory_bytes, limits->memory_bytes);
    if (usage_level_look(&usage->tasks_level, usage->now.tasks, limits->tasks, now_ns))
        service_report_usage(service, "tasks", usage->now.tasks, limits->tasks);
    if (!is_worth_telling(usage, limits))
        return;
    usage->is_told = true;
    usage->told = usage->now;
    usage->was_told_high = usage_is_high(usage);
    service_touch(service);
}

/* ---- the round ---- */

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct usage_watch *watch = OWNER_OF(timer, struct usage_watch, timer);
    struct service *last = watch->first == NULL ? NULL : watch->first->usage.previous;
    for (int i = 0; i < USAGE_LOOKS_MAX && watch->first != NULL; i++) {
        struct service *service = watch->first;
        look_at(service);
        DL_DELETE2(watch->first, service, usage.previous, usage.next);
        DL_APPEND2(watch->first, service, usage.previous, usage.next);
        if (service == last)
            break;
    }
}

void usage_open(struct supervisor *supervisor)
{
    ev_timer_init(&supervisor->usage.timer, on_timer, USAGE_INTERVAL_MS / 1e3,
                  USAGE_INTERVAL_MS / 1e3);
}

void usage_close(struct supervisor *supervisor)
{
    ev_timer_stop(supervisor->loop, &supervisor->usage.timer);
}

void usage_begin(struct service *service)
{
    struct usage_watch *watch = &service->supervisor->usage;
    struct usage *usage = &service->usage;
    if (usage->is_watched || !spec_limits_are_given(&service->launch->limits))
        return;
    usage->is_watched = true;
    if (watch->first == NULL)
        ev_timer_again(service->supervisor->loop, &watch->timer);
    DL_APPEND2(watch->first, service, usage.previous, usage.next);
}

void usage_end(struct service *service)
{
    struct usage_watch *watch = &service->supervisor->usage;
    struct usage *usage = &service->usage;
    if (!usage->is_watched)
        return;
    usage->is_watched = usage->is_told = false;
    usage->cpu_ns = usage->looked_ns = 0;
    usage->now = usage->told = (struct usage_now){ 0 };
    DL_DELETE2(watch->first, service, usage.previous, usage.next);
    if (watch->first == NULL)
        ev_timer_stop(service->supervisor->loop, &watch->timer);
}
