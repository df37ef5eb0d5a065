/* First fit over a list of gaps that is kept in the gaps themselves. Pieces are whole grains; a gap
 * holds nothing but its head, all else in it is zero. */
#include "common/secret/locked_pool.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/secret/secret.h"

struct pool_gap {
    struct pool_gap *next;
    size_t size;
};
_Static_assert(sizeof(struct pool_gap) <= POOL_GRAIN_BYTES, "a gap's head fits into a grain");

static size_t grains(size_t size)
{
    return (size + POOL_GRAIN_BYTES - 1) / POOL_GRAIN_BYTES * POOL_GRAIN_BYTES;
}

static struct locked_pool *pool_of(struct memory *memory)
{
    return OWNER_OF(memory, struct locked_pool, memory);
}

static void *take(struct memory *memory, size_t size)
{
    struct locked_pool *pool = pool_of(memory);
    if (size == 0 || size > pool->size)
        return NULL;
    size = grains(size);
    struct pool_gap **link = &pool->gaps;
    while (*link != NULL && (*link)->size < size)
        link = &(*link)->next;
    struct pool_gap *gap = *link;
    if (gap == NULL)
        return NULL;
    if (gap->size == size) {
        *link = gap->next;
    } else {
        struct pool_gap *rest = (struct pool_gap *)(void *)((unsigned char *)gap + size);
        *rest = (struct pool_gap){ .next = gap->next, .size = gap->size - size };
        *link = rest;
    }
    pool->taken += size;
    if (pool->taken > pool->taken_most)
        pool->taken_most = pool->taken;
    memset(gap, 0, sizeof *gap);
    return gap;
}

static bool touches(const struct pool_gap *gap, const struct pool_gap *next)
{
    return next != NULL && (const unsigned char *)gap + gap->size == (const unsigned char *)next;
}

static void merge(struct pool_gap *gap)
{
    struct pool_gap *next = gap->next;
    if (!touches(gap, next))
        return;
    gap->next = next->next;
    gap->size += next->size;
    memset(next, 0, sizeof *next);
}

static void give(struct memory *memory, void *data, size_t size)
{
    struct locked_pool *pool = pool_of(memory);
    unsigned char *place = data;
    size = grains(size);
    ensure(place >= pool->data);
    ensure(place + size <= pool->data + pool->size);
    sodium_memzero(data, size);
    pool->taken -= size;
    struct pool_gap *before = NULL, *after = pool->gaps;
    while (after != NULL && (unsigned char *)after < place) {
        before = after;
        after = after->next;
    }
    struct pool_gap *gap = data;
    *gap = (struct pool_gap){ .next = after, .size = size };
    if (before == NULL)
        pool->gaps = gap;
    else
        before->next = gap;
    merge(gap);
    if (before != NULL)
        merge(before);
}

enum status locked_pool_open(struct locked_pool *pool, size_t size)
{
    ensure(size % POOL_GRAIN_BYTES == 0);
    ensure(size <= POOL_BYTES_MAX);
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return log_failure(status_from_errno(errno), "take memory for secrets", "reason",
                           strerror(errno));
    *pool = (struct locked_pool){ .memory = { take, give }, .data = data, .size = size };
    pool->is_locked = memory_lock(data, size);
    if (madvise(data, size, MADV_DONTDUMP) < 0 || madvise(data, size, MADV_WIPEONFORK) < 0)
        log_warning("keep secrets out of dumps and children", "reason", strerror(errno));
    pool->gaps = data;
    *pool->gaps = (struct pool_gap){ .size = size };
    return STATUS_OK;
}

void locked_pool_close(struct locked_pool *pool)
{
    if (pool->data == NULL)
        return;
    sodium_memzero(pool->data, pool->size);
    munmap(pool->data, pool->size);
    *pool = (struct locked_pool){ .size = 0 };
}
