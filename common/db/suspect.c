/* The handler only makes an empty file, which a handler may, and leaves the rest to whoever was
 * there before it: the kernel, or a sanitizer. */
#include "common/db/suspect.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/db/walk.h"

enum { DEADLY = 4 };
static const int deadly[DEADLY] = { SIGBUS, SIGSEGV, SIGFPE, SIGABRT };
static struct sigaction before[DEADLY];
static char mark[4096 + 16];

static void name_mark(char path[sizeof mark], const char *dir)
{
    snprintf(path, sizeof mark, "%s.suspect", dir);
}

static void on_deadly(int number, siginfo_t *info, void *context)
{
    (void)context;
    int fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0)
        close(fd);
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

enum status suspect_check(const struct db_schema *schema, const char *dir)
{
    char path[sizeof mark];
    name_mark(path, dir);
    if (access(path, F_OK) < 0)
        return STATUS_OK;
    log_warning("its last owner died while it had the store open: every row is read first", "dir",
                dir);
    TRY(db_walk(schema, dir, WALK_ALONE));
    return unlink(path) == 0 || errno == ENOENT
               ? STATUS_OK
               : log_failure(status_from_errno(errno), "remove", "path", path, "reason",
                             strerror(errno));
}
