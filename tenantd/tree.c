/* Whose is a child that we did not start? Its mark or session says it. A verdict holds for one
 * turn; longer is known only since when an orphan is watched. */
#include "tenantd/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"

enum { LEFTOVER_WAIT_MS = 5000, LEFTOVER_STEP_MS = 5, ROUNDS_WITHOUT = 2 };
static const uint64_t EXEC_NS_MAX = 1000000000u, /* one that stays within its exec is a stray */
    DYING_NS_MAX = 5000000000u; /* one that does not die of SIGKILL runs no code any more */

/* EXECUTING: without an environment for a moment, to be looked at again. */
enum verdict { OWNED, STRAY, EXECUTING };
struct orphan {
    struct process process;
    enum verdict verdict;
    void *owner;
    bool is_killed;
    uint64_t since_ns; /* it has the verdict */
    uint64_t turn;     /* that the verdict is of */
};

static void pids_close(pid_t **pids)
{
    free(*pids);
}

void tree_close(struct tree *tree)
{
    free(tree->orphans);
    tree->orphans = NULL;
    tree->orphan_count = 0;
}

void tree_begin(struct tree *tree)
{
    tree->turn++;
}

static enum verdict judge(const struct tree *tree, const struct tree_services *services,
                          const struct process *process, void **owner)
{
    char mark[PROCESS_MARK_BYTES];
    enum mark_look look = process_look(tree->proc_fd, process->pid, tree->mark_prefix, mark);
    if (look != MARK_FOUND) {
        *owner = services->by_session(services->context, process->session);
        if (*owner != NULL)
            return OWNED;
    }
    if (look == MARK_EMPTY) {
        if (process_is_within_exec(tree->proc_fd, process->pid))
            return EXECUTING;
        look = process_look(tree->proc_fd, process->pid, tree->mark_prefix, mark);
    }
    /* A mark of an instance that nothing holds any more is nobody's, too. */
    *owner = look == MARK_FOUND ? services->by_mark(services->context, mark) : NULL;
    return *owner != NULL ? OWNED : STRAY;
}

static void examine(const struct tree *tree, const struct tree_services *services,
                    struct orphan *orphan, const struct orphan *before)
{
    struct process *process = &orphan->process;
    uint64_t now_ns = clock_boottime_ns();
    void *owner = NULL;
    orphan->verdict = judge(tree, services, process, &owner);
    orphan->owner = owner;
    orphan->turn = tree->turn;
    orphan->since_ns = now_ns;
    if (before == NULL || before->process.start_ticks != process->start_ticks)
        return;
    if (before->verdict == orphan->verdict)
        orphan->since_ns = before->since_ns;
    if (orphan->verdict == EXECUTING && now_ns - orphan->since_ns > EXEC_NS_MAX)
        orphan->verdict = STRAY;
}

/* Our own child, not reaped: its number means nobody else. */
static void act(struct orphan *orphan, bool must_end, struct tree_left *left)
{
    bool is_stuck = orphan->is_killed && clock_boottime_ns() - orphan->since_ns > DYING_NS_MAX;
    if (orphan->verdict != OWNED && !is_stuck)
        left->strays++;
    if (!must_end || orphan->is_killed)
        return;
    if (kill(orphan->process.pid, SIGKILL) < 0)
        log_failure(status_from_errno(errno), "kill", "pid", NUMBER(orphan->process.pid), "reason",
                    strerror(errno));
    orphan->is_killed = true;
    left->is_moving = true;
}

/* The list of the last look has the same order, so what is in both is met in passing. */
static const struct orphan *seen_before(const struct tree *tree, pid_t pid, size_t *at)
{
    for (size_t i = *at; i < tree->orphan_count; i++)
        if (tree->orphans[i].process.pid == pid) {
            *at = i + 1;
            return &tree->orphans[i];
        }
    return NULL;
}

enum status tree_look(struct tree *tree, const struct tree_services *services,
                      struct tree_left *left)
{
    AUTO(pids_close) pid_t *pids = NULL;
    size_t count, kept = 0, at = 0;
    TRY(children_read(tree->proc_fd, tree->is_without_list, &pids, &count));
    struct orphan *orphans = calloc(count + 1, sizeof *orphans);
    if (orphans == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "look for processes", "reason", "memory");
    *left = (struct tree_left){ 0 };
    for (size_t i = 0; i < count; i++) {
        if (services->is_started(services->context, pids[i]))
            continue;
        const struct orphan *before = seen_before(tree, pids[i], &at);
        struct orphan *orphan = &orphans[kept];
        if (waitpid(pids[i], NULL, WNOHANG) == pids[i]) {
            left->strays++;
            left->is_moving = true;
            continue;
        }
        if (before != NULL && before->turn == tree->turn && before->verdict != EXECUTING)
            *orphan = *before;
        else if (process_read(tree->proc_fd, pids[i], &orphan->process))
            examine(tree, services, orphan, before);
        else
            continue;
        kept++;
        bool must_end = orphan->verdict == STRAY;
        if (orphan->verdict == OWNED)
            must_end = services->must_end(services->context, orphan->owner);
        act(orphan, must_end, left);
    }
    tree_close(tree);
    tree->orphans = orphans;
    tree->orphan_count = kept;
    return STATUS_OK;
}

/* One round; the owner of /proc/PID tells most processes apart without reading their environment.
 */
static enum status leftover_round(int proc_fd, const char *mark_prefix, uid_t uid, size_t *found)
{
    int fd = openat(proc_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO(directory_close) DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL)
        return log_failure(status_from_errno(errno), "read /proc", "reason", strerror(errno));
    *found = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        pid_t pid = (pid_t)atoi(entry->d_name);
        struct stat stat;
        char mark[PROCESS_MARK_BYTES];
        struct process process;
        if (pid <= 1 || pid == getpid() || fstatat(proc_fd, entry->d_name, &stat, 0) < 0 ||
            stat.st_uid != uid || !process_read(proc_fd, pid, &process) || process.state == 'Z' ||
            !process_mark(proc_fd, pid, mark_prefix, mark))
            continue;
        (*found)++;
        process_kill(proc_fd, &process);
    }
    return STATUS_OK;
}

enum status tree_end_leftovers(int proc_fd, const char *mark_prefix, uid_t uid)
{
    size_t total = 0;
    for (int without = 0, waited_ms = 0; without < ROUNDS_WITHOUT;) {
        size_t found;
        TRY(leftover_round(proc_fd, mark_prefix, uid, &found));
        total += found;
        without = found == 0 ? without + 1 : 0;
        if (found == 0)
            continue;
        if (waited_ms >= LEFTOVER_WAIT_MS)
            return log_failure(STATUS_DEADLINE_EXCEEDED, "end leftovers", "mark", mark_prefix,
                               "reason", "processes do not die");
        /* At start only, before there is a loop. */
        nanosleep(&(struct timespec){ .tv_nsec = LEFTOVER_STEP_MS * 1000000 }, NULL);
        waited_ms += LEFTOVER_STEP_MS;
    }
    if (total > 0)
        log_info("ended what an earlier supervisor left", "mark", mark_prefix);
    return STATUS_OK;
}
