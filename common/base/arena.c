/* A list of chunks, newest first; each allocation comes from the newest one or from a new one. */
#include "common/base/arena.h"

#include <stdalign.h>
#include <stdlib.h>

#include <sodium.h>

enum { CHUNK_BYTES = 8192 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t size, used;
    alignas(max_align_t) char data[];
};

static struct arena_chunk *chunk_take(struct arena *arena, size_t room)
{
    size_t size = sizeof(struct arena_chunk) + room;
    return arena->memory == NULL ? malloc(size) : arena->memory->take(arena->memory, size);
}

static void chunk_give(struct arena *arena, struct arena_chunk *chunk)
{
    if (arena->memory == NULL)
        free(chunk);
    else
        arena->memory->give(arena->memory, chunk, sizeof *chunk + chunk->size);
}

void *arena_alloc(struct arena *arena, size_t size)
{
    /* Compared before it is rounded up, which may wrap around. */
    if (size > arena->limit - arena->used || size > SIZE_MAX - CHUNK_BYTES)
        return NULL;
    size = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (size > arena->limit - arena->used)
        return NULL;
    struct arena_chunk *chunk = arena->chunks;
    if (chunk == NULL || chunk->size - chunk->used < size) {
        size_t room = size > CHUNK_BYTES ? size : CHUNK_BYTES;
        chunk = chunk_take(arena, room);
        if (chunk == NULL)
            return NULL;
        *chunk = (struct arena_chunk){ .next = arena->chunks, .size = room };
        arena->chunks = chunk;
    }
    void *memory = chunk->data + chunk->used;
    chunk->used += size;
    arena->used += size;
    memset(memory, 0, size);
    return memory;
}

char *arena_text(struct arena *arena, struct span text)
{
    char *copy = arena_alloc(arena, text.size + 1);
    if (copy != NULL && text.size > 0)
        memcpy(copy, text.data, text.size);
    return copy;
}

void arena_reset(struct arena *arena)
{
    struct arena_chunk *kept = NULL;
    for (struct arena_chunk *chunk = arena->chunks, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        if (kept == NULL && chunk->size == CHUNK_BYTES)
            kept = chunk;
        else
            chunk_give(arena, chunk);
    }
    if (kept != NULL) {
        if (arena->memory != NULL)
            sodium_memzero(kept->data, kept->used);
        kept->next = NULL;
        kept->used = 0;
    }
    arena->chunks = kept;
    arena->used = 0;
}

void arena_close(struct arena *arena)
{
    arena_reset(arena);
    if (arena->chunks != NULL)
        chunk_give(arena, arena->chunks);
    *arena = (struct arena){ .limit = arena->limit, .memory = arena->memory };
}
