/* LMDB copies "successfully" what is damaged, so that a copy counts only after it was read. */
#include "common/db/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/fault.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/environment.h"
#include "common/db/lmdb_status.h"
#include "common/db/store_child.h"
#include "common/db/table.h"

static enum status failure(const char *what, const char *path)
{
    int error = errno;
    return log_failure(status_from_errno(error), what, "path", path, "reason", strerror(error));
}

enum status db_copy_start(const struct db_schema *schema, const char *from, const char *to,
                          pid_t *pid, int *pidfd)
{
    const char *const arguments[] = { "store-copy", "--copy-store", schema->name, from, to, NULL };
    TRY(store_child_start(arguments, from, pid));
    return store_child_watch(*pid, from, pidfd);
}

/* --- the child --- */

static enum status sync_copy(const char *to)
{
    char path[4096];
    TRY(path_join(path, to, "data.mdb"));
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return failure("sync the copy of a store", path);
    return environment_sync_directory(to);
}

static enum status copy(const struct db_schema *schema, const char *from, const char *to)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    TRY(environment_open(&db, schema, from, MDB_RDONLY));
    fault_point("copy.before_copy");
    int rc = mdb_env_copy2(db.env, to, MDB_CP_COMPACT);
    if (rc != 0)
        return log_failure(status_from_lmdb(rc), "copy store", "from", from, "to", to, "reason",
                           mdb_strerror(rc));
    return sync_copy(to);
}

/* The probe leaves large tables alone; a copy is read whole. */
static enum status verify_tables(const struct db_schema *schema, const char *to)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(environment_open(&db, schema, to, MDB_RDONLY | MDB_NOLOCK));
    TRY(environment_open_for_reading(&db));
    TRY(db_begin_read(&db, &txn));
    for (unsigned i = 0; i < schema->table_count; i++)
        if (schema->tables[i].flags & TABLE_DIGEST)
            TRY(table_verify(&txn, i));
    return STATUS_OK;
}

static enum status copy_and_check(const struct db_schema *schema, const char *from, const char *to,
                                  enum status (*check_rows)(struct db *db))
{
    TRY(copy(schema, from, to));
    TRY(db_probe_here(schema, to, check_rows));
    return verify_tables(schema, to);
}

int db_copy_main(const struct db_schema *schema, const char *from, const char *to,
                 enum status (*check_rows)(struct db *db))
{
    log_setup("store-copy", LOG_LEVEL_INFO);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    store_child_step_back();
    umask(077);
    if (mkdir(to, 0700) < 0)
        return status_exit_code(failure("make the folder of a copy", to));
    enum status status = copy_and_check(schema, from, to, check_rows);
    if (status != STATUS_OK)
        directory_remove(to);
    return status_exit_code(status);
}

/* --- putting back --- */

enum status db_renew_incarnation(const struct db_schema *schema, const char *dir)
{
    {
        AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
        AUTO(db_end) struct db_txn txn = { 0 };
        TRY(environment_open(&db, schema, dir, 0));
        db.is_writer = true;
        TRY(db_begin_write(&db, &txn));
        TRY(environment_open_tables(&db, txn.txn, 0));
        TRY(environment_read_identity(&db, &txn));
        TRY(environment_renew_incarnation(&db, &txn));
        TRY(db_commit(&txn));
        int rc = mdb_env_sync(db.env, 1);
        if (rc != 0)
            return log_failure(status_from_lmdb(rc), "sync store", "dir", dir, "reason",
                               mdb_strerror(rc));
        TRY(environment_set_modes(schema, dir));
    }
    return environment_sync_directory(dir);
}
