/* The machine's own limits. */
#include "bench/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "tests/support/command.h"

enum { PAGE_BYTES = 4096, FILE_PAGES = 1024, META_BYTES = 120 };

double machine_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

double machine_synced_pairs(const char *dir, double seconds)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/synced", dir);
    char page[PAGE_BYTES] = { 0 };
    AUTO(fd_close) int data = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    AUTO(fd_close) int meta = open(path, O_WRONLY | O_DSYNC | O_CLOEXEC);
    for (int i = 0; i < FILE_PAGES; i++)
        if (pwrite(data, page, sizeof page, (off_t)i * PAGE_BYTES) != sizeof page)
            test_fail("cannot write %s: %s", path, strerror(errno));
    fsync(data);
    double begin = machine_now(), end;
    long pairs = 0;
    do {
        memset(page, (int)pairs, sizeof page);
        if (pwrite(data, page, sizeof page, (off_t)(2 + pairs % (FILE_PAGES - 2)) * PAGE_BYTES) !=
                sizeof page ||
            fdatasync(data) != 0 ||
            pwrite(meta, page, META_BYTES, pairs % 2 * PAGE_BYTES) != META_BYTES)
            test_fail("cannot overwrite %s: %s", path, strerror(errno));
        pairs++;
        end = machine_now();
    } while (end - begin < seconds);
    unlink(path);
    return (double)pairs / (end - begin);
}

static void echo_until_closed(int fd)
{
    char byte;
    while (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1)
        continue;
    _exit(0);
}

double machine_round_trips(double seconds)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        test_fail("socketpair: %s", strerror(errno));
    pid_t echo = fork();
    if (echo < 0)
        test_fail("fork: %s", strerror(errno));
    if (echo == 0) {
        close(ends[0]);
        echo_until_closed(ends[1]);
    }
    close(ends[1]);
    double begin = machine_now(), end;
    long count = 0;
    char byte = 0;
    do {
        if (write(ends[0], &byte, 1) != 1 || read(ends[0], &byte, 1) != 1)
            test_fail("no echo: %s", strerror(errno));
        count++;
        end = machine_now();
    } while (end - begin < seconds);
    close(ends[0]);
    waitpid(echo, NULL, 0);
    return (double)count / (end - begin);
}

double machine_spawn_seconds(const char *const *argv, size_t count)
{
    static const char *const environment[] = { "PATH=/usr/local/bin:/usr/bin:/bin", NULL };
    pid_t *pids = calloc(count, sizeof *pids);
    if (pids == NULL)
        test_fail("out of memory");
    double begin = machine_now();
    for (size_t i = 0; i < count; i++) {
        int rc = posix_spawn(&pids[i], argv[0], NULL, NULL, (char *const *)argv,
                             (char *const *)environment);
        if (rc != 0)
            test_fail("cannot start %s: %s", argv[0], strerror(rc));
    }
    double took = machine_now() - begin;
    for (size_t i = 0; i < count; i++)
        kill(pids[i], SIGKILL);
    for (size_t i = 0; i < count; i++)
        waitpid(pids[i], NULL, 0);
    free(pids);
    return took;
}

int machine_spawn_writer(const char *const *argv, int output)
{
    static const char *const environment[] = { "PATH=/usr/local/bin:/usr/bin:/bin", NULL };
    posix_spawn_file_actions_t actions;
    pid_t pid;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    int rc =
        posix_spawn(&pid, argv[0], &actions, NULL, (char *const *)argv, (char *const *)environment);
    posix_spawn_file_actions_destroy(&actions);
    if (rc != 0)
        test_fail("cannot start %s: %s", argv[0], strerror(rc));
    return pid;
}
