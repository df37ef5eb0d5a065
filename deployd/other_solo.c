/* One walk over /proc. Supervisors name store, RUN and DATA in their arguments. */
#include "deployd/other_solo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/log.h"

enum { ARGUMENTS_BYTES_MAX = 16 * 1024 };

static bool is_ours(uid_t uid)
{
    return uid == 0 || uid == geteuid();
}

/* Anybody may run a set-user-id program with the arguments of a supervisor: both the user who
 * started it and its effective one must be such as run Solo. */
static bool is_believed(int proc_fd, const char *pid)
{
    char path[300], text[4096 + 1];
    unsigned real, effective;
    snprintf(path, sizeof path, "%s/status", pid);
    AUTO(fd_close) int fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    text[size < 0 ? 0 : size] = '\0';
    const char *uids = strstr(text, "\nUid:");
    return uids != NULL && sscanf(uids, "\nUid: %u %u", &real, &effective) == 2 && is_ours(real) &&
           is_ours(effective);
}

/* Nobody else can make such a folder in a RUN. */
static bool is_run_of_solo(const char *run)
{
    char path[PATH_MAX];
    struct stat folder;
    int size = snprintf(path, sizeof path, "%s/internal", run);
    return size < PATH_MAX && lstat(path, &folder) == 0 && S_ISDIR(folder.st_mode) &&
           is_ours(folder.st_uid);
}

/* The arguments of a process, each ended by a NUL; 0 bytes when there are none. */
static size_t read_arguments(int proc_fd, const char *pid, char text[ARGUMENTS_BYTES_MAX + 1])
{
    char path[300];
    snprintf(path, sizeof path, "%s/cmdline", pid);
    AUTO(fd_close) int fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, ARGUMENTS_BYTES_MAX);
    text[size < 0 ? 0 : size] = '\0';
    return size < 0 ? 0 : (size_t)size;
}

/* What stands behind `flag`; "" for nothing. */
static const char *argument(const char *text, size_t size, const char *flag)
{
    for (const char *at = text, *end = text + size; at < end; at += strlen(at) + 1)
        if (strcmp(at, flag) == 0 && at + strlen(at) + 1 < end)
            return at + strlen(at) + 1;
    return "";
}

static bool is_supervisor_of(const char *text, size_t size, const char *store_id)
{
    const char *slash = strrchr(text, '/');
    return size > 0 && strcmp(slash == NULL ? text : slash + 1, "tenantd") == 0 &&
           strcmp(argument(text, size, "--store-id"), store_id) == 0;
}

static bool is_same_folder(const char *a, const char *b)
{
    struct stat first, second;
    return strcmp(a, b) == 0 || (stat(a, &first) == 0 && stat(b, &second) == 0 &&
                                 first.st_dev == second.st_dev && first.st_ino == second.st_ino);
}

bool other_solo_find(const uint8_t store_id[16], const char *run_dir, const char *data_dir,
                     struct other_solo *found)
{
    static char text[ARGUMENTS_BYTES_MAX + 1];
    char id[2 * 16 + 1];
    AUTO(directory_close) DIR *proc = opendir("/proc");
    hex_text(id, store_id, 16);
    if (proc == NULL) {
        log_failure(STATUS_INTERNAL, "read /proc", "reason", strerror(errno));
        return false;
    }
    for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid <= 0 || !is_believed(dirfd(proc), entry->d_name))
            continue;
        size_t size = read_arguments(dirfd(proc), entry->d_name, text);
        if (!is_supervisor_of(text, size, id))
            continue;
        const char *run = argument(text, size, "--run"), *data = argument(text, size, "--data");
        if (is_same_folder(run, run_dir) || is_same_folder(data, data_dir) ||
            access(data, F_OK) < 0 || !is_run_of_solo(run))
            continue;
        found->pid = pid;
        snprintf(found->data, sizeof found->data, "%s", data);
        return true;
    }
    return false;
}
