/* One look at a time: read everything, tell what has crossed its mark, say in words what is high.
 * What cannot be read here (no /proc, no cgroups) has no bound. */
#include "common/access/resource_watch.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/fault.h"
#include "common/base/file.h"
#include "common/base/level.h"
#include "common/base/log.h"
#include "common/wire/writer.h"

enum { LOOK_MS = 10 * 1000, RETRY_MS = 1000, SMALL_FILE_BYTES_MAX = 16 * 1024 };

/* Of a large disk the last 40 GiB count: a tenth of many TiB is plenty. */
static const uint64_t disk_bytes_seen_max = 40ull << 30;

static const struct {
    const char *name, *words, *next;
} resources[RESOURCES] = {
#define RESOURCE(name, words, next) { #name, words, next },
#include "common/api/resources.def"
#undef RESOURCE
};

/* --- reading --- */

static void read_disk(const struct resource_watch *watch, struct resource_use *use)
{
    struct stat own, other;
    struct statvfs disk;
    if (watch->folder == NULL || stat(watch->folder, &own) < 0 || statvfs(watch->folder, &disk) < 0)
        return;
    if (watch->unless_with != NULL && stat(watch->unless_with, &other) == 0 &&
        own.st_dev == other.st_dev)
        return;
    uint64_t used = disk.f_blocks - disk.f_bfree; /* as df has it */
    *use = (struct resource_use){ .used = used * disk.f_frsize,
                                  .allowed = (used + disk.f_bavail) * disk.f_frsize };
}

static void read_descriptors(struct resource_use *use)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return;
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL) {
        if (errno == EMFILE)
            use->used = use->allowed = limit.rlim_cur;
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        use->used += entry->d_name[0] != '.';
    closedir(folder);
    use->used--; /* that folder's */
    use->allowed = limit.rlim_cur;
}

/* The text of a small file, below watch->root; false when there is none. */
static bool read_text(const struct resource_watch *watch, const char *path, struct buffer *text)
{
    char whole[4096];
    buffer_clear(text);
    return (size_t)snprintf(whole, sizeof whole, "%s%s", watch->root == NULL ? "" : watch->root,
                            path) < sizeof whole &&
           access(whole, R_OK) == 0 && file_read(whole, text) == STATUS_OK &&
           buffer_append(text, "", 1) == STATUS_OK;
}

/* 0: there is none, or it is not a number ("max"). */
static uint64_t read_number(const struct resource_watch *watch, const char *path)
{
    AUTO(buffer_close) struct buffer text = { .limit = SMALL_FILE_BYTES_MAX };
    return read_text(watch, path, &text) ? strtoull((const char *)text.data, NULL, 10) : 0;
}

/* Of several bounds the one that is nearest. */
static void use_nearest(struct resource_use *use, uint64_t used, uint64_t allowed)
{
    if (allowed != 0 && (use->allowed == 0 ||
                         (double)used / (double)allowed > (double)use->used / (double)use->allowed))
        *use = (struct resource_use){ .used = used, .allowed = allowed };
}

/* A cgroup and those above it. */
static void read_cgroup(const struct resource_watch *watch, const char *mount, char *path,
                        struct resource_use *use)
{
    for (char *slash; (slash = strrchr(path, '/')) != NULL; *slash = '\0') {
        char file[4096];
        if ((size_t)snprintf(file, sizeof file, "%s%s/pids.max", mount, path) >= sizeof file)
            return;
        uint64_t allowed = read_number(watch, file);
        snprintf(file, sizeof file, "%s%s/pids.current", mount, path);
        if (allowed != 0)
            use_nearest(use, read_number(watch, file), allowed);
    }
}

/* "0::/system.slice/deployd.service", or "4:pids:/..." */
static void read_cgroups(const struct resource_watch *watch, struct resource_use *use)
{
    AUTO(buffer_close) struct buffer text = { .limit = SMALL_FILE_BYTES_MAX };
    char *rest = NULL;
    if (!read_text(watch, "/proc/self/cgroup", &text))
        return;
    for (char *line = strtok_r((char *)text.data, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        char *path = strchr(line, '/');
        if (path != NULL && strncmp(line, "0::", 3) == 0)
            read_cgroup(watch, "/sys/fs/cgroup", path, use);
        else if (path != NULL && strstr(line, ":pids:") != NULL)
            read_cgroup(watch, "/sys/fs/cgroup/pids", path, use);
    }
}

/* Threads of our own uid: RLIMIT_NPROC counts those. */
static uint64_t count_own_tasks(void)
{
    uint64_t count = 0;
    DIR *folder = opendir("/proc");
    if (folder == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[300];
        struct stat stat_of;
        snprintf(path, sizeof path, "/proc/%s/task", entry->d_name);
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9' && stat(path, &stat_of) == 0 &&
            stat_of.st_uid == geteuid())
            count += stat_of.st_nlink - 2;
    }
    closedir(folder);
    return count;
}

static void read_processes(const struct resource_watch *watch, struct resource_use *use)
{
    AUTO(buffer_close) struct buffer text = { .limit = SMALL_FILE_BYTES_MAX };
    struct rlimit limit;
    uint64_t tasks = 0;
    const char *slash = NULL;
    if (read_text(watch, "/proc/loadavg", &text)) /* "0.10 0.20 0.30 2/345 6789" */
        slash = strchr((const char *)text.data, '/');
    if (slash != NULL)
        tasks = strtoull(slash + 1, NULL, 10);
    use_nearest(use, tasks, read_number(watch, "/proc/sys/kernel/pid_max"));
    use_nearest(use, tasks, read_number(watch, "/proc/sys/kernel/threads-max"));
    use_nearest(use, tasks, fault_number("most", "processes", 0));
    read_cgroups(watch, use);
    bool is_bounded =
        geteuid() != 0 && getrlimit(RLIMIT_NPROC, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    if (is_bounded && tasks >= limit.rlim_cur / 2) /* else it need not be counted */
        use_nearest(use, count_own_tasks(), limit.rlim_cur);
}

void resource_watch_read(const struct resource_watch *watch, struct resource_use uses[RESOURCES])
{
    memset(uses, 0, RESOURCES * sizeof *uses);
    if (watch->store != NULL && watch->store->env != NULL) {
        struct resource_use *map = &uses[RESOURCE_map], *readers = &uses[RESOURCE_readers];
        (void)db_usage(watch->store, &map->used, &map->allowed);
        (void)db_readers(watch->store, &readers->used, &readers->allowed);
    }
    read_disk(watch, &uses[RESOURCE_disk]);
    read_descriptors(&uses[RESOURCE_descriptors]);
    if (watch->counts_processes)
        read_processes(watch, &uses[RESOURCE_processes]);
}

/* --- judging --- */

static struct resource_use as_seen(enum resource resource, const struct resource_use *use)
{
    if (resource != RESOURCE_disk || use->allowed <= disk_bytes_seen_max)
        return *use;
    uint64_t left = use->allowed - use->used;
    return (struct resource_use){
        .used = left < disk_bytes_seen_max ? disk_bytes_seen_max - left : 0,
        .allowed = disk_bytes_seen_max,
    };
}

static enum status tell(struct resource_watch *watch, enum resource resource,
                        const struct resource_use *use)
{
    AUTO(buffer_close) struct buffer payload = { .limit = 256 };
    write_map(&payload, 4);
    write_str(&payload, "daemon");
    write_str(&payload, watch->daemon);
    write_str(&payload, "resource");
    write_str(&payload, resources[resource].name);
    write_str(&payload, "used");
    write_u64(&payload, use->used);
    write_str(&payload, "allowed");
    write_u64(&payload, use->allowed);
    return watch->tell(watch->context, &payload);
}

static void describe(struct resource_watch *watch, const struct resource_use uses[RESOURCES])
{
    watch->reason[0] = '\0';
    for (int i = 0; i < RESOURCES && watch->reason[0] == '\0'; i++)
        if (watch->high & 1u << i)
            snprintf(watch->reason, sizeof watch->reason,
                     "%s: %.0f %% are used (%" PRIu64 " of %" PRIu64 "); %s", resources[i].words,
                     100 * (double)uses[i].used / (double)uses[i].allowed, uses[i].used,
                     uses[i].allowed, resources[i].next);
}

bool resource_watch_judge(struct resource_watch *watch, const struct resource_use uses[RESOURCES])
{
    for (int i = 0; i < RESOURCES; i++) {
        const struct resource_use seen = as_seen((enum resource)i, &uses[i]);
        unsigned bit = 1u << i;
        if (level_is_low(seen.used, seen.allowed)) {
            watch->high &= ~bit;
            watch->told &= ~bit;
        } else if (level_is_high(seen.used, seen.allowed)) {
            if (!(watch->high & bit))
                log_warning("a resource is nearly used up", "resource", resources[i].name, "used",
                            NUMBER(uses[i].used), "allowed", NUMBER(uses[i].allowed));
            watch->high |= bit;
        }
        if ((watch->high & ~watch->told & bit) &&
            tell(watch, (enum resource)i, &uses[i]) == STATUS_OK) {
            watch->told |= bit;
            watch->newest = bit;
        }
    }
    describe(watch, uses);
    return watch->told == watch->high;
}

void resource_watch_lost(struct resource_watch *watch)
{
    watch->told &= ~watch->newest;
}

static double look_seconds(void)
{
    return (double)fault_number("look_ms", "resources", LOOK_MS) / 1e3;
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)events;
    struct resource_watch *watch = timer->data;
    struct resource_use uses[RESOURCES];
    resource_watch_read(watch, uses);
    timer->repeat = resource_watch_judge(watch, uses) ? look_seconds() : RETRY_MS / 1e3;
    ev_timer_again(loop, timer);
}

void resource_watch_open(struct resource_watch *watch, struct ev_loop *loop)
{
    watch->loop = loop;
    ev_timer_init(&watch->timer, on_timer, look_seconds(), look_seconds());
    watch->timer.data = watch;
    ev_timer_start(loop, &watch->timer);
}

void resource_watch_close(struct resource_watch *watch)
{
    if (watch->loop != NULL)
        ev_timer_stop(watch->loop, &watch->timer);
    watch->loop = NULL;
}
