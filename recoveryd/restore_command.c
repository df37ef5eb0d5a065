/* A file in DATA says from the first change to the last that the stores there are not all that they
 * should be; solod does not start while it is there. */
#include "recoveryd/restore_command.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/api/records/log_anchor.h"
#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/fault.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"
#include "common/db/copy.h"
#include "common/db/walk.h"

enum { MANIFEST_BYTES_MAX = 64 * 1024, MARKER_BYTES_MAX = 128, CHUNK_BYTES = 256 * 1024 };

/* The log last: what it knows is newest. */
static const struct db_schema *const schemas[] = { &tokens_schema, &vault_schema, &events_schema };

/* --- what is there --- */

static void manifest_close(json_t **manifest)
{
    json_decref(*manifest);
}

static enum status refuse(const char *dir, const char *reason)
{
    return log_failure(STATUS_INVALID_ARGUMENT, "restore", "backup", dir, "reason", reason);
}

static enum status read_manifest(const char *dir, bool has[COUNT_OF(schemas)])
{
    char path[4096];
    AUTO(buffer_close) struct buffer text = { .limit = MANIFEST_BYTES_MAX };
    TRY(path_join(path, dir, BACKUP_MANIFEST));
    enum status status = file_read(path, &text);
    if (status == STATUS_NOT_FOUND)
        return refuse(dir,
                      "it has no " BACKUP_MANIFEST ": no backup, or one that was not finished");
    TRY(status);
    AUTO(manifest_close)
    json_t *manifest = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
    const char *kind = json_string_value(json_object_get(manifest, "kind"));
    if (kind == NULL || strcmp(kind, "solo_backup") != 0 ||
        json_integer_value(json_object_get(manifest, "schema")) != 1)
        return refuse(dir, "its " BACKUP_MANIFEST " is none that is known here");
    for (size_t i = 0; i < COUNT_OF(schemas); i++)
        has[i] = json_object_get(manifest, schemas[i]->name) != NULL;
    if (!has[COUNT_OF(schemas) - 1])
        return refuse(dir, "it has no log");
    return STATUS_OK;
}

/* A store may have an empty directory already (made by a package, say); rmdir says so. */
static enum status clear_place(const char *place, bool is_ours)
{
    if (is_ours)
        return directory_remove(place);
    if (rmdir(place) == 0 || errno == ENOENT)
        return STATUS_OK;
    return log_failure(STATUS_ALREADY_EXISTS, "restore", "path", place, "reason",
                       "there is a store: a backup is put into an empty data directory; move this "
                       "one aside, do not delete it");
}

/* --- one store --- */

static enum status copy_bytes(int from, int to)
{
    static uint8_t chunk[CHUNK_BYTES];
    for (;;) {
        ssize_t size = read(from, chunk, sizeof chunk);
        if (size == 0)
            return STATUS_OK;
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return log_failure(status_from_errno(errno), "read a backup", "reason",
                               strerror(errno));
        TRY(fd_write_all(to, span_of(chunk, (size_t)size)));
    }
}

static enum status copy_file(const char *from, const char *to)
{
    AUTO(fd_close) int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return errno_failure("open a backup", from);
    AUTO(fd_close) int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0)
        return errno_failure("create", to);
    TRY(copy_bytes(in, out));
    return fsync(out) < 0 ? errno_failure("sync", to) : STATUS_OK;
}

/* A backup was whole when it was made: it may have lain somewhere for years. */
static enum status check_copy(const struct db_schema *schema, const char *backup, const char *dir)
{
    enum status status = db_probe(schema, dir);
    if (status == STATUS_OK)
        status = db_walk(schema, dir, WALK_ALONE);
    return status != STATUS_DATA_LOSS
               ? status
               : log_failure(status, "restore", "backup", backup, "store", schema->name, "reason",
                             "the backup is damaged: take another one; of a log `recoveryd salvage "
                             "BACKUP...` takes what each of several proves");
}

static enum status restore_store(const struct db_schema *schema, const char *backup,
                                 const char *data_dir)
{
    char from[4096], place[4096], beside[4096], file[4096], name[64];
    snprintf(name, sizeof name, "%s/data.mdb", schema->name);
    TRY(path_join(from, backup, name));
    TRY(path_join(place, data_dir, schema->name));
    snprintf(name, sizeof name, "%s.restoring", schema->name);
    TRY(path_join(beside, data_dir, name));
    TRY(directory_remove(beside));
    if (mkdir(beside, 0700) < 0)
        return errno_failure("make directory", beside);
    TRY(path_join(file, beside, "data.mdb"));
    TRY(copy_file(from, file));
    TRY(check_copy(schema, backup, beside));
    TRY(db_renew_incarnation(schema, beside));
    fault_point("restore.before_rename");
    if (rename(beside, place) < 0)
        return errno_failure("move a store to its place", place);
    return directory_sync(data_dir);
}

/* --- all --- */

/* What stands there from a restore that was cut off was put there by it; so this one must be the
 * same. */
static enum status read_marker(const char *marker, const char *text, bool *is_again)
{
    AUTO(buffer_close) struct buffer found = { .limit = MARKER_BYTES_MAX };
    enum status status = file_read(marker, &found);
    *is_again = status == STATUS_OK;
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    return span_equal(buffer_span(&found), span_of_text(text))
               ? STATUS_OK
               : log_failure(STATUS_FAILED_PRECONDITION, "restore", "path", marker, "reason",
                             "another restore was cut off: repeat that one first");
}

static enum status restore_all(const char *backup, const char *data_dir, const char *only,
                               const bool has[COUNT_OF(schemas)])
{
    char marker[4096], place[4096], text[MARKER_BYTES_MAX];
    bool is_again;
    snprintf(text, sizeof text, "a restore of %s into this directory was not finished\n",
             only == NULL ? "all stores" : only);
    TRY(path_join(marker, data_dir, RESTORE_MARKER));
    TRY(read_marker(marker, text, &is_again));
    for (size_t i = 0; i < COUNT_OF(schemas); i++) {
        if (only != NULL && !has[i])
            continue;
        TRY(path_join(place, data_dir, schemas[i]->name));
        TRY(clear_place(place, is_again));
    }
    TRY(file_write_durably(marker, span_of_text(text), 0644));
    for (size_t i = 0; i < COUNT_OF(schemas); i++)
        if (has[i])
            TRY(restore_store(schemas[i], backup, data_dir));
    /* What was known of the log that was here says nothing about this one. */
    TRY(path_join(place, data_dir, LOG_ANCHOR_FILE));
    if (has[COUNT_OF(schemas) - 1] && unlink(place) < 0 && errno != ENOENT)
        return errno_failure("remove", place);
    if (unlink(marker) < 0)
        return errno_failure("remove", marker);
    return directory_sync(data_dir);
}

/* solod's, and of each store its daemon's: that one may have been started by something else. */
struct locks {
    struct file_lock solod, leases[COUNT_OF(schemas)];
};

static void locks_release(struct locks *locks)
{
    file_lock_release(&locks->solod);
    for (size_t i = 0; i < COUNT_OF(schemas); i++)
        file_lock_release(&locks->leases[i]);
}

static enum status take_lock(const char *data_dir, const char *name, struct file_lock *lock)
{
    char path[4096], file[64];
    snprintf(file, sizeof file, "%s.lock", name);
    TRY(path_join(path, data_dir, file));
    enum status status = file_lock_take(lock, path, 0);
    return status == STATUS_LOCKED ? log_failure(status, "restore", "data", data_dir, "lock", file,
                                                 "reason", "a Solo runs there: stop it")
                                   : status;
}

static enum status restore(const struct settings *settings, const struct options *options)
{
    bool has[COUNT_OF(schemas)] = { false };
    AUTO(locks_release) struct locks locks = { FILE_LOCK_NONE, {} };
    for (size_t i = 0; i < COUNT_OF(schemas); i++)
        locks.leases[i] = (struct file_lock)FILE_LOCK_NONE;
    TRY(read_manifest(options->backup_dir, has));
    for (size_t i = 0; i < COUNT_OF(schemas) && options->only != NULL; i++) {
        bool is_it = strcmp(schemas[i]->name, options->only) == 0;
        if (is_it && !has[i])
            return refuse(options->backup_dir, "it has no such store");
        has[i] = is_it;
    }
    TRY(directory_make(settings->data_dir, 0755));
    TRY(take_lock(settings->data_dir, "solod", &locks.solod));
    for (size_t i = 0; i < COUNT_OF(schemas); i++)
        if (has[i])
            TRY(take_lock(settings->data_dir, schemas[i]->name, &locks.leases[i]));
    TRY(restore_all(options->backup_dir, settings->data_dir, options->only, has));
    if (options->output == OUTPUT_JSON)
        printf("{\"kind\": \"restore\"}\n");
    else
        printf("The backup is in its place. Put the vault's key there too, if it is not, and start "
               "Solo: recovery brings the services back. Then `recoveryd verify --full`.\n");
    return STATUS_OK;
}

int restore_command(const struct settings *settings, const struct options *options)
{
    return status_exit_code(restore(settings, options));
}
