/* One place for the layout of RUN. */
#include "common/base/run_folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "common/base/log.h"
#include "common/base/name.h"

enum { FILE_BYTES = NAME_BYTES_MAX + 32, ID_BYTES_MAX = 256 };

static const char lock_suffix[] = ".lock";

enum status run_socket_path(char path[4096], const char *run_dir, const char *daemon)
{
    char file[FILE_BYTES];
    snprintf(file, sizeof file, "%.*s.sock", NAME_BYTES_MAX, daemon);
    return path_join(path, run_dir, file);
}

enum status run_internal_path(char path[4096], const char *run_dir, const char *file)
{
    char below[FILE_BYTES];
    snprintf(below, sizeof below, RUN_INTERNAL "/%.*s", NAME_BYTES_MAX, file);
    return path_join(path, run_dir, below);
}

static enum status tenant_path(char path[4096], const char *run_dir, const char *tenant,
                               const char *suffix)
{
    char below[FILE_BYTES];
    snprintf(below, sizeof below, RUN_TENANTS "/%.*s%s", NAME_BYTES_MAX, tenant, suffix);
    return path_join(path, run_dir, below);
}

enum status tenant_lock_path(char path[4096], const char *run_dir, const char *tenant)
{
    return tenant_path(path, run_dir, tenant, lock_suffix);
}

enum status tenant_socket_path(char path[4096], const char *run_dir, const char *tenant)
{
    return tenant_path(path, run_dir, tenant, ".sock");
}

/* --- supervisors --- */

static bool tenant_of_lock(const char *file, char tenant[NAME_BYTES_MAX + 1])
{
    size_t size = strlen(file), suffix = strlen(lock_suffix);
    if (size <= suffix || size - suffix > NAME_BYTES_MAX ||
        strcmp(file + size - suffix, lock_suffix) != 0)
        return false;
    memcpy(tenant, file, size - suffix);
    tenant[size - suffix] = '\0';
    return name_is_valid(tenant);
}

enum status tenants_locked_each(const char *run_dir,
                                enum status (*visit)(void *context, const char *tenant),
                                void *context)
{
    char path[4096], tenant[NAME_BYTES_MAX + 1];
    TRY(path_join(path, run_dir, RUN_TENANTS));
    AUTO(directory_close) DIR *folder = opendir(path);
    if (folder == NULL && errno == ENOENT)
        return STATUS_OK;
    if (folder == NULL)
        return log_failure(status_from_errno(errno), "read a folder", "path", path, "reason",
                           strerror(errno));
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        bool is_held = false;
        if (tenant_of_lock(entry->d_name, tenant) &&
            tenant_lock_path(path, run_dir, tenant) == STATUS_OK &&
            file_lock_is_held(path, &is_held) == STATUS_OK && is_held)
            TRY(visit(context, tenant));
    }
    return STATUS_OK;
}

/* --- ids --- */

static enum status line_read(const char *path, char text[ID_BYTES_MAX])
{
    AUTO(buffer_close) struct buffer content = { .limit = ID_BYTES_MAX - 1 };
    TRY(file_read(path, &content));
    while (content.size > 0 && content.data[content.size - 1] == '\n')
        content.size--;
    memcpy(text, content.size == 0 ? (const void *)"" : content.data, content.size);
    text[content.size] = '\0';
    return STATUS_OK;
}

enum status run_boot_find(const char *run_dir, enum run_boot *boot)
{
    char path[4096], current[BOOT_ID_BYTES], written[ID_BYTES_MAX];
    TRY(clock_boot_id(current));
    TRY(path_join(path, run_dir, "boot_id"));
    enum status status = line_read(path, written);
    if (status == STATUS_NOT_FOUND)
        *boot = RUN_BOOT_UNKNOWN;
    else if (status == STATUS_OK || status == STATUS_RESOURCE_EXHAUSTED)
        *boot = status == STATUS_OK && strcmp(written, current) == 0 ? RUN_BOOT_CURRENT
                                                                     : RUN_BOOT_EARLIER;
    else
        return status;
    return STATUS_OK;
}

enum status run_boot_write(const char *run_dir)
{
    char path[4096], current[BOOT_ID_BYTES];
    TRY(clock_boot_id(current));
    TRY(path_join(path, run_dir, "boot_id"));
    return file_write_durably(path, span_of_text(current), 0644);
}

enum status run_id_read(const char *run_dir, char text[UUID_TEXT_BYTES])
{
    char path[4096], written[ID_BYTES_MAX];
    struct uuid id;
    TRY(run_internal_path(path, run_dir, "run_id"));
    enum status status = line_read(path, written);
    if (status == STATUS_OK && uuid_parse(written, &id) == STATUS_OK) {
        uuid_text(text, &id);
        return STATUS_OK;
    }
    if (status != STATUS_OK && status != STATUS_RESOURCE_EXHAUSTED)
        return status;
    log_warning("the run's id is unreadable", "path", path);
    return STATUS_NOT_FOUND;
}

enum status run_id_write(const char *run_dir, const struct uuid *id)
{
    char path[4096], text[UUID_TEXT_BYTES];
    TRY(run_internal_path(path, run_dir, "run_id"));
    return file_write(path, span_of_text(uuid_text(text, id)), 0644);
}

enum status run_id_forget(const char *run_dir)
{
    char path[4096];
    TRY(run_internal_path(path, run_dir, "run_id"));
    return unlink(path) == 0 || errno == ENOENT
               ? STATUS_OK
               : log_failure(status_from_errno(errno), "remove the run's id", "path", path,
                             "reason", strerror(errno));
}

/* --- programs --- */

enum status program_beside(char path[4096], const char *name)
{
    char own[4096];
    ssize_t size = readlink("/proc/self/exe", own, sizeof own - 1);
    if (size <= 0)
        return log_failure(status_from_errno(errno), "read /proc/self/exe", "reason",
                           strerror(errno));
    own[size] = '\0';
    *strrchr(own, '/') = '\0';
    char there[64], installed[4096];
    snprintf(there, sizeof there, "../sbin/%s", name);
    TRY(path_join(installed, own, there));
    TRY(path_join(path, own, name));
    if (access(path, F_OK) != 0 && access(installed, F_OK) == 0)
        memcpy(path, installed, sizeof installed);
    return STATUS_OK;
}
