/* Values are read from the mapped descriptor and written from there: only what goes into an
 * environment is copied, and wiped as soon as its process was made. A folder holds either all files
 * of its start or none is started with it. */
#include "tenantd/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"

#define FOLDER "+credentials" /* no service has such a name */

enum {
    DELIVERED_BYTES_MAX = SPEC_SECRETS_MAX * (SECRET_VALUE_BYTES_MAX + MESSAGE_OVERHEAD_BYTES),
    VERSIONS_BYTES_MAX = SPEC_SECRETS_MAX * (NAME_BYTES_MAX + 16) + 16,
    NAMES_BYTES_MAX = 1024,
    SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL,
};

static enum status failure(const char *what, const char *name)
{
    int error = errno;
    return log_failure(status_from_errno(error), what, "of", name, "reason", strerror(error));
}

/* ---- the folder of all ---- */

enum status credentials_open(struct site *site)
{
    char path[PATH_MAX];
    mode_t mode = site->has_ids ? 0711 : 0700;
    TRY(path_join(site->credentials_seen, site->code_seen, FOLDER));
    strcpy(path, site->credentials_seen);
    if (mkdirat(site->code_fd, FOLDER, mode) < 0 && errno != EEXIST)
        return failure("make the folder of secrets", site->tenant);
    if (site->isolation != ISOLATION_NONE &&
        mount("solo", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
              site->has_ids ? "mode=0711,size=512m" : "mode=0700,size=512m") < 0)
        log_info("no tmpfs of its own for secrets", "path", path, "reason", strerror(errno));
    site->credentials_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (site->credentials_fd < 0 || fchmod(site->credentials_fd, mode) < 0)
        return failure("open the folder of secrets", site->tenant);
    struct statfs about;
    site->keeps_credentials_in_memory =
        fstatfs(site->credentials_fd, &about) == 0 &&
        (about.f_type == TMPFS_MAGIC || about.f_type == RAMFS_MAGIC);
    return STATUS_OK;
}

/* On a disk they would outlive the service, and the power. */
static enum status check_folder(const struct site *site, struct problem *problem)
{
    if (site->keeps_credentials_in_memory)
        return STATUS_OK;
    return problem_set(problem, STATUS_FAILED_PRECONDITION, "",
                       "no tmpfs can be had for its secrets: let RUN lie on one, for example "
                       "below /run or /dev/shm");
}

/* ---- one service's ---- */

void credentials_remove(const struct site *site, const char *service)
{
    AUTO(fd_close)
    int fd = openat(site->credentials_fd, service, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fchmod(fd, 0700) < 0 || directory_empty_at(fd) != STATUS_OK ||
        unlinkat(site->credentials_fd, service, AT_REMOVEDIR) < 0)
        failure("remove the secrets", service);
}

static enum status folder_make(const struct site *site, const char *service, int *fd)
{
    credentials_remove(site, service);
    if (mkdirat(site->credentials_fd, service, 0700) < 0)
        return failure("make a folder for the secrets", service);
    *fd = openat(site->credentials_fd, service, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *fd < 0 ? failure("open the folder of the secrets", service) : STATUS_OK;
}

/* The last step: from now on its uid can read it, and nobody can change it. */
static enum status folder_give(const struct site *site, const char *service, int fd)
{
    if ((site->has_ids && fchown(fd, site->uid, site->gid) < 0) || fchmod(fd, 0500) < 0)
        return failure("give the folder of the secrets", service);
    return STATUS_OK;
}

static enum status file_make(const struct site *site, int folder,
                             const struct secret_delivered *secret)
{
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    AUTO(fd_close) int fd = openat(folder, secret->name, flags, 0400);
    if (fd < 0 || fd_write_all(fd, secret->value) != STATUS_OK ||
        (site->has_ids && fchown(fd, site->uid, site->gid) < 0) || fchmod(fd, 0400) < 0)
        return failure("write a secret", secret->name);
    return STATUS_OK;
}

static enum status variable_add(struct credentials *credentials,
                                const struct secret_delivered *secret, struct problem *problem)
{
    char variable[NAME_BYTES_MAX + 1];
    if (secret->value.size > 0 && memchr(secret->value.data, '\0', secret->value.size) != NULL)
        return problem_set(problem, STATUS_FAILED_PRECONDITION, "",
                           "secret %s has a NUL inside and cannot be in an environment: give it "
                           "as a file",
                           secret->name);
    buffer_append_text(&credentials->environment, spec_secret_variable(variable, secret->name));
    buffer_append_text(&credentials->environment, "=");
    buffer_append(&credentials->environment, secret->value.data, secret->value.size);
    buffer_append(&credentials->environment, "", 1);
    credentials->environment_count++;
    return credentials->environment.is_exhausted ? STATUS_RESOURCE_EXHAUSTED : STATUS_OK;
}

/* ---- what was delivered ---- */

struct delivered {
    struct span mapped;
    struct reader reader;
    struct arena names;
    struct secret_delivery head;
};

static void delivered_close(struct delivered *delivered)
{
    if (delivered->mapped.size > 0)
        munmap((void *)delivered->mapped.data, delivered->mapped.size);
    arena_close(&delivered->names);
}

static enum status refuse(struct problem *problem, const char *why)
{
    return problem_set(problem, STATUS_FAILED_PRECONDITION, "",
                       "what was delivered as its secrets is not usable: %s", why);
}

static enum status delivered_open(struct delivered *delivered, int fd, struct problem *problem)
{
    struct span head = { 0 };
    struct stat stat;
    if (fd < 0 || fstat(fd, &stat) < 0 || (fcntl(fd, F_GET_SEALS) & SEALS) != SEALS)
        return refuse(problem, "no sealed file came along");
    if (stat.st_size <= 0 || stat.st_size > DELIVERED_BYTES_MAX)
        return refuse(problem, "it is too big, or empty");
    void *data = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED)
        return failure("map the secrets", "a service");
    delivered->mapped = span_of(data, (size_t)stat.st_size);
    delivered->reader = reader_of(delivered->mapped);
    if (reader_any(&delivered->reader, &head) != STATUS_OK ||
        fields_decode(&record_secret_delivery, head, &delivered->names, &delivered->head,
                      problem) != STATUS_OK)
        return refuse(problem, "it has no head");
    return STATUS_OK;
}

static enum status delivered_next(struct delivered *delivered, struct secret_delivered *secret,
                                  struct problem *problem)
{
    struct span object = { 0 };
    arena_reset(&delivered->names);
    *secret = (struct secret_delivered){ 0 };
    if (reader_any(&delivered->reader, &object) != STATUS_OK ||
        fields_decode(&record_secret_delivered, object, &delivered->names, secret, problem) !=
            STATUS_OK)
        return refuse(problem, "it ends early");
    return STATUS_OK;
}

/* Both lists are in the order of names; only optional ones may be passed over. */
static enum status find_wanted(const struct launch *launch, const char **next, const char *name,
                               struct launch_secret *wanted, struct problem *problem)
{
    while (*next != launch->secrets_end) {
        *next = launch_secret_next(*next, wanted);
        if (name != NULL && strcmp(wanted->name, name) == 0)
            return STATUS_OK;
        if (!wanted->is_optional)
            return refuse(problem, "it is for another spec");
    }
    return name == NULL ? STATUS_OK : refuse(problem, "it is for another spec");
}

static enum status put_all(const struct site *site, const struct launch *launch, int folder,
                           struct delivered *delivered, uint64_t count,
                           struct credentials *credentials, struct problem *problem)
{
    struct secret_delivered secret;
    struct launch_secret wanted;
    const char *next = launch->secrets;
    write_map(&credentials->versions, count);
    for (uint64_t i = 0; i < count; i++) {
        TRY(delivered_next(delivered, &secret, problem));
        TRY(find_wanted(launch, &next, secret.name, &wanted, problem));
        write_str(&credentials->versions, secret.name);
        write_u64(&credentials->versions, secret.version);
        if (wanted.is_env)
            TRY(variable_add(credentials, &secret, problem));
        else
            TRY(file_make(site, folder, &secret));
    }
    return find_wanted(launch, &next, NULL, &wanted, problem);
}

enum status credentials_put(const struct site *site, const char *service, uint64_t generation,
                            const struct launch *launch, int fd, struct credentials *credentials,
                            struct problem *problem)
{
    AUTO(delivered_close)
    struct delivered delivered = { .names = { .limit = NAMES_BYTES_MAX } };
    AUTO(fd_close) int folder = -1;
    TRY(check_folder(site, problem));
    TRY(delivered_open(&delivered, fd, problem));
    if (strcmp(delivered.head.tenant, site->tenant) != 0 ||
        strcmp(delivered.head.service, service) != 0 || delivered.head.generation != generation ||
        delivered.head.count > SPEC_SECRETS_MAX)
        return refuse(problem, "it is for another start");
    credentials_close(credentials);
    credentials->versions.limit = VERSIONS_BYTES_MAX;
    /* At once: memory that grows leaves copies behind. */
    credentials->environment.limit = delivered.mapped.size + SPEC_SECRETS_MAX * 2;
    if (buffer_reserve(&credentials->environment, credentials->environment.limit) == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    TRY(folder_make(site, service, &folder));
    enum status status =
        put_all(site, launch, folder, &delivered, delivered.head.count, credentials, problem);
    if (status == STATUS_OK)
        status = folder_give(site, service, folder);
    if (status != STATUS_OK) {
        credentials_close(credentials);
        credentials_remove(site, service);
    }
    return status;
}

void credentials_forget(struct credentials *credentials)
{
    if (credentials->environment.data != NULL)
        sodium_memzero(credentials->environment.data, credentials->environment.capacity);
    buffer_close(&credentials->environment);
    credentials->environment_count = 0;
}

void credentials_close(struct credentials *credentials)
{
    credentials_forget(credentials);
    buffer_close(&credentials->versions);
}
