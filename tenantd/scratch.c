/* Everything below the folder is the tenant's: nothing here follows a link, and no depth of folders
 * costs more than the bounds allow. */
#include "tenantd/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/log.h"

enum { BLOCK_BYTES = 512 /* of st_blocks */ };

static enum status failure(const char *what, const char *name)
{
    int error = errno;
    return log_failure(status_from_errno(error), what, "name", name, "reason", strerror(error));
}

enum status scratch_make(const struct site *site, const char *name, const char *code_name,
                         struct span code, int *fd)
{
    if (mkdirat(site->code_fd, name, 0700) < 0)
        return failure("make scratch folder", name);
    AUTO(fd_close)
    int folder = openat(site->code_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0)
        return failure("open scratch folder", name);
    AUTO(fd_close)
    int file = openat(folder, code_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    if (file < 0 || fd_write_all(file, code) != STATUS_OK || fchmod(file, 0444) < 0)
        return failure("write source", name);
    /* Last: from now on the folder is not ours. */
    if (site->has_ids && fchown(folder, site->uid, site->gid) < 0)
        return failure("set owner", name);
    *fd = folder;
    folder = -1;
    return STATUS_OK;
}

void scratch_remove(const struct site *site, const char *name)
{
    AUTO(fd_close)
    int fd = openat(site->code_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    directory_empty_at(fd);
    if (unlinkat(site->code_fd, name, AT_REMOVEDIR) < 0)
        failure("remove scratch folder", name);
}

/* ---- measuring ---- */

struct measure {
    uint64_t bytes, files;
    const char *what;
};

static void measure(struct measure *sum, int parent, const char *name, int depth)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    AUTO(directory_close) DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        fd_close(&fd);
        return; /* gone, or closed to us: it is the tenant's */
    }
    if (depth > BUILD_SCRATCH_DEPTH_MAX)
        sum->what = "folders within folders";
    for (struct dirent *entry; sum->what == NULL && (entry = readdir(directory)) != NULL;) {
        struct stat file;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(fd, entry->d_name, &file, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        sum->files++;
        sum->bytes += (uint64_t)file.st_blocks * BLOCK_BYTES;
        if (sum->files > BUILD_SCRATCH_FILES_MAX)
            sum->what = "files";
        else if (sum->bytes > BUILD_SCRATCH_BYTES_MAX)
            sum->what = "bytes on disk";
        else if (S_ISDIR(file.st_mode))
            measure(sum, fd, entry->d_name, depth + 1);
    }
}

bool scratch_is_within(int fd, const char **what)
{
    struct measure sum = { 0 };
    measure(&sum, fd, ".", 0);
    *what = sum.what;
    return sum.what == NULL;
}
