/* Creation of a store. LMDB never creates the final name in place: a power cut in the middle of
 * that leaves a file that never opens again. */
#include "common/db/create.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/fault.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/environment.h"
#include "common/db/lmdb_status.h"

/* An absent directory and an empty one (made by a package, say) are both no store. */
static enum status is_absent(const char *dir, bool *is_there)
{
    DIR *directory = opendir(dir);
    if (directory == NULL && errno != ENOENT)
        return errno_failure("open directory", dir);
    *is_there = false;
    bool has_data = false;
    for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        *is_there = true;
        has_data = has_data || strcmp(entry->d_name, "data.mdb") == 0;
    }
    if (directory != NULL)
        closedir(directory);
    if (*is_there && !has_data)
        return log_failure(STATUS_DATA_LOSS, "open database", "dir", dir, "reason",
                           "data.mdb is missing from a store that was there");
    return STATUS_OK;
}

/* Fills a new store; closed again before it is renamed, so that no environment moves. */
static enum status create_in(const struct db_schema *schema, const char *dir, const uint8_t *id,
                             enum status (*fill)(struct db *db, void *context), void *context)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    TRY(environment_open(&db, schema, dir, schema->is_durable ? 0 : MDB_NOSYNC));
    db.is_writer = true;
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_write(&db, &txn));
    TRY(environment_make_tables(&db, txn.txn));
    TRY(environment_write_identity(&db, &txn, id));
    TRY(db_put_clean(&txn));
    TRY(db_commit(&txn));
    db.is_marked_clean = false; /* whatever fills it, it is new to its writer */
    if (fill != NULL)
        TRY(fill(&db, context));
    int rc = schema->is_durable ? mdb_env_sync(db.env, 1) : 0;
    if (rc != 0)
        return log_failure(status_from_lmdb(rc), "sync new store", "dir", dir, "reason",
                           mdb_strerror(rc));
    return environment_set_modes(schema, dir);
}

/* Whoever prepared an empty directory chose its group: who may read the map. */
static enum status give_to_group_of(const struct db_schema *schema, const char *store,
                                    const char *prepared)
{
    static const char *const files[] = { "data.mdb", "lock.mdb" };
    char path[4096];
    struct stat before;
    if (stat(prepared, &before) < 0 || chown(store, (uid_t)-1, before.st_gid) < 0)
        return STATUS_OK; /* nobody prepared one, or the group is none of ours */
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        TRY(path_join(path, store, files[i]));
        if (chown(path, (uid_t)-1, before.st_gid) < 0)
            return errno_failure("set group", path);
    }
    return environment_set_modes(schema, store); /* a change of group may clear bits */
}

enum status store_create_if_absent(const struct db_schema *schema, const char *dir)
{
    bool is_there;
    TRY(is_absent(dir, &is_there));
    if (is_there)
        return STATUS_OK;

    char beside[4096], parent[4096];
    if ((size_t)snprintf(beside, sizeof beside, "%s.new", dir) >= sizeof beside)
        return log_failure(STATUS_INVALID_ARGUMENT, "create store", "dir", dir, "reason",
                           "the path is too long");
    TRY(environment_parent(parent, dir));
    TRY(directory_make(parent, 0755));
    TRY(directory_remove(beside));
    TRY(directory_make(beside, schema->is_private ? 0700 : 0750));
    TRY(create_in(schema, beside, NULL, NULL, NULL));

    TRY(give_to_group_of(schema, beside, dir));
    if (schema->is_durable)
        TRY(directory_sync(beside));
#ifdef SOLO_FAULTS
    char point[64];
    snprintf(point, sizeof point, "%s.before_rename", schema->owner);
    fault_point(point);
#endif
    if (rename(beside, dir) < 0)
        return errno_failure("rename new store", beside);
    if (schema->is_durable)
        TRY(directory_sync(parent));
    log_info("store created", "dir", dir);
    return STATUS_OK;
}

enum status store_create_filled(const struct db_schema *schema, const char *dir,
                                const uint8_t id[16],
                                enum status (*fill)(struct db *db, void *context), void *context)
{
    TRY(directory_make(dir, schema->is_private ? 0700 : 0750));
    TRY(create_in(schema, dir, id, fill, context));
    return directory_sync(dir);
}
