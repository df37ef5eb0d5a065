/* The child is waited for by its pidfd, like every other. */
#include "common/access/store_walk.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/probe.h"
#include "common/db/walk.h"

enum { FIRST_WALK_S = 2, NEXT_WALK_S = 24 * 60 * 60 };

static struct {
    struct ev_loop *loop; /* NULL: not open */
    struct db *db;
    struct ev_timer timer;
    struct ev_io on_exit;
    pid_t pid; /* 0: none runs */
    int pidfd;
} walk = { .pidfd = -1 };

/* What waitpid says of it. */
static int reap(void)
{
    int result = 0;
    while (waitpid(walk.pid, &result, 0) < 0 && errno == EINTR) {
    }
    ev_io_stop(walk.loop, &walk.on_exit);
    fd_close(&walk.pidfd);
    walk.pid = 0;
    return result;
}

static void on_walked(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)watcher, (void)events;
    int result = reap();
    bool was_away = WIFEXITED(result) && WEXITSTATUS(result) == status_exit_code(STATUS_NOT_FOUND);
    if (was_away || db_check_same_file(walk.db) != STATUS_OK) {
        /* Its folder was moved, or its disk unmounted: nothing, or another file, was read. */
        ev_timer_stop(loop, &walk.timer);
        ev_timer_set(&walk.timer, FIRST_WALK_S, NEXT_WALK_S);
        ev_timer_start(loop, &walk.timer);
        return;
    }
    enum status status = db_probe_judge(walk.db->dir, result);
    if (db_note(walk.db, status) == STATUS_DATA_LOSS)
        log_error("the store is damaged in places; what is whole goes on", "dir", walk.db->dir,
                  "next", "`recoveryd verify --full` names them");
}

static void on_due(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)timer, (void)events;
    if (walk.pid != 0)
        return;
    if (db_walk_start(walk.db->schema, walk.db->dir, WALK_BESIDE_WRITER, &walk.pid, &walk.pidfd) !=
        STATUS_OK) {
        walk.pid = 0; /* logged there; the next one is tomorrow */
        return;
    }
    ev_io_init(&walk.on_exit, on_walked, walk.pidfd, EV_READ);
    ev_io_start(loop, &walk.on_exit);
}

void store_walk_open(struct ev_loop *loop, struct db *db)
{
    walk.loop = loop;
    walk.db = db;
    ev_timer_init(&walk.timer, on_due, FIRST_WALK_S, NEXT_WALK_S);
    ev_timer_start(loop, &walk.timer);
}

void store_walk_close(void)
{
    if (walk.loop == NULL)
        return;
    ev_timer_stop(walk.loop, &walk.timer);
    if (walk.pid != 0) {
        kill(walk.pid, SIGKILL);
        (void)reap();
    }
    walk.loop = NULL;
}
