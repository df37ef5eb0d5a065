#ifndef SOLO_COMMON_BASE_ARENA_H
#define SOLO_COMMON_BASE_ARENA_H

#include <stddef.h>

#include "common/base/memory.h"
#include "common/base/span.h"

/* Memory that is given back all at once: what a request's strings and lists live in. Starts as
 * { .limit = BYTES }; NULL past the limit. With a `memory` it lives there, and is wiped when it is
 * given back. */
struct arena_chunk;
struct arena {
    struct arena_chunk *chunks;
    size_t used;
    size_t limit;
    struct memory *memory; /* NULL: the heap */
};

/* Zeroed, aligned for any type. */
void *arena_alloc(struct arena *arena, size_t size);
/* A copy ended by NUL. */
char *arena_text(struct arena *arena, struct span text);
void arena_reset(struct arena *arena); /* keeps one chunk for the next use */
void arena_close(struct arena *arena);

#endif
