/* Files and directories, the few ways we use them. */
#include "common/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/log.h"

static enum status failure(const char *what, const char *path)
{
    int error = errno;
    return log_failure(status_from_errno(error), what, "path", path, "reason", strerror(error));
}

void fd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

enum status directory_make(const char *path, mode_t mode)
{
    char part[PATH_MAX];
    if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part) {
        errno = ENAMETOOLONG;
        return failure("make directory", path);
    }
    for (char *slash = part + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return failure("make directory", part);
        *slash = '/';
    }
    if (mkdir(path, mode) == 0)
        return STATUS_OK;
    struct stat status;
    if (errno == EEXIST && stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return STATUS_OK;
    return failure("make directory", path);
}

/* Takes ownership of `directory_fd`. */
static enum status empty_directory(int directory_fd, const char *path, dev_t device)
{
    DIR *directory = fdopendir(directory_fd);
    if (directory == NULL) {
        close(directory_fd);
        return failure("read directory", path);
    }
    enum status status = STATUS_OK;
    for (struct dirent *entry; status == STATUS_OK && (entry = readdir(directory)) != NULL;) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (unlinkat(dirfd(directory), name, 0) == 0 || errno == ENOENT)
            continue;
        if (errno != EISDIR && errno != EPERM) {
            status = failure("remove", name);
            break;
        }
        int child = openat(dirfd(directory), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct stat stat;
        if (child < 0 || fstat(child, &stat) < 0 || stat.st_dev != device) {
            if (child >= 0)
                close(child);
            else
                status = failure("open directory", name);
            continue;
        }
        status = empty_directory(child, name, device);
        if (status == STATUS_OK && unlinkat(dirfd(directory), name, AT_REMOVEDIR) < 0)
            status = failure("remove directory", name);
    }
    closedir(directory);
    return status;
}

enum status directory_empty(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat stat;
    if (fd < 0)
        return errno == ENOENT ? STATUS_OK : failure("open directory", path);
    if (fstat(fd, &stat) < 0) {
        close(fd);
        return failure("stat", path);
    }
    return empty_directory(fd, path, stat.st_dev);
}

enum status directory_remove(const char *path)
{
    TRY(directory_empty(path));
    if (rmdir(path) < 0 && errno != ENOENT)
        return failure("remove directory", path);
    return STATUS_OK;
}

enum status file_read(const char *path, struct buffer *buffer)
{
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? STATUS_NOT_FOUND : failure("open", path);
    for (;;) {
        char chunk[16384];
        ssize_t size = read(fd, chunk, sizeof chunk);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return failure("read", path);
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

static enum status sync_parent(const char *path)
{
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash == NULL)
        snprintf(parent, sizeof parent, ".");
    else
        slash[slash == parent ? 1 : 0] = '\0';
    AUTO(fd_close) int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return failure("sync directory", parent);
    return STATUS_OK;
}

static enum status write_beside(const char *path, struct span content, mode_t mode, bool is_durable)
{
    char beside[PATH_MAX];
    if ((size_t)snprintf(beside, sizeof beside, "%s.%d.new", path, (int)getpid()) >=
        sizeof beside) {
        errno = ENAMETOOLONG;
        return failure("write", path);
    }
    AUTO(fd_close)
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return failure("create", beside);
    if (fd_write_all(fd, content) != STATUS_OK || fchmod(fd, mode) < 0 ||
        (is_durable && fsync(fd) < 0) || rename(beside, path) < 0) {
        enum status status = failure("write", beside);
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
