#ifndef SOLO_TESTS_FAULTS_DISK_H
#define SOLO_TESTS_FAULTS_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What this process asks of the disk, LMDB included, seen between the call and the kernel (the
 * linker's --wrap; see CMakeLists.txt): recorded, so that power cuts can be played (power_cut.h),
 * or answered with an error. */

enum disk_op_kind {
    DISK_WRITE,
    DISK_WRITE_SYNCED, /* through an O_DSYNC descriptor: these bytes are there when it returns */
    DISK_SYNC,         /* fdatasync or fsync of a file */
    DISK_SYNC_FOLDER,
    DISK_RANGE, /* a part of a file was waited for until it was written; a promise it is not */
    DISK_RENAME,
    DISK_MARK /* what the test says at this moment */
};

struct disk_op {
    enum disk_op_kind kind;
    char *path, *to; /* `to`: of a rename */
    uint64_t offset; /* of a mark: its number */
    size_t size;
    uint8_t *bytes;
};

/* Records what is done to files below this folder, until disk_record_end. */
void disk_record(const char *below);
void disk_record_mark(uint64_t number);
void disk_record_end(void);
/* What was recorded becomes that of a store whose commits do not wait for the meta page. */
void disk_weaken(void);
/* What was recorded; belongs to this module until disk_forget. */
const struct disk_op *disk_ops(size_t *count);
void disk_forget(void);

enum disk_call { CALL_PWRITE, CALL_WRITEV, CALL_FDATASYNC, CALL_FSYNC, CALL_RENAME, DISK_CALLS };
enum { DISK_SHORT = -1 };

/* The `due`-th call from now on (1 is the next) fails once with this errno; DISK_SHORT: a write
 * does half of its work and says so. */
void disk_fail(enum disk_call call, long due, int error);
/* Whether it came to that; nothing fails any more. */
bool disk_fail_end(void);
/* How often it was called since disk_fail. */
long disk_calls_made(enum disk_call call);
const char *disk_call_name(enum disk_call call);

#endif
