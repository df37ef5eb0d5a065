/* Works through directory descriptors that were opened before any namespace was entered. */
#include "tenantd/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/name.h"

enum {
    STORE_DIGITS = 16, /* of the store id: enough to tell instances on one machine apart */
    LEFTOVER_WAIT_MS = 5000,
    LEFTOVER_STEP_MS = 5,
    SPENT_MODE = 0711, /* no other directory of ours has it: our umask is 077 */
};

static void file_close(FILE **file)
{
    if (*file != NULL)
        fclose(*file);
}

/* Undoes mountinfo's octal escapes, in place. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0';) {
        if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] != '\0' &&
            from[3] != '\0') {
            *to++ = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
}

/* The first cgroup2 mount: which directory of the hierarchy it shows, and where. */
static bool find_mount(char root[PATH_MAX], char point[PATH_MAX])
{
    AUTO(file_close) FILE *file = fopen("/proc/self/mountinfo", "re");
    char line[2 * PATH_MAX];
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *type = strstr(line, " - ");
        if (type == NULL || strncmp(type + 3, "cgroup2 ", 8) != 0)
            continue;
        if (sscanf(line, "%*d %*d %*s %4095s %4095s", root, point) != 2)
            continue;
        unescape(root);
        unescape(point);
        return true;
    }
    return false;
}

/* Our own place in the v2 hierarchy: the line "0::/PATH". */
static bool find_own(char own[PATH_MAX])
{
    AUTO(file_close) FILE *file = fopen("/proc/self/cgroup", "re");
    char line[PATH_MAX + 8];
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "0::", 3) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(own, PATH_MAX, "%s", line + 3);
        return true;
    }
    return false;
}

/* Where our own directory of the hierarchy is visible. */
static bool find_directory(char path[PATH_MAX])
{
    char root[PATH_MAX], point[PATH_MAX], own[PATH_MAX];
    if (!find_mount(root, point) || !find_own(own))
        return false;
    const char *below = own;
    size_t size = strcmp(root, "/") == 0 ? 0 : strlen(root);
    if (strncmp(own, root, size) == 0 && (own[size] == '/' || own[size] == '\0'))
        below = own + size;
    if (strcmp(below, "/") == 0)
        below = "";
    return (size_t)snprintf(path, PATH_MAX, "%s%s", point, below) < PATH_MAX;
}

static int directory_at(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
        return -1;
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* There are kernels (6.18) that kill whatever is born in a directory whose cgroup.kill was ever
 * used. So it says so by its mode before it is, and is not used again. */
static bool is_spent(int fd)
{
    struct stat stat;
    return fstat(fd, &stat) < 0 || (stat.st_mode & 0777) == SPENT_MODE;
}

/* PATH/solo-<store id>/t-<tenant>, made where it is not there; -1 when it cannot be. `is_bounding`:
 * its children can have bounds of memory and tasks. */
static int tenant_directory(const char *path, const char *store_id, const char *tenant,
                            bool *is_bounding)
{
    char name[NAME_BYTES_MAX + 16];
    *is_bounding = false;
    AUTO(fd_close) int above = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (above < 0)
        return -1;
    snprintf(name, sizeof name, "solo-%.*s", STORE_DIGITS, store_id);
    AUTO(fd_close) int base = directory_at(above, name);
    /* Prefixes, because a tenant may be called like one of the kernel's files. */
    snprintf(name, sizeof name, "t-%s", tenant);
    AUTO(fd_close) int fd = base < 0 ? -1 : directory_at(base, name);
    if (fd < 0 || faccessat(fd, "cgroup.kill", W_OK, 0) < 0 ||
        faccessat(fd, "cgroup.procs", W_OK, 0) < 0) {
        log_debug("no cgroup for services", "path", path, "reason", strerror(errno));
        return -1;
    }
    /* Top down: a directory hands down what it was handed. */
    cgroup_hand_down(above);
    cgroup_hand_down(base);
    *is_bounding = cgroup_hand_down(fd);
    int opened = fd;
    fd = -1;
    return opened;
}

/* Whether the directory above `path`, which ends at `last`, is one of the hierarchy, too. */
static bool is_inner(char path[PATH_MAX], char *last)
{
    char file[PATH_MAX + 32];
    if (last == NULL || last == path)
        return false;
    *last = '\0';
    snprintf(file, sizeof file, "%s/cgroup.controllers", path);
    *last = '/';
    return access(file, R_OK) == 0;
}

/* Below systemd: the cgroup that is delegated for all tenants, beside the unit that we were started
 * by. */
static bool find_delegated(const char *own, char path[PATH_MAX])
{
    const char *name = strrchr(own, '/'), *suffix = strrchr(own, '.');
    if (name == NULL || suffix == NULL || strcmp(suffix, ".service") != 0)
        return false;
    int size = snprintf(path, PATH_MAX, "%.*s/solo-tenants.service", (int)(name - own), own);
    return size < PATH_MAX && access(path, W_OK) == 0;
}

/* Into a leaf of it: the unit that started us can be started again without us in its way. */
static bool move_to(const char *path)
{
    AUTO(fd_close) int above = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO(fd_close) int leaf = above < 0 ? -1 : directory_at(above, "supervisors");
    AUTO(fd_close) int fd = leaf < 0 ? -1 : openat(leaf, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "0", 1) == 1)
        return true;
    log_warning("the supervisor stays where it was started", "path", path, "reason",
                strerror(errno));
    return false;
}

void cgroup_open(struct cgroup *cgroup, const char *store_id, const char *tenant)
{
    *cgroup = CGROUP_NONE;
    char path[PATH_MAX], delegated[PATH_MAX];
    bool is_bounding;
    if (!find_directory(path))
        return;
    if (find_delegated(path, delegated) && move_to(delegated))
        cgroup->fd = tenant_directory(delegated, store_id, tenant, &is_bounding);
    if (cgroup->fd >= 0)
        return;
    cgroup->fd = tenant_directory(path, store_id, tenant, &is_bounding);
    /* Where processes are, and we are in ours, children get no controllers. Beside it they can:
     * the directories above hold none, and a bound that they have still holds. */
    char *last = strrchr(path, '/');
    if (is_bounding || geteuid() != 0 || !is_inner(path, last))
        return;
    *last = '\0';
    struct cgroup beside = { .fd = tenant_directory(path, store_id, tenant, &is_bounding) };
    if (is_bounding || cgroup->fd < 0) {
        cgroup_close(cgroup);
        *cgroup = beside;
    } else {
        cgroup_close(&beside);
    }
}

void cgroup_close(struct cgroup *cgroup)
{
    if (cgroup->fd < 0)
        return;
    char name[PATH_MAX], link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", cgroup->fd);
    ssize_t size = readlink(link, name, sizeof name - 1);
    cgroup_remove_leftovers(cgroup);
    if (size > 0) {
        name[size] = '\0';
        /* EBUSY and ENOTEMPTY are fine: the next supervisor sees to it. */
        if (rmdir(name) == 0) {
            *strrchr(name, '/') = '\0';
            rmdir(name);
        }
    }
    fd_close(&cgroup->fd);
}

/* What cannot be read (no descriptor left, say) may well be populated: whoever asks looks again. */
static bool is_populated(const struct cgroup *cgroup, const char *file)
{
    char text[256] = "";
    AUTO(fd_close) int fd = openat(cgroup->fd, file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
        return errno != ENOENT && errno != ENODEV; /* those: the cgroup is gone */
    return strstr(text, "populated 1") != NULL;
}

static bool write_kill(int directory, const char *file)
{
    AUTO(fd_close) int fd = openat(directory, file, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "1", 1) == 1)
        return true;
    if (errno != ENOENT)
        log_failure(status_from_errno(errno), "kill cgroup", "file", file, "reason",
                    strerror(errno));
    return false;
}

void cgroup_remove_leftovers(const struct cgroup *cgroup)
{
    int fd = openat(cgroup->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        fd_close(&fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (strncmp(entry->d_name, "s-", 2) == 0)
            unlinkat(cgroup->fd, entry->d_name, AT_REMOVEDIR);
    closedir(directory);
}

enum status cgroup_end_leftovers(struct cgroup *cgroup, bool is_out_of_reach)
{
    if (cgroup->fd < 0)
        return STATUS_OK;
    for (int waited_ms = 0; is_populated(cgroup, "cgroup.events"); waited_ms += LEFTOVER_STEP_MS) {
        if (waited_ms >= LEFTOVER_WAIT_MS)
            return log_failure(STATUS_DEADLINE_EXCEEDED, "end leftovers", "reason",
                               "processes in the tenant's cgroup do not die");
        fchmod(cgroup->fd, SPENT_MODE);
        write_kill(cgroup->fd, "cgroup.kill");
        /* At start only, before there is a loop. */
        nanosleep(&(struct timespec){ .tv_nsec = LEFTOVER_STEP_MS * 1000000 }, NULL);
    }
    bool was_killed = is_spent(cgroup->fd);
    cgroup->has_leftovers = is_out_of_reach && !was_killed && !cgroup_hands_down(cgroup->fd);
    if (!cgroup->has_leftovers)
        cgroup_remove_leftovers(cgroup);
    if (was_killed)
        fchmod(cgroup->fd, 0700); /* what is made in it from now on is new */
    return STATUS_OK;
}

enum status cgroup_service_open(const struct cgroup *cgroup, const char *service, int *fd)
{
    char name[NAME_BYTES_MAX + 8];
    snprintf(name, sizeof name, "s-%s", service);
    *fd = directory_at(cgroup->fd, name);
    if (*fd >= 0 && is_spent(*fd) && unlinkat(cgroup->fd, name, AT_REMOVEDIR) == 0) {
        close(*fd);
        *fd = directory_at(cgroup->fd, name);
    }
    if (*fd < 0)
        return log_failure(status_from_errno(errno), "make cgroup", "name", name, "reason",
                           strerror(errno));
    return STATUS_OK;
}

/* -1: there is none. */
static int service_directory(const struct cgroup *cgroup, const char *service)
{
    char name[NAME_BYTES_MAX + 8];
    snprintf(name, sizeof name, "s-%s", service);
    return cgroup->fd < 0
               ? -1
               : openat(cgroup->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

struct cgroup_use cgroup_service_use(const struct cgroup *cgroup, const char *service)
{
    AUTO(fd_close) int fd = service_directory(cgroup, service);
    return fd < 0 ? (struct cgroup_use){ 0 } : cgroup_use_read(fd);
}

struct cgroup_load cgroup_service_load(const struct cgroup *cgroup, const char *service)
{
    AUTO(fd_close) int fd = service_directory(cgroup, service);
    return fd < 0 ? (struct cgroup_load){ 0 } : cgroup_load_read(fd);
}

/* One number a line. Those in directories below are a service's own making and are not counted. */
size_t cgroup_service_pids(const struct cgroup *cgroup, const char *service, pid_t *pids,
                           size_t room)
{
    char text[16 * 1024];
    AUTO(fd_close) int directory = service_directory(cgroup, service);
    AUTO(fd_close)
    int fd = directory < 0 ? -1 : openat(directory, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    text[got < 0 ? 0 : got] = '\0';
    size_t count = 0;
    for (char *line = text, *end; count < room && (end = strchr(line, '\n')) != NULL;
         line = end + 1)
        if (atoi(line) > 0)
            pids[count++] = (pid_t)atoi(line);
    return count;
}

void cgroup_service_kill(const struct cgroup *cgroup, const char *service)
{
    char name[NAME_BYTES_MAX + 8], file[NAME_BYTES_MAX + 32];
    snprintf(name, sizeof name, "s-%s", service);
    snprintf(file, sizeof file, "%s/cgroup.kill", name);
    fchmodat(cgroup->fd, name, SPENT_MODE, 0);
    write_kill(cgroup->fd, file);
}

bool cgroup_service_remove(const struct cgroup *cgroup, const char *service)
{
    char name[NAME_BYTES_MAX + 8], events[NAME_BYTES_MAX + 32];
    snprintf(name, sizeof name, "s-%s", service);
    if (unlinkat(cgroup->fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return true;
    /* With its own uid's help a service may have made directories below: empty ones do no harm. */
    snprintf(events, sizeof events, "s-%s/cgroup.events", service);
    return !is_populated(cgroup, events);
}
