/* Looks a program up as execvp(3) would, so that a deploy can refuse before anything is stopped.
 * Whether the tenant may execute it shows only when it is tried. */
#include "common/spec/program.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* OK and `found`, not_found, or permission_denied. */
static enum status try_file(const char *directory, size_t directory_size, const char *program,
                            char found[4096])
{
    char path[PATH_MAX];
    int length =
        snprintf(path, sizeof path, "%.*s%s%s", (int)directory_size, directory,
                 directory_size > 0 && directory[directory_size - 1] != '/' ? "/" : "", program);
    struct stat file;
    if (length >= (int)sizeof path || path[0] != '/' || stat(path, &file) != 0)
        return STATUS_NOT_FOUND;
    if (!S_ISREG(file.st_mode) || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0)
        return STATUS_PERMISSION_DENIED;
    memcpy(found, path, (size_t)length + 1);
    return STATUS_OK;
}

enum status program_find(const char *program, const char *path, const char *working_dir,
                         char found[4096])
{
    if (program[0] == '\0')
        return STATUS_NOT_FOUND;
    if (program[0] == '/')
        return try_file("", 0, program, found);
    if (strchr(program, '/') != NULL)
        return try_file(working_dir, strlen(working_dir), program, found);

    bool is_there = false;
    for (const char *element = path;; element++) {
        size_t size = strcspn(element, ":");
        enum status status = size == 0 ? try_file(working_dir, strlen(working_dir), program, found)
                                       : try_file(element, size, program, found);
        if (status == STATUS_OK)
            return STATUS_OK;
        is_there = is_there || status == STATUS_PERMISSION_DENIED;
        element += size;
        if (*element == '\0')
            return is_there ? STATUS_PERMISSION_DENIED : STATUS_NOT_FOUND;
    }
}
