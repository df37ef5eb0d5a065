/* The handler only makes an empty file, which a handler may, and leaves the rest to whoever was
 * there before it: the kernel, or a sanitizer. */
#include "common/db/suspect.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/probe.h"
#include "common/db/store_child.h"
#include "common/db/walk.h"

/* Less than a start may take. */
enum { DEADLY = 4, READING_SECONDS_MAX = 45 };
static const int deadly[DEADLY] = { SIGBUS, SIGSEGV, SIGFPE, SIGABRT };
static struct sigaction before[DEADLY];
static char mark[4096 + 16];

static void name_mark(char path[sizeof mark], const char *dir)
{
    snprintf(path, sizeof mark, "%s.suspect", dir);
}

static int make_mark(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 ? -1 : close(fd);
}

static void on_deadly(int number, siginfo_t *info, void *context)
{
    (void)context;
    /* What another process sends (a watchdog) says nothing about the store. */
    if (info->si_code > 0 || info->si_pid == getpid())
        make_mark(mark);
    for (size_t i = 0; i < DEADLY; i++)
        if (deadly[i] == number)
            sigaction(number, &before[i], NULL);
    /* An access that cannot be is done again; what somebody sent is not. */
    if (info->si_code <= 0)
        raise(number);
}

void suspect_guard(const char *dir)
{
    struct sigaction action = { .sa_sigaction = on_deadly, .sa_flags = SA_SIGINFO };
    if (mark[0] != '\0')
        return;
    name_mark(mark, dir);
    for (size_t i = 0; i < DEADLY; i++)
        sigaction(deadly[i], &action, &before[i]);
}

/* Only what ends the child would end its parent. Rows that are damaged in places, or were not
 * reached in time, are found again by the walk beside the writer. */
static enum status read_every_row(const struct db_schema *schema, const char *dir)
{
    AUTO(fd_close) int pidfd = -1;
    pid_t pid;
    int result;
    TRY(db_walk_start(schema, dir, WALK_ALONE, &pid, &pidfd));
    TRY(store_child_wait_at_most(pid, pidfd, dir, READING_SECONDS_MAX, &result));
    enum status status = db_probe_judge(dir, result);
    if (status == STATUS_OK || (status == STATUS_DATA_LOSS && WIFSIGNALED(result)))
        return status;
    log_warning("it is opened although not every row could be read: what is damaged is refused",
                "dir", dir);
    return STATUS_OK;
}

/* Whether the mark was made soon after a walk had found nothing that ends who opens the store. */
static bool is_suspect_again(const char *path, const char *walked)
{
    struct stat marked, read;
    return stat(path, &marked) == 0 && stat(walked, &read) == 0 &&
           marked.st_mtime >= read.st_mtime &&
           marked.st_mtime - read.st_mtime <= SUSPECT_AGAIN_SECONDS;
}

/* Anew, whatever was there: its time is what counts. */
static enum status note_walk(const char *walked)
{
    if ((unlink(walked) == 0 || errno == ENOENT) && make_mark(walked) == 0)
        return STATUS_OK;
    int error = errno;
    return log_failure(status_from_errno(error), "create", "path", walked, "reason",
                       strerror(error));
}

enum status suspect_check(const struct db_schema *schema, const char *dir)
{
    char path[sizeof mark], walked[sizeof mark];
    name_mark(path, dir);
    if (access(path, F_OK) < 0)
        return STATUS_OK;
    snprintf(walked, sizeof walked, "%s/walked", dir);
    if (is_suspect_again(path, walked))
        return log_failure(STATUS_DATA_LOSS, "open database", "dir", dir, "reason",
                           "its last two owners died while they had it open, and reading every "
                           "row has not found why",
                           "next",
                           "when `recoveryd verify --full` finds it whole remove the mark, a file "
                           "beside its folder with the ending .suspect");
    log_warning("its last owner died while it had the store open: every row is read first", "dir",
                dir);
    /* First of all, so that a start that is cut off is not followed by the same for ever. */
    if (unlink(path) < 0 && errno != ENOENT)
        return log_failure(status_from_errno(errno), "remove", "path", path, "reason",
                           strerror(errno));
    enum status status = read_every_row(schema, dir);
    if (status == STATUS_OK)
        status = note_walk(walked);
    if (status == STATUS_DATA_LOSS && make_mark(path) < 0)
        log_failure(status_from_errno(errno), "create", "path", path, "reason", strerror(errno));
    return status;
}
