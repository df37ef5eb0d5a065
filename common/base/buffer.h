#ifndef SOLO_COMMON_BASE_BUFFER_H
#define SOLO_COMMON_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/span.h"
#include "common/base/status.h"

/* Bytes that grow up to a bound. An append past the bound changes nothing and is remembered in
 * `is_exhausted`, so that a writer checks once at its end. A buffer starts as
 * { .limit = BYTES } and owns its memory until buffer_close. With a `memory` it lives there, and
 * what it drops is wiped at once. */
struct buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t limit;
    bool is_exhausted;
    struct memory *memory; /* NULL: the heap */
};

/* What buffer_reserve does when the room must be made first. */
uint8_t *buffer_grow(struct buffer *buffer, size_t size);

/* Room for `size` more bytes at data + size; NULL (and is_exhausted) when the bound forbids it. */
static inline uint8_t *buffer_reserve(struct buffer *buffer, size_t size)
{
    if (buffer->capacity - buffer->size >= size && buffer->data != NULL)
        return buffer->data + buffer->size;
    return buffer_grow(buffer, size);
}

static inline enum status buffer_append(struct buffer *buffer, const void *data, size_t size)
{
    uint8_t *room = buffer_reserve(buffer, size);
    if (room == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    if (size > 0)
        memcpy(room, data, size);
    buffer->size += size;
    return STATUS_OK;
}

enum status buffer_append_text(struct buffer *buffer, const char *text);
enum status buffer_append_format(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Drops the first `size` bytes. */
void buffer_consume(struct buffer *buffer, size_t size);

/* Drops what is behind the first `size` bytes. */
void buffer_cut(struct buffer *buffer, size_t size);

/* Empties it; keeps the memory. */
void buffer_clear(struct buffer *buffer);

/* Gives memory beyond `keep` bytes back, when the content allows. */
void buffer_shrink(struct buffer *buffer, size_t keep);
void buffer_close(struct buffer *buffer);

static inline struct span buffer_span(const struct buffer *buffer)
{
    return (struct span){ buffer->data, buffer->size };
}

#endif
