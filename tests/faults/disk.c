/* The calls' names are the linker's: --wrap=X sends every call of X to __wrap_X. */
#include "tests/faults/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/base/ensure.h"

static struct {
    struct disk_op *ops;
    size_t count, capacity;
    char below[4096];
    bool is_on;
} record;

static struct {
    enum disk_call call;
    long due; /* 0: none */
    int error;
    bool was_met;
    long made[DISK_CALLS];
} failing;

/* --- recording --- */

static struct disk_op *op_add(enum disk_op_kind kind, const char *path)
{
    if (record.count == record.capacity) {
        record.capacity = record.capacity == 0 ? 1024 : 2 * record.capacity;
        record.ops = realloc(record.ops, record.capacity * sizeof *record.ops);
        ensure(record.ops != NULL);
    }
    struct disk_op *op = &record.ops[record.count++];
    *op = (struct disk_op){ .kind = kind, .path = strdup(path) };
    ensure(op->path != NULL);
    return op;
}

static bool is_below(const char *path)
{
    return record.is_on && strncmp(path, record.below, strlen(record.below)) == 0;
}

static bool path_of(int fd, char path[4096])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, 4095);
    path[size < 0 ? 0 : size] = '\0';
    return is_below(path);
}

static void note_write(int fd, const void *bytes, size_t size, uint64_t offset)
{
    char path[4096];
    if (size == 0 || !path_of(fd, path))
        return;
    bool is_synced = (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
    struct disk_op *op = op_add(is_synced ? DISK_WRITE_SYNCED : DISK_WRITE, path);
    op->offset = offset;
    op->size = size;
    op->bytes = malloc(size);
    ensure(op->bytes != NULL);
    memcpy(op->bytes, bytes, size);
}

static void note_sync(int fd)
{
    char path[4096];
    struct stat stat;
    if (path_of(fd, path) && fstat(fd, &stat) == 0)
        op_add(S_ISDIR(stat.st_mode) ? DISK_SYNC_FOLDER : DISK_SYNC, path);
}

void disk_record(const char *below)
{
    disk_forget();
    ensure(realpath(below, record.below) != NULL);
    record.is_on = true;
}

void disk_record_mark(uint64_t number)
{
    if (record.is_on)
        op_add(DISK_MARK, "")->offset = number;
}

void disk_record_end(void)
{
    record.is_on = false;
}

void disk_weaken(void)
{
    for (size_t i = 0; i < record.count; i++)
        if (record.ops[i].kind == DISK_WRITE_SYNCED)
            record.ops[i].kind = DISK_WRITE;
}

const struct disk_op *disk_ops(size_t *count)
{
    *count = record.count;
    return record.ops;
}

void disk_forget(void)
{
    for (size_t i = 0; i < record.count; i++) {
        free(record.ops[i].path);
        free(record.ops[i].to);
        free(record.ops[i].bytes);
    }
    free(record.ops);
    memset(&record, 0, sizeof record);
}

/* --- failing --- */

static const char *const call_names[DISK_CALLS] = {
    [CALL_PWRITE] = "pwrite", [CALL_WRITEV] = "writev", [CALL_FDATASYNC] = "fdatasync",
    [CALL_FSYNC] = "fsync",   [CALL_RENAME] = "rename",
};

const char *disk_call_name(enum disk_call call)
{
    return call_names[call];
}

void disk_fail(enum disk_call call, long due, int error)
{
    memset(&failing, 0, sizeof failing);
    failing.call = call;
    failing.due = due;
    failing.error = error;
}

bool disk_fail_end(void)
{
    failing.due = 0;
    return failing.was_met;
}

long disk_calls_made(enum disk_call call)
{
    return failing.made[call];
}

/* Whether this call is the one; `error` is then what is to come of it. */
static bool fails_now(enum disk_call call, int *error)
{
    failing.made[call]++;
    if (failing.call != call || failing.made[call] != failing.due)
        return false;
    failing.was_met = true;
    *error = failing.error;
    return true;
}

/* --- the calls --- */

ssize_t __real_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);
ssize_t __real_pwrite(int fd, const void *bytes, size_t size, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t offset);
ssize_t __real_writev(int fd, const struct iovec *parts, int count);
ssize_t __wrap_writev(int fd, const struct iovec *parts, int count);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_sync_file_range(int fd, off_t offset, off_t size, unsigned flags);
int __wrap_sync_file_range(int fd, off_t offset, off_t size, unsigned flags);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    int error;
    if (fails_now(CALL_PWRITE, &error)) {
        if (error != DISK_SHORT) {
            errno = error;
            return -1;
        }
        size = size > 1 ? size / 2 : size;
    }
    note_write(fd, bytes, size, (uint64_t)offset);
    return __real_pwrite(fd, bytes, size, offset);
}

/* What is written once, from the beginning: a copy of a store, a small file. It is not made to
 * fail.
 */
ssize_t __wrap_write(int fd, const void *bytes, size_t size)
{
    off_t offset = record.is_on ? lseek(fd, 0, SEEK_CUR) : -1;
    ssize_t written = __real_write(fd, bytes, size);
    if (offset >= 0 && written > 0)
        note_write(fd, bytes, (size_t)written, (uint64_t)offset);
    return written;
}

/* LMDB seeks, then writes pages that lie side by side. */
ssize_t __wrap_writev(int fd, const struct iovec *parts, int count)
{
    int error;
    if (fails_now(CALL_WRITEV, &error)) {
        if (error != DISK_SHORT) {
            errno = error;
            return -1;
        }
        count = count > 1 ? count / 2 : count;
    }
    off_t offset = lseek(fd, 0, SEEK_CUR);
    for (int i = 0; offset >= 0 && i < count; offset += (off_t)parts[i].iov_len, i++)
        note_write(fd, parts[i].iov_base, parts[i].iov_len, (uint64_t)offset);
    return __real_writev(fd, parts, count);
}

static int sync_or_fail(enum disk_call call, int (*real)(int fd), int fd)
{
    int error;
    if (fails_now(call, &error)) {
        errno = error == DISK_SHORT ? EIO : error;
        return -1;
    }
    int rc = real(fd);
    if (rc == 0)
        note_sync(fd);
    return rc;
}

int __wrap_fdatasync(int fd)
{
    return sync_or_fail(CALL_FDATASYNC, __real_fdatasync, fd);
}

int __wrap_fsync(int fd)
{
    return sync_or_fail(CALL_FSYNC, __real_fsync, fd);
}

int __wrap_sync_file_range(int fd, off_t offset, off_t size, unsigned flags)
{
    char path[4096];
    int rc = __real_sync_file_range(fd, offset, size, flags);
    if ((flags & SYNC_FILE_RANGE_WAIT_AFTER) && path_of(fd, path)) {
        struct disk_op *op = op_add(DISK_RANGE, path);
        op->offset = (uint64_t)offset;
        op->size = (size_t)size;
    }
    return rc;
}

int __wrap_rename(const char *from, const char *to)
{
    int error;
    if (fails_now(CALL_RENAME, &error)) {
        errno = error == DISK_SHORT ? EIO : error;
        return -1;
    }
    int rc = __real_rename(from, to);
    char whole[4096];
    if (rc == 0 && realpath(to, whole) != NULL && is_below(whole)) {
        struct disk_op *op = op_add(DISK_RENAME, from);
        op->to = strdup(whole);
        ensure(op->to != NULL);
    }
    return rc;
}
