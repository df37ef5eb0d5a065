/* Directories by descriptor. Modes are set explicitly: our umask is 077, and a tenant's processes
 * have to get through some of these. */
#include "tenantd/site.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"
#include "common/spec/build.h"
#include "tenantd/claim.h"
#include "tenantd/process.h"
#include "tenantd/tree.h"

enum { LOCK_WAIT_MS = 5000 /* a killed supervisor may still be dying */, GENERATION_BYTES = 24 };

/* `below` with its parents, each new one with `mode`; an existing one keeps its mode but for
 * `bits`, which are added. Opens it when `fd` is not NULL. */
static enum status folder(const char *top, const char *below, mode_t mode, mode_t bits, int *fd)
{
    char path[PATH_MAX];
    struct stat stat;
    TRY(path_join(path, top, below));
    if (mkdir(path, mode) == 0) {
        if (chmod(path, mode) < 0)
            return errno_failure("set mode", path);
    } else if (errno != EEXIST) {
        return errno_failure("make directory", path);
    }
    AUTO(fd_close) int opened = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0 || fstat(opened, &stat) < 0)
        return errno_failure("open directory", path);
    if ((stat.st_mode & bits) != bits && fchmod(opened, (stat.st_mode & 07777) | bits) < 0)
        return errno_failure("set mode", path);
    if (fd != NULL) {
        *fd = opened;
        opened = -1;
    }
    return STATUS_OK;
}

static enum status folders_open(struct site *site)
{
    char name[PATH_MAX];
    /* What a tenant's uid has to pass on the way to its own folders. */
    mode_t pass = site->has_ids ? 0111 : 0;
    TRY(directory_make(site->run_dir, 0755));
    TRY(directory_make(site->data_dir, 0755));
    TRY(folder(site->run_dir, ".", 0755, pass, NULL));
    TRY(folder(site->data_dir, ".", 0755, pass, &site->data_fd));
    TRY(folder(site->run_dir, RUN_INTERNAL, 0700, 0, NULL));
    TRY(folder(site->run_dir, RUN_TENANTS, 0700, 0, &site->socket_fd));
    TRY(folder(site->run_dir, "tenants", 0711, pass, NULL));
    TRY(folder(site->data_dir, "tenants", 0711, pass, NULL));
    TRY(folder(site->data_dir, "logs", 0750, 0, NULL));
    TRY(path_join(name, "tenants", site->tenant));
    TRY(folder(site->run_dir, name, 0750, 0, &site->code_fd));
    TRY(folder(site->data_dir, name, 0711, pass, &site->home_fd));
    snprintf(site->logs_path, sizeof site->logs_path, "logs/%s", site->tenant);
    TRY(folder(site->data_dir, BUILDS_FOLDER, 0700, 0, &site->builds.fd));
    TRY(folder(site->data_dir, site->logs_path, 0750, 0, &site->logs.fd));
    site->builds = (struct folder){ site->builds.fd, site->data_fd, BUILDS_FOLDER, 0700 };
    site->logs = (struct folder){ site->logs.fd, site->data_fd, site->logs_path, 0750 };
    /* The group of the other one tells deployd whose number it is (deployd/tenants.c). */
    if (site->has_ids && (fchown(site->code_fd, 0, site->gid) < 0 ||
                          fchown(site->home_fd, (uid_t)-1, site->gid) < 0))
        return errno_failure("set owner", name);
    site->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (site->null_fd < 0)
        return errno_failure("open", "/dev/null");
    site->host_proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    site->host_pids_fd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    return site->host_proc_fd < 0 ? errno_failure("open", "/proc") : STATUS_OK;
}

static enum status lock_take(struct site *site)
{
    char path[PATH_MAX];
    TRY(tenant_lock_path(path, site->run_dir, site->tenant));
    enum status status = file_lock_take(&site->lock, path, LOCK_WAIT_MS);
    if (status == STATUS_LOCKED)
        return log_failure(status, "another supervisor holds this tenant", "lock", path);
    if (status == STATUS_OK)
        site_sign(site, (uint64_t)getpid());
    return status;
}

/* Without it nothing is missing until a shutdown has to kill what does not answer. */
void site_sign(const struct site *site, uint64_t host_pid)
{
    struct process self;
    if (process_read(site->host_proc_fd, (pid_t)host_pid, &self))
        (void)file_lock_sign(&site->lock, host_pid, self.start_ticks);
}

enum status site_open(struct site *site, const struct options *options, const char *data_dir,
                      const char *run_dir)
{
    snprintf(site->tenant, sizeof site->tenant, "%s", options->tenant);
    snprintf(site->store_id, sizeof site->store_id, "%s", options->store_id);
    site->has_store_incarnation = options->store_incarnation != NULL &&
                                  hex_parse(options->store_incarnation, site->store_incarnation,
                                            sizeof site->store_incarnation);
    snprintf(site->data_dir, sizeof site->data_dir, "%s", data_dir);
    snprintf(site->run_dir, sizeof site->run_dir, "%s", run_dir);
    snprintf(site->mark_prefix, sizeof site->mark_prefix, "%s/%s/", site->store_id, site->tenant);
    site->has_ids = options->has_uid;
    site->uid = options->has_uid ? options->uid : geteuid();
    site->gid = options->has_gid ? options->gid : getegid();
    TRY(folders_open(site));
    TRY(lock_take(site));
    TRY(claim_take(&site->claim, site->logs.fd, site->host_proc_fd));
    if (!options->without_cgroup)
        cgroup_open(&site->cgroup, site->store_id, site->tenant);
    TRY(cgroup_end_leftovers(&site->cgroup, site->has_ids && site->uid != 0));
    /* Elsewhere a look at every process of the machine has nothing to find. */
    if (!claim_is_within(&site->claim, site->cgroup.fd) &&
        !claim_is_over(&site->claim, site->host_proc_fd))
        TRY(tree_end_leftovers(site->host_proc_fd, site->mark_prefix, site->uid));
    char name[PATH_MAX], path[PATH_MAX];
    TRY(path_join(name, "tenants", site->tenant));
    TRY(path_join(path, site->run_dir, name));
    TRY(directory_empty(path));
    TRY(path_join(site->code_seen, site->run_dir, name));
    return path_join(site->home_seen, site->data_dir, name);
}

void site_close(struct site *site)
{
    cgroup_close(&site->cgroup);
    if (site->proc_fd != site->host_proc_fd)
        fd_close(&site->proc_fd);
    int *const descriptors[] = { &site->socket_fd,     &site->code_fd,      &site->home_fd,
                                 &site->logs.fd,       &site->builds.fd,    &site->data_fd,
                                 &site->null_fd,       &site->host_proc_fd, &site->host_pids_fd,
                                 &site->credentials_fd };
    for (size_t i = 0; i < COUNT_OF(descriptors); i++)
        fd_close(descriptors[i]);
    file_lock_release(&site->claim);
    file_lock_release(&site->lock);
}

static bool is_home(const struct site *site, const struct stat *stat)
{
    return S_ISDIR(stat->st_mode) &&
           (!site->has_ids || (stat->st_uid == site->uid && stat->st_gid == site->gid));
}

enum status site_home_make(const struct site *site, const char *service)
{
    struct stat stat;
    /* After the first start it is there: one look, and no lock on its parent. */
    if (fstatat(site->home_fd, service, &stat, AT_SYMLINK_NOFOLLOW) == 0 && is_home(site, &stat))
        return STATUS_OK;
    if (mkdirat(site->home_fd, service, 0700) < 0 && errno != EEXIST)
        return errno_failure("make working directory", service);
    AUTO(fd_close)
    int fd = openat(site->home_fd, service, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat) < 0)
        return errno_failure("open working directory", service);
    if (!is_home(site, &stat) && fchown(fd, site->uid, site->gid) < 0)
        return errno_failure("set owner", service);
    return STATUS_OK;
}

enum status site_prepare(const struct site *site, const char *service)
{
    AUTO(fd_close) int cgroup = -1;
    TRY(site_home_make(site, service));
    return site->cgroup.fd < 0 ? STATUS_OK : cgroup_service_open(&site->cgroup, service, &cgroup);
}

void site_take_back(const struct site *site, const char *service)
{
    struct stat stat;
    if (site->cgroup.fd >= 0)
        (void)cgroup_service_remove(&site->cgroup, service);
    if (fstatat(site->home_fd, service, &stat, AT_SYMLINK_NOFOLLOW) == 0 && is_home(site, &stat) &&
        (stat.st_mode & 07777) == 0700 && unlinkat(site->home_fd, service, AT_REMOVEDIR) < 0 &&
        errno != ENOTEMPTY && errno != EEXIST)
        (void)errno_failure("remove working directory", service);
}

/* A directory of the code tree, root's and readable by the tenant's group. */
static int code_folder(const struct site *site, int parent, const char *name)
{
    bool is_new = mkdirat(parent, name, 0750) == 0;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && is_new &&
        (fchmod(fd, 0750) < 0 || (site->has_ids && fchown(fd, 0, site->gid) < 0)))
        fd_close(&fd);
    return fd;
}

enum status site_code_folder_open(const struct site *site, const char *service, uint64_t generation,
                                  int *fd)
{
    char number[GENERATION_BYTES];
    snprintf(number, sizeof number, "%" PRIu64, generation);
    AUTO(fd_close) int folder_fd = code_folder(site, site->code_fd, service);
    *fd = folder_fd < 0 ? -1 : code_folder(site, folder_fd, number);
    return *fd < 0 ? errno_failure("make code directory", service) : STATUS_OK;
}

enum status site_code_write(const struct site *site, const char *service, uint64_t generation,
                            struct span code)
{
    AUTO(fd_close) int fd = -1;
    TRY(site_code_folder_open(site, service, generation, &fd));
    if (unlinkat(fd, SITE_CODE, 0) < 0 && errno != ENOENT)
        return errno_failure("remove old code", service);
    AUTO(fd_close)
    int file = openat(fd, SITE_CODE, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
    if (file < 0 || fd_write_all(file, code) != STATUS_OK ||
        (site->has_ids && fchown(file, 0, site->gid) < 0) || fchmod(file, 0440) < 0)
        return errno_failure("write code", service);
    return STATUS_OK;
}

void site_code_remove(const struct site *site, const char *service, uint64_t generation)
{
    static const char *const files[] = { SITE_CODE, SITE_OUT };
    char path[NAME_BYTES_MAX + 64];
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        snprintf(path, sizeof path, "%s/%" PRIu64 "/%s", service, generation, files[i]);
        if (unlinkat(site->code_fd, path, 0) < 0 && errno != ENOENT)
            errno_failure("remove code", path);
    }
    *strrchr(path, '/') = '\0';
    unlinkat(site->code_fd, path, AT_REMOVEDIR);
    /* Of the service: goes with its last generation. */
    unlinkat(site->code_fd, service, AT_REMOVEDIR);
}

const char *isolation_text(enum isolation isolation)
{
    switch (isolation) {
    case ISOLATION_NAMESPACES:
        return "namespaces";
    case ISOLATION_USER_NAMESPACES:
        return "user namespaces";
    case ISOLATION_NONE:
        break;
    }
    return "none";
}
