/* The child is waited for by its pidfd, like every other. The route has its program's context, so
 * that what is under way stands here, like what daemon_methods says. */
#include "common/access/store_backup.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/copy.h"

static struct {
    struct ev_loop *loop;
    struct db *db; /* NULL: there is nothing to copy */
    struct ev_io on_exit;
    pid_t pid; /* 0: none runs */
    int pidfd;
    struct rpc_call *call;
    char to[4096];
} backup = { .pidfd = -1 };

static enum status reap(void)
{
    int result = 0;
    while (waitpid(backup.pid, &result, 0) < 0 && errno == EINTR) {
    }
    ev_io_stop(backup.loop, &backup.on_exit);
    fd_close(&backup.pidfd);
    backup.pid = 0;
    return db_probe_judge(backup.to, result);
}

static void fail(enum status status)
{
    struct problem problem = { 0 };
    problem_set(&problem, status, "dir", "%s was not made (%s); see the daemon's diagnostics",
                backup.to, status_text(status));
    rpc_call_fail(backup.call, status, &problem);
}

static void on_copied(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop, (void)watcher, (void)events;
    char path[4096];
    struct stat file;
    enum status status = reap();
    if (status == STATUS_OK &&
        (path_join(path, backup.to, "data.mdb") != STATUS_OK || stat(path, &file) < 0))
        status = log_failure(STATUS_INTERNAL, "look at the copy of a store", "dir", backup.to,
                             "reason", strerror(errno));
    if (status != STATUS_OK) {
        fail(status);
        return;
    }
    log_info("store copied", "to", backup.to, "bytes", NUMBER(file.st_size));
    const struct store_backup_reply reply = { .bytes = (uint64_t)file.st_size };
    rpc_call_reply(backup.call, &reply);
}

void store_backup_open(struct ev_loop *loop, struct db *db)
{
    backup.loop = loop;
    backup.db = db;
}

void store_backup_close(void)
{
    if (backup.pid == 0)
        return;
    kill(backup.pid, SIGKILL);
    (void)reap();
    directory_remove(backup.to);
    fail(STATUS_CANCELLED);
}

enum status store_backup_route(void *context, struct rpc_call *call, const void *request,
                               void *reply)
{
    (void)context;
    const char *dir = ((const struct store_backup_request *)request)->dir;
    struct stat there;
    if (backup.db == NULL) {
        ((struct store_backup_reply *)reply)->bytes = 0;
        return STATUS_OK;
    }
    if (backup.pid != 0)
        return problem_set(&call->problem, STATUS_FAILED_PRECONDITION, "",
                           "another backup of this store is under way");
    if (dir[0] != '/' || stat(dir, &there) < 0 || !S_ISDIR(there.st_mode))
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "dir",
                           "must be the absolute path of a directory that is there");
    TRY(path_join(backup.to, dir, backup.db->schema->name));
    if (lstat(backup.to, &there) == 0)
        return problem_set(&call->problem, STATUS_ALREADY_EXISTS, "dir",
                           "%s is there: a backup goes into an empty directory", backup.to);
    TRY(db_copy_start(backup.db->schema, backup.db->dir, backup.to, &backup.pid, &backup.pidfd));
    ev_io_init(&backup.on_exit, on_copied, backup.pidfd, EV_READ);
    ev_io_start(backup.loop, &backup.on_exit);
    backup.call = call;
    rpc_call_defer(call);
    return STATUS_OK;
}
