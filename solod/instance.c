/* Locks first, then everything else: whatever is emptied or written here belongs to nobody else.
 * RUN is emptied only when its own boot_id says that it is of an earlier boot; a directory without
 * one is somebody's files until proven otherwise, and is kept. */
#include "solod/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"

static enum status directory_failure(const char *what, const char *path)
{
    return log_failure(status_from_errno(errno), what, "path", path, "reason", strerror(errno));
}

/* Exists, is ours, and has this mode whatever the umask is. */
static enum status directory_prepare(const char *path, mode_t mode)
{
    TRY(directory_make(path, mode));
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0)
        return directory_failure("open directory", path);
    /* Who owns a directory may replace what lies in it, sockets and locks too. */
    if (status.st_uid != geteuid() && fchown(fd, geteuid(), getegid()) < 0)
        return directory_failure("take over a directory of another user", path);
    if ((status.st_mode & 07777) != mode && fchmod(fd, mode) < 0)
        return directory_failure("set the directory's mode", path);
    return STATUS_OK;
}

static enum status data_prepare(const char *path)
{
    struct stat status;
    bool exists = stat(path, &status) == 0;
    TRY(directory_make(path, 0755));
    /* Only a new one gets our mode: whoever made it may have wanted another. */
    if (!exists && chmod(path, 0755) < 0)
        return directory_failure("set the directory's mode", path);
    return STATUS_OK;
}

/* A solod that was killed while it started a child lives on in it, with its locks, until the child
 * has noticed. */
enum { DYING_HOLDER_MS = 1000 };

static enum status lock_take(struct file_lock *lock, const char *path)
{
    enum status status = file_lock_take(lock, path, DYING_HOLDER_MS);
    if (status == STATUS_LOCKED) {
        AUTO(buffer_close) struct buffer holder = { .limit = 64 };
        if (file_read(path, &holder) != STATUS_OK || buffer_append(&holder, "", 1) != STATUS_OK)
            buffer_clear(&holder);
        char pid[24] = "unknown";
        if (holder.size > 0 && atoi((const char *)holder.data) > 0)
            number_text(pid, atoi((const char *)holder.data));
        return log_failure(STATUS_LOCKED,
                           "another Solo runs here; stop it or choose other directories", "lock",
                           path, "pid_of_the_other", pid);
    }
    TRY(status);
    char text[24];
    int size = snprintf(text, sizeof text, "%d\n", getpid());
    if (ftruncate(lock->fd, 0) < 0 || pwrite(lock->fd, text, (size_t)size, 0) != size)
        return log_failure(status_from_errno(errno), "write our pid into the lock", "path", path,
                           "reason", strerror(errno));
    return STATUS_OK;
}

static enum status internal_prepare(const char *run_dir)
{
    char path[4096];
    TRY(directory_prepare(run_dir, 0755));
    TRY(path_join(path, run_dir, RUN_INTERNAL));
    TRY(directory_prepare(path, 0700));
    TRY(path_join(path, run_dir, RUN_TENANTS));
    return directory_prepare(path, 0700);
}

/* Empties a RUN that an earlier boot left on a disk. The lock goes with it and is taken anew;
 * whoever is faster then is the instance. */
static enum status boot_compare(struct instance *instance, const char *run_dir, const char *lock)
{
    enum run_boot boot;
    TRY(run_boot_find(run_dir, &boot));
    if (boot == RUN_BOOT_CURRENT)
        return STATUS_OK;
    if (boot == RUN_BOOT_EARLIER) {
        log_info("the run directory is of an earlier boot and is emptied", "run", run_dir);
        TRY(directory_empty(run_dir));
        TRY(internal_prepare(run_dir));
        struct file_lock old = instance->run_lock;
        instance->run_lock = FILE_LOCK_NONE;
        enum status status = lock_take(&instance->run_lock, lock);
        file_lock_release(&old);
        TRY(status);
    }
    return run_boot_write(run_dir);
}

static enum status refuse_unfinished_restore(const char *data_dir)
{
    char path[4096];
    TRY(path_join(path, data_dir, RESTORE_MARKER));
    return access(path, F_OK) != 0
               ? STATUS_OK
               : log_failure(STATUS_FAILED_PRECONDITION, "start", "data", data_dir, "reason",
                             "a restore into it was not finished", "next",
                             "run `soloctl restore DIR` again");
}

static enum status key_draw(struct instance *instance)
{
    random_fill(instance->key, sizeof instance->key);
    instance->key_fd = memfd_create("solo-run-key", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (instance->key_fd < 0)
        return log_failure(status_from_errno(errno), "memfd_create", "reason", strerror(errno));
    TRY(fd_write_all(instance->key_fd, span_of(instance->key, sizeof instance->key)));
    if (fcntl(instance->key_fd, F_ADD_SEALS,
              F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return log_failure(status_from_errno(errno), "seal the run key", "reason", strerror(errno));
    return STATUS_OK;
}

static enum status run_hold(struct instance *instance, const char *run_dir)
{
    instance->run_fd = open(run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (instance->run_fd < 0)
        return log_failure(status_from_errno(errno), "open the run directory", "dir", run_dir,
                           "reason", strerror(errno));
    snprintf(instance->run_path, sizeof instance->run_path, "/proc/self/fd/%d", instance->run_fd);
    return STATUS_OK;
}

static enum status data_hold(struct instance *instance, const char *data_dir)
{
    instance->data_fd = open(data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return instance->data_fd >= 0 ? STATUS_OK : directory_failure("open directory", data_dir);
}

enum status instance_check_data(const struct instance *instance, const char *data_dir)
{
    struct stat held, there;
    if (fstat(instance->data_fd, &held) == 0 && stat(data_dir, &there) == 0 &&
        held.st_dev == there.st_dev && held.st_ino == there.st_ino)
        return STATUS_OK;
    return log_failure(STATUS_FAILED_PRECONDITION, "start a daemon", "data", data_dir, "reason",
                       "DATA is gone: another directory is there, or none", "next",
                       "move it back, or mount its disk");
}

enum status instance_open(struct instance *instance, const struct settings *settings)
{
    char run_lock[4096], data_lock[4096];
    TRY(run_internal_path(run_lock, settings->run_dir, "solod.lock"));
    TRY(path_join(data_lock, settings->data_dir, "solod.lock"));

    TRY(internal_prepare(settings->run_dir));
    TRY(run_hold(instance, settings->run_dir));
    TRY(lock_take(&instance->run_lock, run_lock));
    TRY(data_prepare(settings->data_dir));
    TRY(data_hold(instance, settings->data_dir));
    TRY(lock_take(&instance->data_lock, data_lock));
    TRY(refuse_unfinished_restore(settings->data_dir));
    TRY(boot_compare(instance, settings->run_dir, run_lock));
    struct uuid run_id = uuid_draw();
    TRY(run_id_write(settings->run_dir, &run_id));
    return key_draw(instance);
}

void instance_close(struct instance *instance)
{
    explicit_bzero(instance->key, sizeof instance->key);
    fd_close(&instance->key_fd);
    fd_close(&instance->run_fd);
    fd_close(&instance->data_fd);
    file_lock_release(&instance->data_lock);
    file_lock_release(&instance->run_lock);
}
