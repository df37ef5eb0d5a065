/* The machine's own limits. */
#include "bench/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
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

enum {
    PAGE_BYTES = 4096,
    FILE_PAGES = 1024,
    META_BYTES = 120,
    LMDB_AHEAD_BYTES = 16 * 1024 * 1024,
    LMDB_MAP_BYTES = 1024 * 1024 * 1024,
    LMDB_ROW_BYTES_MAX = 1024,
};

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

/* --- LMDB --- */

static void lmdb_check(int rc, const char *what)
{
    if (rc != 0)
        test_fail("LMDB: %s: %s", what, mdb_strerror(rc));
}

static MDB_env *lmdb_create(const char *path)
{
    static const char zeros[64 * 1024];
    MDB_env *env;
    mdb_filehandle_t fd;
    lmdb_check(mdb_env_create(&env), "create");
    lmdb_check(mdb_env_set_mapsize(env, LMDB_MAP_BYTES), "size of the map");
    lmdb_check(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0600), path);
    lmdb_check(mdb_env_get_fd(env, &fd), "descriptor");
    off_t end = lseek(fd, 0, SEEK_END);
    for (; end >= 0 && end < LMDB_AHEAD_BYTES; end += (off_t)sizeof zeros)
        if (pwrite(fd, zeros, sizeof zeros, end) != sizeof zeros)
            test_fail("cannot write %s: %s", path, strerror(errno));
    fsync(fd);
    return env;
}

/* One commit of one row, as an event log makes it. */
static void lmdb_append(MDB_env *env, uint64_t number, size_t row_bytes)
{
    static const char row[LMDB_ROW_BYTES_MAX] = "row";
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    MDB_val key = { sizeof bytes, bytes }, value = { row_bytes, (void *)(uintptr_t)row };
    MDB_txn *txn;
    MDB_dbi table;
    lmdb_check(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    lmdb_check(mdb_dbi_open(txn, NULL, 0, &table), "table");
    lmdb_check(mdb_put(txn, table, &key, &value, MDB_APPEND), "put");
    lmdb_check(mdb_txn_commit(txn), "commit");
}

double machine_sequential_mib(const char *dir, double mib)
{
    static uint8_t block[1 << 20];
    char path[4096];
    snprintf(path, sizeof path, "%s/sequential", dir);
    memset(block, 0x5a, sizeof block);
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    double begin = machine_now();
    for (size_t blocks = (size_t)mib; blocks > 0; blocks--)
        if (fd < 0 || fd_write_all(fd, span_of(block, sizeof block)) != STATUS_OK)
            test_fail("cannot write %s", path);
    if (fsync(fd) != 0)
        test_fail("cannot sync %s", path);
    double took = machine_now() - begin;
    unlink(path);
    return mib / took;
}

double machine_lmdb_commits(const char *dir, size_t row_bytes, double seconds)
{
    if (row_bytes > LMDB_ROW_BYTES_MAX)
        test_fail("a row has at most %d bytes", LMDB_ROW_BYTES_MAX);
    char path[4096];
    snprintf(path, sizeof path, "%s/lmdb", dir);
    MDB_env *env = lmdb_create(path);
    double begin = machine_now(), end;
    uint64_t commits = 0;
    do {
        lmdb_append(env, ++commits, row_bytes);
        end = machine_now();
    } while (end - begin < seconds);
    mdb_env_close(env);
    unlink(path);
    return (double)commits / (end - begin);
}

/* --- processes --- */

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

double machine_processor_seconds(int pid)
{
    clockid_t clock;
    struct timespec time;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0)
        test_fail("the processor time of %d cannot be read", pid);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

double machine_busy_seconds(void)
{
    unsigned long long user, nice, system, idle, waiting, interrupts, softly;
    FILE *file = fopen("/proc/stat", "re");
    if (file == NULL || fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu", &user, &nice,
                               &system, &idle, &waiting, &interrupts, &softly) != 7)
        test_fail("/proc/stat cannot be read");
    fclose(file);
    return (double)(user + nice + system + interrupts + softly) / (double)sysconf(_SC_CLK_TCK);
}
