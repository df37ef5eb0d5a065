/* Files and directories, the few ways we use them. */
#include "common/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/log.h"

enum { LIFT_ATTEMPTS = 16 };

enum status errno_failure(const char *what, const char *path)
{
    int error = errno;
    return log_failure(status_from_errno(error), what, "path", path, "reason", strerror(error));
}

void directory_close(DIR **directory)
{
    if (*directory != NULL)
        closedir(*directory);
}

void fd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

enum status directory_sync(const char *path)
{
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? errno_failure("sync directory", path) : STATUS_OK;
}

static enum status sync_parent(const char *path)
{
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash == NULL)
        snprintf(parent, sizeof parent, ".");
    else
        slash[slash == parent ? 1 : 0] = '\0';
    return directory_sync(parent);
}

/* One that was made is entered in its folder for good: a power cut would take with it whatever was
 * synced inside. */
static enum status part_make(const char *path, mode_t mode)
{
    struct stat status;
    if (mkdir(path, mode) == 0)
        return sync_parent(path);
    if (errno == EEXIST && stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return STATUS_OK;
    return errno_failure("make directory", path);
}

enum status directory_make(const char *path, mode_t mode)
{
    char part[PATH_MAX];
    if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part) {
        errno = ENAMETOOLONG;
        return errno_failure("make directory", path);
    }
    for (char *slash = part + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        TRY(part_make(part, 0755));
        *slash = '/';
    }
    return part_make(path, mode);
}

/* Of our own uid's folders one may be closed to us; root passes everywhere. */
static int open_folder(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 || errno != EACCES || fchmodat(parent, name, 0700, 0) < 0)
        return fd;
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Moves a folder from `folder` up into `top`, so that the depth of a tree costs nothing. */
static enum status lift(int folder, const char *name, int top, uint64_t *lifted)
{
    char fresh[32];
    for (int attempt = 0; attempt < LIFT_ATTEMPTS; attempt++) {
        snprintf(fresh, sizeof fresh, ".removing-%" PRIu64, (*lifted)++);
        if (renameat2(folder, name, top, fresh, RENAME_NOREPLACE) == 0 || errno == ENOENT)
            return STATUS_OK;
        if (errno == EACCES && fchmodat(folder, name, 0700, 0) == 0)
            continue; /* to be moved, a folder must be writable */
        if (errno != EEXIST)
            break;
    }
    return errno_failure("move directory", name);
}

/* Empties one folder of `top` into nothing and, as far as folders are concerned, into `top`. */
static enum status empty_one(int top, const char *name, dev_t device, uint64_t *lifted)
{
    int fd = open_folder(top, name);
    struct stat stat;
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        enum status status = errno == ENOENT ? STATUS_OK : errno_failure("open directory", name);
        fd_close(&fd);
        return status;
    }
    enum status status = STATUS_OK;
    if (fstat(fd, &stat) < 0 || stat.st_dev != device) {
        closedir(directory);
        return STATUS_OK;
    }
    (void)fchmod(fd, 0700); /* what its owner forbade himself does not keep it */
    for (struct dirent *entry; status == STATUS_OK && (entry = readdir(directory)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            unlinkat(fd, entry->d_name, 0) == 0 || errno == ENOENT)
            continue;
        status = errno == EISDIR || errno == EPERM ? lift(fd, entry->d_name, top, lifted)
                                                   : errno_failure("remove", entry->d_name);
    }
    closedir(directory);
    if (status == STATUS_OK && unlinkat(top, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        status = errno_failure("remove directory", name);
    return status;
}

/* One pass; `*lifted` has grown when there has to be another. */
static enum status empty_pass(int top, dev_t device, uint64_t *lifted)
{
    int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    enum status status = STATUS_OK;
    if (directory == NULL) {
        status = errno_failure("read directory", ".");
        fd_close(&fd);
        return status;
    }
    for (struct dirent *entry; status == STATUS_OK && (entry = readdir(directory)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            unlinkat(top, entry->d_name, 0) == 0 || errno == ENOENT)
            continue;
        status = errno == EISDIR || errno == EPERM ? empty_one(top, entry->d_name, device, lifted)
                                                   : errno_failure("remove", entry->d_name);
    }
    closedir(directory);
    return status;
}

enum status directory_empty_at(int fd)
{
    struct stat stat;
    if (fstat(fd, &stat) < 0)
        return errno_failure("stat", "directory");
    (void)fchmod(fd, stat.st_mode | 0700);
    for (uint64_t lifted = 0, before;;) {
        before = lifted;
        TRY(empty_pass(fd, stat.st_dev, &lifted));
        if (lifted == before)
            return STATUS_OK;
    }
}

enum status directory_empty(const char *path)
{
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? STATUS_OK : errno_failure("open directory", path);
    return directory_empty_at(fd);
}

enum status directory_remove(const char *path)
{
    TRY(directory_empty(path));
    if (rmdir(path) < 0 && errno != ENOENT)
        return errno_failure("remove directory", path);
    return STATUS_OK;
}

enum status file_read(const char *path, struct buffer *buffer)
{
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? STATUS_NOT_FOUND : errno_failure("open", path);
    for (;;) {
        char chunk[16384];
        ssize_t size = read(fd, chunk, sizeof chunk);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return errno_failure("read", path);
        if (size == 0)
            return STATUS_OK;
        if (buffer_append(buffer, chunk, (size_t)size) != STATUS_OK)
            return log_failure(STATUS_RESOURCE_EXHAUSTED, "read", "path", path, "reason",
                               "file is larger than allowed", "limit", NUMBER(buffer->limit));
    }
}

enum status fd_write_all(int fd, struct span data)
{
    while (data.size > 0) {
        ssize_t size = write(fd, data.data, data.size);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return status_from_errno(errno);
        data.data += size;
        data.size -= (size_t)size;
    }
    return STATUS_OK;
}

static enum status write_beside(const char *path, struct span content, mode_t mode, bool is_durable)
{
    char beside[PATH_MAX];
    if ((size_t)snprintf(beside, sizeof beside, "%s.%d.new", path, (int)getpid()) >=
        sizeof beside) {
        errno = ENAMETOOLONG;
        return errno_failure("write", path);
    }
    AUTO(fd_close)
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return errno_failure("create", beside);
    if (fd_write_all(fd, content) != STATUS_OK || fchmod(fd, mode) < 0 ||
        (is_durable && fsync(fd) < 0) || rename(beside, path) < 0) {
        enum status status = errno_failure("write", beside);
        unlink(beside);
        return status;
    }
    return is_durable ? sync_parent(path) : STATUS_OK;
}

enum status file_write_durably(const char *path, struct span content, mode_t mode)
{
    return write_beside(path, content, mode, true);
}

enum status file_write(const char *path, struct span content, mode_t mode)
{
    return write_beside(path, content, mode, false);
}

enum status path_join(char path[4096], const char *first, const char *second)
{
    if ((size_t)snprintf(path, 4096, "%s/%s", first, second) >= 4096)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "join path", "first", first, "second", second,
                           "reason", "too long");
    return STATUS_OK;
}
