/* Whose is a process? Follow its parents up: at a living main process the answer is that service,
 * at an orphan (our own child) it is what its mark or session says. */
#include "tenantd/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "common/base/log.h"

enum { LEFTOVER_WAIT_MS = 5000, LEFTOVER_STEP_MS = 5, ROUNDS_WITHOUT = 2 };

/* What was found out about one process; NOBODYS: an orphan of ours without an owner. */
enum kind { UNKNOWN, FOREIGN, OWNED, NOBODYS, STALE };
struct finding {
    enum kind kind;
    void *owner;
};

struct scan {
    struct tree *tree;
    const struct tree_services *services;
    struct process *processes;
    struct finding *findings;
    size_t count;
};

static void scan_close(struct scan *scan)
{
    free(scan->processes);
    free(scan->findings);
}

void tree_close(struct tree *tree)
{
    free(tree->strays);
    tree->strays = NULL;
    tree->stray_count = 0;
}

static struct process *find(struct process *processes, size_t count, pid_t pid)
{
    for (size_t low = 0, high = count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (processes[middle].pid == pid)
            return &processes[middle];
        if (processes[middle].pid < pid)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static struct finding classify_orphan(struct scan *scan, const struct process *process)
{
    const struct tree_services *services = scan->services;
    char mark[PROCESS_MARK_BYTES];
    bool is_marked = process_mark(scan->tree->proc_fd, process->pid, scan->tree->mark_prefix, mark);
    void *owner = is_marked ? services->by_mark(services->context, mark) : NULL;
    if (owner != NULL)
        return (struct finding){ OWNED, owner };
    /* Of an instance that nothing holds any more. */
    if (is_marked)
        return (struct finding){ STALE, NULL };
    owner = services->by_session(services->context, process->session);
    return (struct finding){ owner != NULL ? OWNED : NOBODYS, owner };
}

/* What a process is by itself; UNKNOWN: the same as its parent. */
static struct finding classify(struct scan *scan, const struct process *process)
{
    const struct tree *tree = scan->tree;
    void *owner = scan->services->by_main(scan->services->context, process->pid);
    if (owner != NULL)
        return (struct finding){ OWNED, owner };
    if (process->pid == tree->self)
        return (struct finding){ FOREIGN, NULL };
    if (process->parent == tree->self)
        return classify_orphan(scan, process);
    /* Parent 0: the host's init or kernel, or somebody who entered our namespace from outside. */
    if (process->parent == 0)
        return (struct finding){ FOREIGN, NULL };
    if (find(scan->processes, scan->count, process->parent) == NULL)
        /* Its parent died while we looked; the next round sees where it went. */
        return tree->is_own_namespace ? classify_orphan(scan, process)
                                      : (struct finding){ FOREIGN, NULL };
    return (struct finding){ UNKNOWN, NULL };
}

/* Up the parents until something is known, then down again: no recursion, a tenant decides how
 * deep. */
static struct finding resolve(struct scan *scan, size_t index)
{
    struct finding finding = { FOREIGN, NULL };
    size_t top = index;
    for (size_t steps = 0; steps <= scan->count; steps++) {
        if (scan->findings[top].kind == UNKNOWN)
            scan->findings[top] = classify(scan, &scan->processes[top]);
        finding = scan->findings[top];
        if (finding.kind != UNKNOWN)
            break;
        struct process *parent = find(scan->processes, scan->count, scan->processes[top].parent);
        top = (size_t)(parent - scan->processes);
    }
    if (finding.kind == UNKNOWN) /* a circle, from pids that were reused while we looked */
        finding.kind = FOREIGN;
    for (size_t below = index; scan->findings[below].kind == UNKNOWN;) {
        scan->findings[below] = finding;
        struct process *parent = find(scan->processes, scan->count, scan->processes[below].parent);
        below = (size_t)(parent - scan->processes);
    }
    return finding;
}

static bool was_stray(const struct tree *tree, const struct process *process)
{
    const struct process *before = find(tree->strays, tree->stray_count, process->pid);
    return before != NULL && before->start_ticks == process->start_ticks;
}

static void act(struct scan *scan, const struct process *process, struct finding finding,
                struct process *strays, size_t *stray_count)
{
    const struct tree_services *services = scan->services;
    if (finding.kind == FOREIGN || services->by_main(services->context, process->pid) != NULL)
        return;
    if (finding.kind == OWNED) {
        if (services->must_end(services->context, finding.owner))
            process_kill(scan->tree->proc_fd, process);
        return;
    }
    strays[(*stray_count)++] = *process;
    if (finding.kind == STALE || was_stray(scan->tree, process))
        process_kill(scan->tree->proc_fd, process);
}

enum status tree_round(struct tree *tree, const struct tree_services *services, size_t *strays)
{
    AUTO(scan_close) struct scan scan = { .tree = tree, .services = services };
    TRY(processes_read(tree->proc_fd, &scan.processes, &scan.count));
    scan.findings = calloc(scan.count + 1, sizeof *scan.findings);
    struct process *found = calloc(scan.count + 1, sizeof *found);
    if (scan.findings == NULL || found == NULL) {
        free(found);
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "look for processes", "reason", "memory");
    }
    size_t count = 0;
    for (size_t i = 0; i < scan.count; i++)
        act(&scan, &scan.processes[i], resolve(&scan, i), found, &count);
    tree_close(tree);
    if (count == 0) {
        free(found);
        found = NULL;
    }
    tree->strays = found;
    tree->stray_count = count;
    *strays = count;
    return STATUS_OK;
}

static void directory_close(DIR **directory)
{
    if (*directory != NULL)
        closedir(*directory);
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
