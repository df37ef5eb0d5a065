/* A descriptor of our own to the end: its fsync tells of every write that failed before. */
#include "common/db/slices.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"

enum {
    WAIT_UNTIL_WRITTEN =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER
};

/* As much as there is, up to a slice; 0 at the end. */
static enum status read_slice(int from, uint8_t slice[SLICE_BYTES], size_t *size)
{
    ssize_t got = 1;
    for (*size = 0; *size < SLICE_BYTES && got != 0;) {
        got = read(from, slice + *size, SLICE_BYTES - *size);
        if (got > 0)
            *size += (size_t)got;
        else if (got < 0 && errno != EINTR)
            return errno_failure("read what is to be copied", "a pipe");
    }
    return STATUS_OK;
}

enum status slices_write(int from, const char *path)
{
    static uint8_t slice[SLICE_BYTES];
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno_failure("make the copy of a store", path);
    for (off_t at = 0;; at += SLICE_BYTES) {
        size_t size;
        TRY(read_slice(from, slice, &size));
        TRY(fd_write_all(fd, span_of(slice, size)));
        /* Where a file system knows none of this, the fsync below does it all. */
        (void)sync_file_range(fd, at, SLICE_BYTES, SYNC_FILE_RANGE_WRITE);
        if (at > 0)
            (void)sync_file_range(fd, at - SLICE_BYTES, SLICE_BYTES, WAIT_UNTIL_WRITTEN);
        if (size < SLICE_BYTES)
            break;
    }
    return fsync(fd) == 0 ? STATUS_OK : errno_failure("sync the copy of a store", path);
}
