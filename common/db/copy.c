/* LMDB copies "successfully" what is damaged, so that a copy counts only after it was read. */
#include "common/db/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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
#include "common/db/slices.h"
#include "common/db/store_child.h"
#include "common/db/table.h"

enum status db_copy_start(const struct db_schema *schema, const char *from, const char *to,
                          pid_t *pid, int *pidfd)
{
    const char *const arguments[] = { "store-copy", "--copy-store", schema->name, from, to, NULL };
    TRY(store_child_start(arguments, from, pid));
    return store_child_watch(*pid, from, pidfd);
}

/* --- the child --- */

/* LMDB, which writes into a pipe: to a file it would write a MiB at once. */
struct copier {
    struct db *db;
    int to;
    int rc; /* LMDB's */
};

static void *run_copier(void *context)
{
    struct copier *copier = context;
    copier->rc = mdb_env_copyfd2(copier->db->env, copier->to, MDB_CP_COMPACT);
    fd_close(&copier->to);
    return NULL;
}

/* When the file cannot be written, closing the pipe ends LMDB, too. */
static enum status copy_through_pipe(struct db *db, const char *to)
{
    char path[4096];
    int ends[2];
    pthread_t thread;
    TRY(path_join(path, to, "data.mdb"));
    if (pipe2(ends, O_CLOEXEC) < 0)
        return errno_failure("make a pipe", to);
    (void)fcntl(ends[1], F_SETPIPE_SZ, SLICE_BYTES); /* fewer turns; a small one does as well */
    AUTO(fd_close) int from = ends[0];
    struct copier copier = { .db = db, .to = ends[1] };
    errno = pthread_create(&thread, NULL, run_copier, &copier);
    if (errno != 0) {
        fd_close(&copier.to);
        return errno_failure("start a thread", to);
    }
    enum status status = slices_write(from, path);
    fd_close(&from);
    pthread_join(thread, NULL);
    if (status == STATUS_OK && copier.rc != 0)
        status = log_failure(status_from_lmdb(copier.rc), "copy store", "from", db->dir, "to", to,
                             "reason", mdb_strerror(copier.rc));
    return status;
}

static enum status copy(const struct db_schema *schema, const char *from, const char *to)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    TRY(environment_open(&db, schema, from, MDB_RDONLY));
    fault_point("copy.before_copy");
    usleep((useconds_t)fault_number("copy_us", schema->name, 0));
    TRY(copy_through_pipe(&db, to));
    return directory_sync(to);
}

/* The probe leaves large tables alone; a copy is read whole. */
static enum status verify_tables(const struct db_schema *schema, const char *to,
                                 walk_rows *check_rows)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    TRY(environment_open(&db, schema, to, MDB_RDONLY | MDB_NOLOCK));
    TRY(environment_open_for_reading(&db));
    for (unsigned i = 0; i < schema->table_count; i++) {
        AUTO(db_end) struct db_txn txn = { 0 };
        TRY(db_begin_read(&db, &txn));
        if (schema->tables[i].flags & TABLE_DIGEST)
            TRY(table_verify(&txn, i));
    }
    return check_rows == NULL ? STATUS_OK : check_rows(&db, 0, 2);
}

/* This process reads its half while the child reads the other. */
static enum status verify(const struct db_schema *schema, const char *to, walk_rows *check_rows)
{
    pid_t pid = 0;
    int result;
    TRY(db_probe_here(schema, to, NULL));
    if (check_rows != NULL)
        TRY(db_walk_start(schema, to, WALK_HALF_OF_COPY, &pid, NULL));
    enum status status = verify_tables(schema, to, check_rows);
    if (pid == 0)
        return status;
    if (status != STATUS_OK)
        kill(pid, SIGKILL);
    TRY(store_child_wait(pid, to, &result));
    return status != STATUS_OK ? status : db_probe_judge(to, result);
}

static enum status copy_and_check(const struct db_schema *schema, const char *from, const char *to,
                                  walk_rows *check_rows)
{
    TRY(copy(schema, from, to));
    return verify(schema, to, check_rows);
}

int db_copy_main(const struct db_schema *schema, const char *from, const char *to,
                 walk_rows *check_rows)
{
    log_setup("store-copy", LOG_LEVEL_INFO);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 1, 1 }); /* none at all: see lifecycle.c */
    store_child_step_back();
    umask(077);
    if (mkdir(to, 0700) < 0)
        return status_exit_code(errno_failure("make the folder of a copy", to));
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
        TRY(environment_open_tables(&db, &txn));
        TRY(environment_renew_incarnation(&db, &txn));
        TRY(db_commit(&txn));
        int rc = mdb_env_sync(db.env, 1);
        if (rc != 0)
            return log_failure(status_from_lmdb(rc), "sync store", "dir", dir, "reason",
                               mdb_strerror(rc));
        TRY(environment_set_modes(schema, dir));
    }
    return directory_sync(dir);
}
