/* A removed directory has no links left; nothing can be made in it. */
#include "tenantd/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"

static void make(const struct folder *folder, const char *path)
{
    /* With a umask of 077 a folder's mode is set by a second call. */
    if (mkdirat(folder->top, path, folder->mode) == 0)
        (void)fchmodat(folder->top, path, folder->mode, 0);
}

bool folder_renew(const struct folder *folder)
{
    struct stat stat;
    char path[PATH_MAX];
    if (folder->top < 0 || fstat(folder->fd, &stat) < 0 || stat.st_nlink > 0)
        return false;
    snprintf(path, sizeof path, "%s", folder->path);
    for (char *slash = path; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        make(folder, path);
        *slash = '/';
    }
    make(folder, path);
    AUTO(fd_close)
    int fd = openat(folder->top, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || dup3(fd, folder->fd, O_CLOEXEC) < 0) {
        log_failure(status_from_errno(errno), "make a removed folder anew", "path", path, "reason",
                    strerror(errno));
        return false;
    }
    log_warning("a folder was removed, and is made anew", "path", path);
    return true;
}
