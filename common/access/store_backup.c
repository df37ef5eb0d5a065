/* The child is waited for by its pidfd, like every other. */
#include "common/access/store_backup.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/copy.h"

static enum status reap(struct store_backup *backup)
{
    int result = 0;
    while (waitpid(backup->pid, &result, 0) < 0 && errno == EINTR) {
    }
    ev_io_stop(backup->loop, &backup->on_exit);
    fd_close(&backup->pidfd);
    backup->pid = 0;
    return db_probe_judge(backup->to, result);
}

static void fail(struct store_backup *backup, enum status status)
{
    struct problem problem = { 0 };
    problem_set(&problem, status, "dir", "%s was not made (%s); see the daemon's diagnostics",
                backup->to, status_text(status));
    rpc_call_fail(backup->call, status, &problem);
}

static void on_copied(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop, (void)events;
    struct store_backup *backup = watcher->data;
    char path[4096];
    struct stat file;
    enum status status = reap(backup);
    if (status == STATUS_OK &&
        (path_join(path, backup->to, "data.mdb") != STATUS_OK || stat(path, &file) < 0))
        status = log_failure(STATUS_INTERNAL, "look at the copy of a store", "dir", backup->to,
                             "reason", strerror(errno));
    if (status != STATUS_OK) {
        fail(backup, status);
        return;
    }
    log_info("store copied", "to", backup->to, "bytes", NUMBER(file.st_size));
    backup->answer(backup->call, (uint64_t)file.st_size);
}

void store_backup_open(struct store_backup *backup, struct ev_loop *loop, struct db *db)
{
    *backup = (struct store_backup){ .loop = loop, .db = db, .pidfd = -1 };
    backup->on_exit.data = backup;
}

void store_backup_close(struct store_backup *backup)
{
    if (backup->pid == 0)
        return;
    kill(backup->pid, SIGKILL);
    (void)reap(backup);
    directory_remove(backup->to);
    fail(backup, STATUS_CANCELLED);
}

enum status store_backup_begin(struct store_backup *backup, struct rpc_call *call, const char *dir,
                               void (*answer)(struct rpc_call *call, uint64_t bytes))
{
    struct stat there;
    if (backup->db == NULL)
        return problem_set(&call->problem, STATUS_FAILED_PRECONDITION, "",
                           "the store is not open yet");
    if (backup->pid != 0)
        return problem_set(&call->problem, STATUS_FAILED_PRECONDITION, "",
                           "another backup of this store is under way");
    if (dir[0] != '/' || stat(dir, &there) < 0 || !S_ISDIR(there.st_mode))
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "dir",
                           "must be the absolute path of a directory that is there");
    TRY(path_join(backup->to, dir, backup->db->schema->name));
    if (lstat(backup->to, &there) == 0)
        return problem_set(&call->problem, STATUS_ALREADY_EXISTS, "dir",
                           "%s is there: a backup goes into an empty directory", backup->to);
    TRY(db_copy_start(backup->db->schema, backup->db->dir, backup->to, &backup->pid,
                      &backup->pidfd));
    ev_io_init(&backup->on_exit, on_copied, backup->pidfd, EV_READ);
    ev_io_start(backup->loop, &backup->on_exit);
    backup->call = call;
    backup->answer = answer;
    rpc_call_defer(call);
    return STATUS_OK;
}
