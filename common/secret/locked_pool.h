#ifndef SOLO_COMMON_SECRET_LOCKED_POOL_H
#define SOLO_COMMON_SECRET_LOCKED_POOL_H

#include <stdbool.h>

#include "common/base/memory.h"
#include "common/base/status.h"

/* The arena for values that pass through: one region, locked, in no core dump, not inherited by a
 * fork, from which buffers take pieces that are wiped when they come back. Bounded: an empty pool
 * is a NULL, and whoever asked refuses the request. One thread. */
enum { POOL_GRAIN_BYTES = 64, POOL_BYTES_MAX = 64 * 1024 * 1024 };

struct locked_pool {
    struct memory memory;
    struct pool_gap *gaps; /* free pieces by address; they never touch */
    unsigned char *data;
    size_t size, taken, taken_most;
    bool is_locked; /* otherwise the kernel refused: see memory_lock_problem */
};

/* A region that cannot be locked is used nonetheless (what must not lie in it is refused by who
 * owns it); resource_exhausted when there is no memory at all. */
enum status locked_pool_open(struct locked_pool *pool, size_t size);
/* Everything must have been given back or be forgotten. A zeroed one is fine. */
void locked_pool_close(struct locked_pool *pool);

#endif
