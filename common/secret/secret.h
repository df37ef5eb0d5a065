#ifndef SOLO_COMMON_SECRET_SECRET_H
#define SOLO_COMMON_SECRET_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/status.h"

/* A key in memory: guarded pages of its own, locked, in no core dump, and inaccessible but between
 * secret_open and secret_close. Zeroed it is none. */
struct secret {
    void *data;
    size_t size;
    unsigned openings;
};

/* Zero bytes to begin with. resource_exhausted when memory cannot be had or locked; then
 * memory_lock_problem says what to do. */
enum status secret_new(struct secret *secret, size_t size);
/* Wipes and gives back; a zeroed one is fine. */
void secret_free(struct secret *secret);

/* The bytes, until the same number of secret_close. */
void *secret_open(struct secret *secret);
void secret_close(struct secret *secret);

/* Locks what libsodium or mmap(2) gave; false when the kernel refuses. Goes to the kernel past
 * whatever stands before the C library's mlock(2): sanitizers let that succeed without effect. */
bool memory_lock(void *data, size_t size);
/* "... RLIMIT_MEMLOCK ..." and how to raise it, for a person. */
const char *memory_lock_problem(void);
/* Raises the soft limit to the hard one, once at start. */
void memory_lock_raise_limit(void);

#endif
